-- The first awards that a run did not bring to a good end.
SELECT
    a.badge, a.customer_id, a.occurrence, a.earn_day, a.status, a.error_code,
    coalesce(a.error_message, '') AS error_message, a.request_id, a.attempt_count
FROM audit AS a
WHERE a.status IN ('failed', 'blocked', 'unknown', 'sent', 'planned')
    AND (a.planned_run_id = $run_id OR a.settled_run_id = $run_id)
ORDER BY a.status, a.error_code, a.badge, a.customer_id, a.occurrence
LIMIT 20
