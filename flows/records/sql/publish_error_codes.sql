CREATE TABLE published.error_codes AS SELECT * FROM error_codes
