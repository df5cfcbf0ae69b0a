-- Where the awards planned by one run stand now.
SELECT s.status, count(*) AS awards
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
WHERE a.planned_run_id = $run_id
GROUP BY s.status
ORDER BY s.status
