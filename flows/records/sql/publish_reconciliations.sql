SELECT * FROM reconciliations WHERE rowid >= $from_row
