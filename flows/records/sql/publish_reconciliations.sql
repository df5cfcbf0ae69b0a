CREATE TABLE published.reconciliations AS SELECT * FROM reconciliations
