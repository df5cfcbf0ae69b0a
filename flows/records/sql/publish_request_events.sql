CREATE TABLE published.request_events AS
SELECT * FROM request_events ORDER BY event_seq
