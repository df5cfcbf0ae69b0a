-- What a run planned or touched last and did not bring to a good end, by reason.
SELECT
    a.status, a.error_code,
    coalesce(e.meaning, min(a.error_message), 'No answer proves what became of it.')
        AS meaning,
    coalesce(e.what_to_do, 'See `explain` for one of them, then `retrobadge retry`.')
        AS what_to_do,
    count(*) AS awards
FROM audit AS a
LEFT JOIN error_codes AS e ON e.code = a.error_code
WHERE a.status IN ('failed', 'blocked', 'unknown', 'sent', 'planned')
    AND (a.planned_run_id = $run_id OR a.settled_run_id = $run_id)
GROUP BY a.status, a.error_code, e.meaning, e.what_to_do
ORDER BY awards DESC, a.status, a.error_code
