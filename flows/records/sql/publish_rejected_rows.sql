SELECT * FROM rejected_rows WHERE rowid >= $from_row
