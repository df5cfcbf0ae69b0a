SELECT * FROM drift WHERE rowid >= $from_row
