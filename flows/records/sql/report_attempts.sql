SELECT
    started_at, seconds, http_status, result, error_code, customers,
    customers_listed_well, customers_listed_failed, customers_missing
FROM attempts
WHERE run_id = $run_id AND result <> 'not_sent'
ORDER BY started_at
