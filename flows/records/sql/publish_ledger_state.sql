-- Which ledger this was published from, and how far it had come.
CREATE TABLE published.ledger_state AS
SELECT
    ledger_uuid, schema_version, target, created_at,
    greatest(
        (SELECT coalesce(max(event_seq), 0) FROM award_events),
        (SELECT coalesce(max(event_seq), 0) FROM request_events)
    ) AS sequence,
    $published_at::TIMESTAMPTZ AS published_at
FROM meta
