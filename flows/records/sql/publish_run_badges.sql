CREATE TABLE published.run_badges AS SELECT * FROM run_badges
