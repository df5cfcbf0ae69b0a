SELECT * FROM run_badges
