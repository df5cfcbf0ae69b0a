CREATE TABLE drift (
    award_id VARCHAR NOT NULL,
    found_run_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    was VARCHAR,
    would_be VARCHAR
)
