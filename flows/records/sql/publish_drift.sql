CREATE TABLE published.drift AS SELECT * FROM drift
