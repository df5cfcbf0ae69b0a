SELECT earned_badge_id, count(*) AS awards
FROM award_states
WHERE earned_badge_id IS NOT NULL AND status <> 'withdrawn'
GROUP BY earned_badge_id
HAVING count(*) > 1
