-- What was decided last about a plan.
SELECT decision, by_name, note, decided_at
FROM approvals
WHERE plan_digest = $plan_digest
ORDER BY decided_at DESC
LIMIT 1
