-- The awards that a run planned, and those that it was the last to touch.
SELECT
    a.award_id, a.badge, a.badge_meta_id, a.reference_id, a.customer_id, a.occurrence,
    a.earn_event_date, s.status, s.earned_badge_id, s.error_code, s.request_id
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
WHERE (a.planned_run_id = $run_id OR s.last_run_id = $run_id)
    AND s.status <> 'withdrawn'
ORDER BY a.badge, a.earn_event_date, a.customer_id, a.occurrence
