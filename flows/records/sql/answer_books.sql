-- Per answered attempt: whom it asked for against whom its answer accounts for.
SELECT a.request_id, a.customers, e.customers_listed_well, e.customers_listed_failed,
    e.customers_missing
FROM attempts AS a
INNER JOIN attempt_results AS e ON e.attempt_id = a.attempt_id
WHERE a.run_id = $run_id AND e.result IN ('answered', 'refused')
