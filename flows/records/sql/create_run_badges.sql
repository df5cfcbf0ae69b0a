CREATE TABLE run_badges (
    run_id VARCHAR NOT NULL,
    badge VARCHAR NOT NULL,
    qualified BIGINT NOT NULL,
    outside_bounds BIGINT NOT NULL,
    not_selected BIGINT NOT NULL,
    out_of_window BIGINT NOT NULL,
    not_yet_due BIGINT NOT NULL,
    held_back BIGINT NOT NULL,
    held BIGINT NOT NULL,
    in_ledger BIGINT NOT NULL,
    planned BIGINT NOT NULL
)
