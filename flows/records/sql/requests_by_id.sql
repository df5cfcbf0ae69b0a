-- Which of the `wanted` requests the ledger has, and where they stand.
SELECT r.request_id, arg_max(e.status, e.event_seq) AS status
FROM requests AS r
INNER JOIN request_events AS e ON e.request_id = r.request_id
WHERE r.request_id IN (SELECT w.request_id FROM wanted AS w)
GROUP BY r.request_id
