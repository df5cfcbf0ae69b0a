-- Why rows of a run's files were rejected. They are recorded once, by the first run
-- that stood on the same file.
WITH mine AS (
    SELECT path, fingerprint FROM source_files WHERE run_id = $run_id
),
recorded AS (
    SELECT s.path, arg_min(s.run_id, r.started_at) AS run_id
    FROM source_files AS s
    INNER JOIN mine AS m ON m.path = s.path AND m.fingerprint = s.fingerprint
    INNER JOIN runs AS r ON r.run_id = s.run_id
    GROUP BY s.path
)
SELECT
    j.reason, count(*) AS rows, count(DISTINCT j.path) AS files,
    min(j.path || ':' || j.row_number) AS example_at, min_by(j.value, j.row_number) AS example
FROM rejected_rows AS j
INNER JOIN recorded AS c ON c.run_id = j.run_id AND c.path = j.path
GROUP BY j.reason
ORDER BY rows DESC, j.reason
