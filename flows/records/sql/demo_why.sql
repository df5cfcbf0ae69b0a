SELECT
    badge, occurrence, earn_day, measure, threshold, evidence_activity_id, status, proof
FROM audit
WHERE customer_id = (
    SELECT customer_id FROM audit WHERE status = 'issued'
    GROUP BY customer_id ORDER BY count(*) DESC, customer_id LIMIT 1
)
ORDER BY earn_event_date, badge, occurrence
LIMIT 12
