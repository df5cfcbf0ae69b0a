-- What the ledger has for one badge and series. Of what happened to an award only
-- matters whether it was taken back, which is rare: only of awards to which that ever
-- happened is the last event looked for. One pass, and no memory for the others.
WITH turned AS MATERIALIZED (
    SELECT award_id, arg_max(to_status, event_seq) AS status
    FROM award_events
    WHERE award_id IN (
        SELECT e.award_id FROM award_events AS e
        WHERE e.to_status IN ('withdrawn', 'revoked', 'released')
    )
    GROUP BY award_id
)
SELECT
    a.award_id, a.customer_id, a.occurrence, a.generation, a.import_name,
    a.rule_digest, a.earn_event_date, a.planned_at,
    coalesce(t.status IN ('revoked', 'released'), FALSE) AS is_revoked,
    coalesce(t.status = 'released', FALSE) AS is_released
FROM awards AS a
LEFT JOIN turned AS t ON t.award_id = a.award_id
WHERE a.badge_meta_id = $badge_meta_id AND a.series = $series
    AND t.status IS DISTINCT FROM 'withdrawn'
