SELECT
    m.ledger_uuid, m.target,
    greatest(
        (SELECT coalesce(max(a.event_seq), 0) FROM read_parquet($award_events) AS a),
        (SELECT coalesce(max(r.event_seq), 0) FROM read_parquet($request_events) AS r)
    ) AS sequence,
    m.schema_version
FROM read_parquet($meta) AS m
