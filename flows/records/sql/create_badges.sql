CREATE TABLE badges (
    run_id VARCHAR NOT NULL,
    badge VARCHAR NOT NULL,
    badge_meta_id VARCHAR NOT NULL,
    badge_name VARCHAR,
    earn_type VARCHAR,
    status VARCHAR,
    is_active BOOLEAN,
    starts_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    earned_expiry VARCHAR,
    owners VARCHAR,
    claims VARCHAR,
    raw VARCHAR,
    read_at TIMESTAMPTZ NOT NULL
)
