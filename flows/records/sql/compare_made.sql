-- Where the newest award of each customer and occurrence stands.
SELECT
    badge_meta_id, series, customer_id, occurrence,
    arg_max(status, generation) AS status
FROM audit
WHERE badge_meta_id = ANY($badge_meta_ids)
GROUP BY badge_meta_id, series, customer_id, occurrence
