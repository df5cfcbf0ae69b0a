SELECT
    award_id, changed_at, from_status, to_status, run_id, request_id, actor, reason,
    proof, earned_badge_id, error_code, error_message, event_seq, badge_status,
    expires_on
FROM award_events
WHERE event_seq > $since
