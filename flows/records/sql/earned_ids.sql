-- Which of the earns `wanted` the ledger made itself.
SELECT DISTINCT earned_badge_id
FROM award_events
WHERE earned_badge_id IN (SELECT w.earned_badge_id FROM wanted AS w)
    AND coalesce(proof, '') <> 'held'
