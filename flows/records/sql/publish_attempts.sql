SELECT
    a.attempt_id, a.request_id, a.run_id, a.started_at, e.seconds, e.http_status,
    coalesce(e.result, 'no_answer') AS result, e.error_code, e.error_message, e.body,
    a.customers, e.customers_listed_well, e.customers_listed_failed,
    e.customers_missing, e.alarms, e.ended_at
FROM attempts AS a
LEFT JOIN attempt_results AS e ON e.attempt_id = a.attempt_id
ORDER BY a.started_at
