-- The present state of every award: its last event, with the ids of any earlier one.
-- What is noted of an issued award that stays issued (a revocation asked for, or one
-- that came to nothing) does not change when it was settled, nor by which run.
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
    arg_max(run_id, event_seq) FILTER (WHERE NOT is_note) AS settled_run_id,
    min(changed_at) FILTER (WHERE to_status = 'sent') AS sent_at,
    count(*) FILTER (WHERE to_status = 'sent') AS attempt_count,
    max(changed_at) FILTER (WHERE NOT is_note) AS changed_at,
    max(event_seq) AS last_event_seq,
    arg_max(run_id, event_seq) AS last_run_id
FROM (
    SELECT
        *, to_status = 'issued' AND from_status IS NOT DISTINCT FROM 'issued' AS is_note
    FROM award_events
)
GROUP BY award_id
