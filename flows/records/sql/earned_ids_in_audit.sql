-- As `earned_ids`, of the audit.
SELECT earned_badge_id
FROM audit
WHERE earned_badge_id IN (SELECT w.earned_badge_id FROM wanted AS w)
    AND coalesce(proof, '') <> 'held'
