CREATE TABLE award_events (
    event_seq BIGINT NOT NULL,
    award_id VARCHAR NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    from_status VARCHAR,
    to_status VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    request_id VARCHAR,
    actor VARCHAR NOT NULL,
    reason VARCHAR,
    proof VARCHAR,
    earned_badge_id VARCHAR,
    badge_status VARCHAR,
    expires_on TIMESTAMPTZ,
    error_code INTEGER,
    error_message VARCHAR
)
