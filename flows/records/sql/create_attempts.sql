CREATE TABLE attempts (
    attempt_id VARCHAR NOT NULL,
    request_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    customers BIGINT NOT NULL
)
