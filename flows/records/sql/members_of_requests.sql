-- All that was ever in the named requests, in the order of sending. `status` and
-- `occurrence` are null where a request no longer carries an award: it came to a known
-- end, or another request took it.
SELECT
    q.request_id, q.award_id, q.customer_id, q.position, still.occurrence, still.status
FROM request_awards AS q
INNER JOIN wanted AS w ON w.request_id = q.request_id
LEFT JOIN (
    SELECT s.award_id, s.request_id, s.status, a.occurrence
    FROM award_states AS s
    INNER JOIN awards AS a ON a.award_id = s.award_id
    WHERE s.status IN ('planned', 'sent', 'unknown')
) AS still ON still.award_id = q.award_id AND still.request_id = q.request_id
ORDER BY q.request_id, q.position
