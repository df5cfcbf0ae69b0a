-- What an answer said beside what it decided.
SELECT request_id, alarms FROM attempts
WHERE run_id = $run_id AND alarms IS NOT NULL AND alarms <> ''
ORDER BY started_at
LIMIT 20
