CREATE TABLE IF NOT EXISTS reconciliations (
    run_id VARCHAR NOT NULL,
    way VARCHAR NOT NULL,
    badge VARCHAR,
    badge_meta_id VARCHAR NOT NULL,
    customer_id BIGINT NOT NULL,
    award_id VARCHAR,
    finding VARCHAR NOT NULL,
    status VARCHAR,
    earn_event_date TIMESTAMPTZ,
    their_earn_event_date TIMESTAMPTZ,
    earned_badge_id VARCHAR,
    their_earned_badge_id VARCHAR,
    note VARCHAR,
    reconciled_at TIMESTAMPTZ NOT NULL
)
