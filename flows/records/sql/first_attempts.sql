-- When the first attempt of each wanted request, or of those it was made from, began.
WITH RECURSIVE chain AS (
    SELECT w.request_id AS wanted_id, w.request_id FROM wanted AS w
    UNION
    SELECT
        c.wanted_id,
        coalesce(r.predecessor_request_id, r.parent_request_id) AS request_id
    FROM chain AS c
    INNER JOIN requests AS r ON r.request_id = c.request_id
    WHERE coalesce(r.predecessor_request_id, r.parent_request_id) IS NOT NULL
)
SELECT c.wanted_id AS request_id, min(a.started_at) AS first_attempt_at
FROM chain AS c
INNER JOIN attempts AS a ON a.request_id = c.request_id
LEFT JOIN attempt_results AS e ON e.attempt_id = a.attempt_id
WHERE e.result IS DISTINCT FROM 'not_sent'
GROUP BY c.wanted_id
