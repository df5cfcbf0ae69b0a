-- Customers of a badge who were issued by answer, newest first: one of them must be
-- visible the same way before another's absence is believed.
SELECT a.customer_id, s.earned_badge_id, a.earn_event_date
FROM award_states AS s
INNER JOIN awards AS a ON a.award_id = s.award_id
WHERE a.badge_meta_id = $badge_meta_id AND s.status = 'issued' AND s.proof = 'answer'
ORDER BY s.last_event_seq DESC
LIMIT 3
