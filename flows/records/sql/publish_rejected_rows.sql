CREATE TABLE published.rejected_rows AS SELECT * FROM rejected_rows
