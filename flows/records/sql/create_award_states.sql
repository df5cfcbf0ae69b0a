-- The present state of every award: its last event, with the ids of any earlier one.
-- What is noted of an issued award that stays issued (a revocation asked for, or one
-- that came to nothing) does not change when it was settled, nor by which run.
-- Numbers are compared first, for nearly always the last event alone says everything.
CREATE OR REPLACE VIEW award_states AS
WITH numbered AS (
    SELECT
        award_id,
        max(event_seq) AS last_event_seq,
        max(event_seq) FILTER (WHERE proof IS NOT NULL) AS proof_seq,
        max(event_seq) FILTER (WHERE earned_badge_id IS NOT NULL) AS earned_seq,
        max(event_seq) FILTER (WHERE badge_status IS NOT NULL) AS badge_status_seq,
        max(event_seq) FILTER (WHERE expires_on IS NOT NULL) AS expires_seq,
        max(event_seq) FILTER (WHERE request_id IS NOT NULL) AS request_seq,
        max(event_seq) FILTER (WHERE NOT is_note) AS settled_seq,
        min(changed_at) FILTER (WHERE to_status = 'sent') AS sent_at,
        count(*) FILTER (WHERE to_status = 'sent') AS attempt_count,
        max(changed_at) FILTER (WHERE NOT is_note) AS changed_at
    FROM (
        SELECT
            *,
            to_status = 'issued' AND from_status IS NOT DISTINCT FROM 'issued' AS is_note
        FROM award_events
    )
    GROUP BY award_id
),
told AS MATERIALIZED (
    SELECT
        award_id, last_event_seq, sent_at, attempt_count, changed_at,
        settled_seq IS NOT DISTINCT FROM last_event_seq
        AND coalesce(proof_seq, last_event_seq) = last_event_seq
        AND coalesce(earned_seq, last_event_seq) = last_event_seq
        AND coalesce(badge_status_seq, last_event_seq) = last_event_seq
        AND coalesce(expires_seq, last_event_seq) = last_event_seq
        AND coalesce(request_seq, last_event_seq) = last_event_seq AS is_told_by_last
    FROM numbered
)
SELECT
    t.award_id, e.to_status AS status, e.proof, e.earned_badge_id, e.badge_status,
    e.expires_on, e.error_code, e.error_message, e.request_id,
    e.run_id AS settled_run_id, t.sent_at, t.attempt_count, t.changed_at,
    t.last_event_seq, e.run_id AS last_run_id
FROM told AS t
INNER JOIN award_events AS e ON e.event_seq = t.last_event_seq
WHERE t.is_told_by_last
UNION ALL
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
    WHERE award_id IN (SELECT t.award_id FROM told AS t WHERE NOT t.is_told_by_last)
)
GROUP BY award_id
