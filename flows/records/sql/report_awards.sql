-- The awards that a run planned, or (another kind of run) settled, counted by badge,
-- month and where they stand now.
SELECT
    badge, strftime(earn_day, '%Y-%m') AS month, status, count(*) AS awards,
    min(earn_day) AS first_day, max(earn_day) AS last_day
FROM audit
WHERE CASE WHEN $is_import THEN planned_run_id ELSE settled_run_id END = $run_id
GROUP BY ALL
ORDER BY badge, month, status
