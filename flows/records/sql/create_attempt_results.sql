CREATE TABLE attempt_results (
    attempt_id VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    seconds DOUBLE NOT NULL,
    http_status INTEGER,
    result VARCHAR NOT NULL,
    customers_listed_well BIGINT NOT NULL,
    customers_listed_failed BIGINT NOT NULL,
    customers_missing BIGINT NOT NULL,
    error_code INTEGER,
    error_message VARCHAR,
    alarms VARCHAR,
    body VARCHAR
)
