CREATE TABLE published.verdicts AS SELECT * FROM verdicts
