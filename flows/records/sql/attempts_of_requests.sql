SELECT
    a.request_id, a.attempt_id, a.started_at, e.ended_at, e.result, e.error_code, e.alarms,
    e.customers_missing
FROM attempts AS a
INNER JOIN wanted AS w ON w.request_id = a.request_id
LEFT JOIN attempt_results AS e ON e.attempt_id = a.attempt_id
WHERE e.result IS DISTINCT FROM 'not_sent'
ORDER BY a.request_id, a.started_at
