-- As `awards_of_run`, of the audit.
WITH touched AS (
    SELECT award_id
    FROM award_events
    GROUP BY award_id
    HAVING arg_max(run_id, event_seq) = $run_id
)
SELECT
    award_id, badge, badge_meta_id, reference_id, customer_id, occurrence,
    earn_event_date, CASE WHEN is_released THEN 'released' ELSE status END AS status,
    earned_badge_id, error_code, request_id
FROM audit
WHERE planned_run_id = $run_id OR award_id IN (SELECT t.award_id FROM touched AS t)
ORDER BY badge, earn_event_date, customer_id, occurrence
