-- The present state of every award: its last event, with the ids of any earlier one.
CREATE OR REPLACE VIEW award_states AS
SELECT
    award_id,
    arg_max(to_status, event_seq) AS status,
    arg_max(proof, event_seq) AS proof,
    arg_max(earned_badge_id, event_seq) AS earned_badge_id,
    arg_max(badge_status, event_seq) AS badge_status,
    arg_max(expires_on, event_seq) AS expires_on,
    arg_max_null(error_code, event_seq) AS error_code,
    arg_max_null(error_message, event_seq) AS error_message,
    arg_max(request_id, event_seq) AS request_id,
    arg_max(run_id, event_seq) AS settled_run_id,
    min(changed_at) FILTER (WHERE to_status = 'sent') AS sent_at,
    count(*) FILTER (WHERE to_status = 'sent') AS attempt_count,
    max(changed_at) AS changed_at,
    max(event_seq) AS last_event_seq
FROM award_events
GROUP BY award_id
