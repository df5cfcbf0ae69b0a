-- The files of the latest run of an import that was not refused.
SELECT f.source, f.path, f.fingerprint
FROM source_files AS f
WHERE f.run_id = (
    SELECT r.run_id
    FROM runs AS r
    WHERE r.import_name = $import_name
        AND r.status NOT IN ('running', 'refused')
        AND r.run_id IN (SELECT run_id FROM source_files)
    ORDER BY r.started_at DESC, r.run_id DESC
    LIMIT 1
)
