SELECT * FROM verdicts
