CREATE TABLE published.runs AS SELECT * FROM runs
