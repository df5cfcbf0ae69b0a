-- Requests that went out, or may have, and whose awards have not all come to an end.
SELECT r.*
FROM requests AS r
INNER JOIN request_states AS s ON s.request_id = r.request_id
WHERE s.status IN ('sent', 'unknown')
ORDER BY r.earn_event_date, r.request_id
