-- Whether the newest run never came to its end.
SELECT coalesce(arg_max(ended_at IS NULL, (started_at, run_id)), false) AS is_unfinished
FROM runs
