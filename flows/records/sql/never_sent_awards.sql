-- Awards that are reserved and of which no attempt was ever made under their request.
-- A successor is no such request: its awards were sent before, under another id.
SELECT s.award_id, s.request_id, a.planned_run_id
FROM award_states AS s
INNER JOIN awards AS a ON a.award_id = s.award_id
INNER JOIN requests AS r ON r.request_id = s.request_id
WHERE s.status = 'planned'
    AND r.predecessor_request_id IS NULL
    AND s.request_id NOT IN (SELECT t.request_id FROM attempts AS t)
