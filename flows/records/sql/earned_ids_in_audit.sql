SELECT earned_badge_id
FROM audit
WHERE earned_badge_id IS NOT NULL AND coalesce(proof, '') <> 'held'
