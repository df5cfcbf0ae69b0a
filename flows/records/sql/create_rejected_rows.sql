CREATE TABLE rejected_rows (
    run_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    column_name VARCHAR,
    reason VARCHAR NOT NULL,
    value VARCHAR
)
