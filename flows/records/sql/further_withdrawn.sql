CREATE OR REPLACE TEMP TABLE withdrawn_since AS
SELECT DISTINCT request_id FROM request_events
WHERE event_seq > $since AND status = 'withdrawn'
