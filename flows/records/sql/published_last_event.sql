-- The newest event that was published before, as the audit has it and as the ledger
-- has it: two rows that are one, if the ledger has gone on from there.
SELECT DISTINCT award_id, changed_at, to_status, run_id FROM (
    SELECT award_id, changed_at, to_status, run_id FROM published.award_events
    WHERE event_seq = (SELECT max(event_seq) FROM published.award_events)
    UNION ALL
    SELECT award_id, changed_at, to_status, run_id FROM award_events
    WHERE event_seq = (SELECT max(event_seq) FROM published.award_events)
)
