SELECT * FROM source_files
