SELECT * FROM request_events WHERE event_seq > $since
