-- Awards that a revoke run which never ended had been asked to take back.
SELECT s.award_id
FROM award_states AS s
INNER JOIN runs AS r ON r.run_id = s.last_run_id
WHERE s.status = 'issued' AND r.kind = 'revoke' AND r.ended_at IS NULL
ORDER BY s.award_id
