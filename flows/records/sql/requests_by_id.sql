SELECT r.request_id, s.status
FROM requests AS r
INNER JOIN wanted AS w ON w.request_id = r.request_id
INNER JOIN request_states AS s ON s.request_id = r.request_id
