-- What a reconcile run found to differ, the first of it.
SELECT
    badge, customer_id, finding, earn_event_date, their_earn_event_date,
    earned_badge_id, their_earned_badge_id, note
FROM reconciliations
WHERE run_id = $run_id AND finding NOT IN ('matched', 'too_new')
ORDER BY finding, badge, customer_id
LIMIT 20
