CREATE TABLE published.source_files AS SELECT * FROM source_files
