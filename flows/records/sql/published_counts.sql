-- What was published against what there is: every row must say the same twice.
SELECT 'audit' AS what, (SELECT count(*) FROM published.audit) AS published,
    (SELECT count(*) FROM awards) AS kept
UNION ALL SELECT 'award_events', (SELECT count(*) FROM published.award_events),
    (SELECT count(*) FROM award_events)
UNION ALL SELECT 'requests', (SELECT count(*) FROM published.requests),
    (SELECT count(*) FROM requests)
UNION ALL SELECT 'request_events', (SELECT count(*) FROM published.request_events),
    (SELECT count(*) FROM request_events)
UNION ALL SELECT 'request_awards', (SELECT count(*) FROM published.request_awards),
    (SELECT count(*) FROM request_awards)
UNION ALL SELECT 'rejected_rows', (SELECT count(*) FROM published.rejected_rows),
    (SELECT count(*) FROM rejected_rows)
UNION ALL SELECT 'drift', (SELECT count(*) FROM published.drift),
    (SELECT count(*) FROM drift)
UNION ALL SELECT 'reconciliations', (SELECT count(*) FROM published.reconciliations),
    (SELECT count(*) FROM reconciliations)
