CREATE TABLE source_files (
    run_id VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    read_now BOOLEAN NOT NULL,
    rows_read BIGINT NOT NULL,
    rows_accepted BIGINT NOT NULL,
    rows_anonymous BIGINT NOT NULL,
    rows_unmapped BIGINT NOT NULL,
    rows_excluded BIGINT NOT NULL,
    rows_rejected BIGINT NOT NULL,
    rows_duplicate BIGINT NOT NULL,
    rows_superseded BIGINT NOT NULL,
    rows_current BIGINT NOT NULL
)
