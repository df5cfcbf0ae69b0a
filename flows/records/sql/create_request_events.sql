CREATE TABLE request_events (
    event_seq BIGINT NOT NULL,
    request_id VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    status VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    reason VARCHAR
)
