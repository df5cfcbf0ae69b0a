CREATE OR REPLACE VIEW request_states AS
SELECT
    request_id,
    arg_max(status, event_seq) AS status,
    arg_max(reason, event_seq) AS reason,
    max(event_seq) AS last_event_seq
FROM request_events
GROUP BY request_id
