SELECT
    badge_meta_id,
    max(decided_at) AS decided_at,
    arg_max(customer_id, decided_at) AS customer_id,
    arg_max(lists_earns, decided_at) AS lists_earns,
    arg_max(moves_count, decided_at) AS moves_count,
    arg_max(lag_seconds, decided_at) AS lag_seconds
FROM verdicts
GROUP BY badge_meta_id
