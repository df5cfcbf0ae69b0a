-- What the next run will find in the ledger: as `known_awards`, without what it will
-- withdraw first, for it was reserved and never sent. Only awards that are planned are
-- looked up in the requests; nothing is kept in memory, so both halves read for
-- themselves.
WITH theirs AS NOT MATERIALIZED (
    SELECT
        award_id, customer_id, occurrence, generation, import_name, rule_digest,
        earn_event_date, planned_at, status = 'revoked' AS is_revoked, is_released,
        request_id, status
    FROM audit
    WHERE badge_meta_id = $badge_meta_id AND series = $series
)
SELECT * EXCLUDE (request_id, status) FROM theirs WHERE status <> 'planned'
UNION ALL
SELECT * EXCLUDE (request_id, status) FROM theirs
WHERE status = 'planned'
    AND NOT (
        request_id IN (
            SELECT r.request_id FROM requests AS r
            WHERE r.predecessor_request_id IS NULL
        )
        AND request_id NOT IN (
            SELECT t.request_id FROM attempts AS t WHERE t.result <> 'not_sent'
        )
    )
