SELECT * FROM badges WHERE run_id = $run_id ORDER BY badge
