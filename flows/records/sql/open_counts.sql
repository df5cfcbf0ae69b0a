-- What a run planned or touched and left open, and what earlier runs left.
SELECT
    s.status,
    a.planned_run_id = $run_id OR s.settled_run_id = $run_id AS is_of_run,
    count(*) AS awards
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
WHERE s.status IN ('planned', 'sent', 'unknown', 'blocked', 'failed')
GROUP BY ALL
