SELECT
    run_id, kind, trigger, status, started_at, ended_at, import_name, rows_read,
    awards_qualified, awards_planned, requests, calls, earn_calls, waiting, balanced,
    message
FROM runs
ORDER BY started_at DESC, run_id DESC
