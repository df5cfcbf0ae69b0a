-- Every call of those requests, with what its answer means.
SELECT DISTINCT
    t.request_id, t.attempt_id, t.run_id, t.started_at, t.seconds, t.http_status,
    t.result, t.error_code, t.error_message, c.meaning, c.what_to_do
FROM attempts AS t
INNER JOIN request_awards AS q ON q.request_id = t.request_id
INNER JOIN audit AS a ON a.award_id = q.award_id
LEFT JOIN error_codes AS c ON c.code = t.error_code
WHERE a.badge_meta_id = $badge_meta_id AND a.series = $series
    AND a.customer_id = ANY($customer_ids)
ORDER BY t.started_at
