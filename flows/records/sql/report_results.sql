SELECT * FROM run_badges WHERE run_id = $run_id ORDER BY badge
