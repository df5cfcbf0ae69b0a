CREATE TABLE verdicts (
    badge_meta_id VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    customer_id BIGINT NOT NULL,
    lists_earns BOOLEAN NOT NULL,
    moves_count BOOLEAN NOT NULL,
    lag_seconds DOUBLE NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL
)
