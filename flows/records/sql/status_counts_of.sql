-- Where the awards `wanted` stand now.
SELECT s.status, count(*) AS awards
FROM award_states AS s
WHERE s.award_id IN (SELECT w.award_id FROM wanted AS w)
GROUP BY s.status
ORDER BY s.status
