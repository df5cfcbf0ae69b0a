-- The awards that the named requests still carry: another request may have taken some.
SELECT q.request_id, q.award_id, q.customer_id, q.position, a.occurrence, s.status
FROM request_awards AS q
INNER JOIN wanted AS w ON w.request_id = q.request_id
INNER JOIN awards AS a ON a.award_id = q.award_id
INNER JOIN award_states AS s ON s.award_id = q.award_id AND s.request_id = q.request_id
WHERE s.status IN ('planned', 'sent', 'unknown')
ORDER BY q.request_id, q.position
