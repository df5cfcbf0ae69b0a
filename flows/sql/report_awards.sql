-- The awards that a run planned, counted by badge, month and where they stand now.
SELECT
    badge, strftime(earn_day, '%Y-%m') AS month, status, count(*) AS awards,
    count(DISTINCT customer_id) AS customers, min(earn_day) AS first_day,
    max(earn_day) AS last_day
FROM audit
WHERE planned_run_id = $run_id
GROUP BY ALL
ORDER BY badge, month, status
