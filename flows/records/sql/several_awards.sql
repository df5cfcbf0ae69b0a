-- Customers with more than one live award of a badge.
SELECT a.badge_meta_id, a.customer_id
FROM awards AS a
INNER JOIN award_states AS s ON s.award_id = a.award_id
WHERE s.status NOT IN ('withdrawn', 'released', 'failed')
GROUP BY a.badge_meta_id, a.customer_id
HAVING count(*) > 1
