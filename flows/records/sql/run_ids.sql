-- Every run, newest first.
SELECT run_id FROM runs ORDER BY started_at DESC, run_id DESC
