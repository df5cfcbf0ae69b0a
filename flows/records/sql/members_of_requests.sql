-- All that was ever in the named requests, in the order of sending.
SELECT q.request_id, q.award_id, q.customer_id, q.position
FROM request_awards AS q
INNER JOIN wanted AS w ON w.request_id = q.request_id
ORDER BY q.request_id, q.position
