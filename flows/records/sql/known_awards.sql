-- What the ledger has for one badge and series, of some of the customers. Of an award's
-- events only the last one is looked at, so only its number and status are read.
WITH theirs AS MATERIALIZED (
    SELECT
        award_id, customer_id, occurrence, generation, import_name, rule_digest,
        earn_event_date, planned_at
    FROM awards
    WHERE badge_meta_id = $badge_meta_id AND series = $series
        AND (
            customer_id % $partitions = $number
            OR customer_id IN (SELECT w.customer_id FROM wanted AS w)
        )
),
stand AS (
    SELECT e.award_id, arg_max(e.to_status, e.event_seq) AS status
    FROM award_events AS e
    WHERE e.award_id IN (SELECT t.award_id FROM theirs AS t)
    GROUP BY e.award_id
)
SELECT
    t.award_id, t.customer_id, t.occurrence, t.generation, t.import_name,
    t.rule_digest, t.earn_event_date, s.status, t.planned_at,
    s.status = 'released' AS is_released
FROM theirs AS t
INNER JOIN stand AS s ON s.award_id = t.award_id
WHERE s.status <> 'withdrawn'
