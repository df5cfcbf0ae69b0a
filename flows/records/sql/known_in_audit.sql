-- What the next run will find in the ledger: as `known_awards`, without what it will
-- withdraw first, for it was reserved and never sent.
SELECT
    award_id, customer_id, occurrence, generation, import_name, rule_digest,
    qualified_at, earn_event_date, planned_at,
    CASE WHEN is_released THEN 'released' ELSE status END AS status, is_released
FROM audit AS a
WHERE badge_meta_id = $badge_meta_id AND series = $series
    AND NOT (
        status = 'planned'
        AND request_id IN (
            SELECT r.request_id FROM requests AS r
            WHERE r.predecessor_request_id IS NULL
        )
        AND request_id NOT IN (
            SELECT t.request_id FROM attempts AS t WHERE t.result <> 'not_sent'
        )
    )
ORDER BY customer_id, occurrence, generation
