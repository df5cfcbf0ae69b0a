SELECT * FROM source_files WHERE run_id = $run_id ORDER BY source, path
