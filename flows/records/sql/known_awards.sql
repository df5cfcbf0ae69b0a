-- What the ledger has for one badge and series, its newest generation last.
SELECT
    a.award_id, a.customer_id, a.occurrence, a.generation, a.import_name,
    a.rule_digest, a.qualified_at, a.earn_event_date, s.status,
    a.planned_at,
    s.status = 'released' AS is_released
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
WHERE a.badge_meta_id = $badge_meta_id AND a.series = $series AND s.status <> 'withdrawn'
ORDER BY a.customer_id, a.occurrence, a.generation
