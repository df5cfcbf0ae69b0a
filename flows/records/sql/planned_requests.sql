SELECT r.*
FROM requests AS r
INNER JOIN request_states AS s ON s.request_id = r.request_id
WHERE s.status = 'planned'
ORDER BY r.badge, r.earn_event_date, r.request_id
