-- Events of a backup that the audit does not have as they are.
SELECT count(*)
FROM read_parquet($award_events) AS b
ANTI JOIN award_events AS a
    ON a.event_seq = b.event_seq AND a.award_id = b.award_id
    AND a.to_status = b.to_status AND a.changed_at = b.changed_at
