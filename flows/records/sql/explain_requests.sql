-- Every request that carried these awards, replaced ones too.
SELECT
    q.award_id, r.request_id, r.run_id, r.earn_event_date, r.customers, r.status,
    r.is_canary, r.parent_request_id, r.predecessor_request_id, r.reserved_at
FROM request_awards AS q
INNER JOIN audit AS a ON a.award_id = q.award_id
INNER JOIN requests AS r ON r.request_id = q.request_id
WHERE a.badge_meta_id = $badge_meta_id AND a.series = $series
    AND a.customer_id = ANY($customer_ids)
ORDER BY r.reserved_at, r.request_id, q.award_id
