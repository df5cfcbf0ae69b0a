-- Awards that are reserved and of which no attempt was ever made under their request;
-- one that was marked and then not sent is none.
-- A successor is no such request: its awards were sent before, under another id.
SELECT s.award_id, s.request_id, a.planned_run_id
FROM award_states AS s
INNER JOIN awards AS a ON a.award_id = s.award_id
INNER JOIN requests AS r ON r.request_id = s.request_id
WHERE s.status = 'planned'
    AND r.predecessor_request_id IS NULL
    AND s.request_id NOT IN (
        SELECT t.request_id
        FROM attempts AS t
        LEFT JOIN attempt_results AS e ON e.attempt_id = t.attempt_id
        WHERE e.result IS DISTINCT FROM 'not_sent'
    )
