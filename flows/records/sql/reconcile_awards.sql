-- Every award of the badges, or of the customers and badges that a run awarded: what
-- is there must be told from what is not.
WITH wanted AS (
    SELECT DISTINCT badge_meta_id, customer_id FROM awards
    WHERE $run_id IS NULL OR planned_run_id = $run_id
)
SELECT
    a.award_id, a.badge, a.badge_meta_id, a.reference_id, a.badge_name, a.customer_id,
    a.occurrence, a.earn_event_date, a.earn_day,
    CASE s.status WHEN 'released' THEN 'revoked' ELSE s.status END AS status,
    s.earned_badge_id, s.changed_at AS settled_at
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
INNER JOIN wanted AS w
    ON w.badge_meta_id = a.badge_meta_id AND w.customer_id = a.customer_id
WHERE s.status <> 'withdrawn'
ORDER BY a.customer_id, a.badge_meta_id, a.occurrence, a.generation
