-- All that happened to these awards, in order.
SELECT
    e.award_id, e.changed_at, e.from_status, e.to_status, e.run_id, e.request_id,
    e.actor, e.reason, e.proof, e.earned_badge_id, e.error_code, e.error_message
FROM award_events AS e
INNER JOIN audit AS a ON a.award_id = e.award_id
WHERE a.badge_meta_id = $badge_meta_id AND a.series = $series
    AND a.customer_id = ANY($customer_ids)
ORDER BY e.event_seq
