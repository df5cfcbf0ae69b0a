-- The fewest calls that could have carried what was sent, at 100 customers a call: two
-- awards of one customer can't share a call.
WITH cut AS (
    SELECT badge, earn_event_date, customer_id, count(*) AS awards
    FROM audit
    WHERE request_id IS NOT NULL
    GROUP BY badge, earn_event_date, customer_id
)
SELECT sum(calls)::BIGINT
FROM (
    SELECT greatest(ceil(sum(awards) / 100.0), max(awards)) AS calls
    FROM cut
    GROUP BY badge, earn_event_date
)
