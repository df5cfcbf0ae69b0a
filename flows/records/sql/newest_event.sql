SELECT greatest(
    (SELECT coalesce(max(event_seq), 0) FROM award_events),
    (SELECT coalesce(max(event_seq), 0) FROM request_events)
)
