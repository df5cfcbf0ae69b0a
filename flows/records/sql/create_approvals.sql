CREATE TABLE approvals (
    plan_digest VARCHAR NOT NULL,
    decision VARCHAR NOT NULL,
    by_name VARCHAR NOT NULL,
    note VARCHAR,
    decided_at TIMESTAMPTZ NOT NULL
)
