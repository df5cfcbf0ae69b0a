-- Per badge: how many customers, and the most awards of one of them.
SELECT badge, count(*) AS customers, max(awards) AS most, sum(awards)::BIGINT AS awards
FROM (
    SELECT badge, customer_id, count(*) AS awards
    FROM audit
    WHERE planned_run_id = $run_id
    GROUP BY badge, customer_id
)
GROUP BY badge
ORDER BY badge
