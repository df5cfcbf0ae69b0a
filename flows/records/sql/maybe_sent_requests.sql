-- Requests that seem never to have been sent, or surely not processed, with the awards
-- that they still carry.
SELECT r.request_id, r.reserved_at, s.award_id, s.status
FROM requests AS r
INNER JOIN request_states AS q ON q.request_id = r.request_id
INNER JOIN award_states AS s ON s.request_id = r.request_id
WHERE q.status = 'planned' AND s.status = 'planned'
ORDER BY r.request_id, s.award_id
