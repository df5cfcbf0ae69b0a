CREATE TABLE request_awards (
    request_id VARCHAR NOT NULL,
    award_id VARCHAR NOT NULL,
    customer_id BIGINT NOT NULL,
    position INTEGER NOT NULL
)
