-- What can't be in a whole ledger, with how many there are; no rows if all is well.
WITH numbers AS (
    SELECT event_seq FROM award_events
    UNION ALL
    SELECT event_seq FROM request_events
),
found AS (
    SELECT 'rows of meta besides the one' AS what, abs(count(*) - 1) AS rows_found
    FROM meta
    UNION ALL
    SELECT 'awards without an event', count(*)
    FROM awards AS a ANTI JOIN award_events AS e ON e.award_id = a.award_id
    UNION ALL
    SELECT 'awards twice', count(*) - count(DISTINCT award_id) FROM awards
    UNION ALL
    SELECT 'requests without an event', count(*)
    FROM requests AS r ANTI JOIN request_events AS e ON e.request_id = r.request_id
    UNION ALL
    SELECT 'members without their request', count(*)
    FROM request_awards AS q ANTI JOIN requests AS r ON r.request_id = q.request_id
    UNION ALL
    SELECT 'answers without their attempt', count(*)
    FROM attempt_results AS e ANTI JOIN attempts AS a ON a.attempt_id = e.attempt_id
    UNION ALL
    SELECT 'events of one number', count(*) - count(DISTINCT event_seq) FROM numbers
)
SELECT what, rows_found FROM found WHERE rows_found <> 0
