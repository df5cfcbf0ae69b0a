-- Where the requests stand to which something happened since.
CREATE OR REPLACE TEMP TABLE present_requests AS
SELECT * FROM request_states
WHERE request_id IN (
    SELECT e.request_id FROM request_events AS e WHERE e.event_seq > $since
)
