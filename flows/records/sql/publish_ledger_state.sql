-- Which ledger this was published from, how far it had come, and how it was laid out.
SELECT
    ledger_uuid, schema_version, target, created_at,
    greatest(
        (SELECT coalesce(max(event_seq), 0) FROM award_events),
        (SELECT coalesce(max(event_seq), 0) FROM request_events)
    ) AS sequence,
    $published_at::TIMESTAMPTZ AS published_at,
    $layout::VARCHAR AS layout
FROM meta
