SELECT
    customer_id,
    count(*) AS awards,
    count(DISTINCT badge) AS badges,
    min(earn_day) AS first_day,
    max(earn_day) AS last_day
FROM audit
WHERE status = 'issued'
GROUP BY customer_id
ORDER BY awards DESC, customer_id
LIMIT 5
