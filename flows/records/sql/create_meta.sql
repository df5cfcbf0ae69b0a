CREATE TABLE meta (
    schema_version INTEGER NOT NULL,
    ledger_uuid VARCHAR NOT NULL,
    target VARCHAR,
    created_at TIMESTAMPTZ NOT NULL
)
