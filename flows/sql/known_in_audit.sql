SELECT
    award_id, customer_id, occurrence, generation, import_name, rule_digest,
    qualified_at, earn_event_date, planned_at,
    CASE WHEN is_released THEN 'released' ELSE status END AS status, is_released
FROM audit
WHERE badge_meta_id = $badge_meta_id AND series = $series
ORDER BY customer_id, occurrence, generation
