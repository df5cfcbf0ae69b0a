-- All that the ledger has of one badge for the customers `wanted`: what reading back
-- must strike out, and which other awards an earn may belong to.
WITH theirs AS (
    SELECT a.award_id, a.customer_id, a.occurrence, a.earn_event_date
    FROM awards AS a
    WHERE a.badge_meta_id = $badge_meta_id
        AND a.customer_id IN (SELECT w.customer_id FROM wanted AS w)
)
SELECT
    t.award_id, t.customer_id, t.occurrence, t.earn_event_date,
    arg_max(e.to_status, e.event_seq) AS status,
    arg_max(e.earned_badge_id, e.event_seq) AS earned_badge_id
FROM theirs AS t
INNER JOIN award_events AS e ON e.award_id = t.award_id
GROUP BY ALL
ORDER BY t.customer_id, t.occurrence
