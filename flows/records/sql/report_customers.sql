-- Per badge of such awards: how many customers, and the most awards of one of them.
SELECT badge, count(*) AS customers, max(awards) AS most
FROM (
    SELECT badge, customer_id, count(*) AS awards
    FROM audit
    WHERE CASE WHEN $is_import THEN planned_run_id ELSE settled_run_id END = $run_id
    GROUP BY badge, customer_id
)
GROUP BY badge
ORDER BY badge
