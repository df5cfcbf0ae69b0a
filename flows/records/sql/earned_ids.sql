SELECT DISTINCT earned_badge_id
FROM award_events
WHERE earned_badge_id IS NOT NULL AND coalesce(proof, '') <> 'held'
