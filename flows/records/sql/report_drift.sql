SELECT kind, count(*) AS awards FROM drift WHERE found_run_id = $run_id
GROUP BY kind ORDER BY kind
