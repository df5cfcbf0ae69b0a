SELECT badge, rule_kind, count(*), count(DISTINCT customer_id), min(earn_day), max(earn_day)
FROM audit
WHERE status = 'issued'
GROUP BY badge, rule_kind
ORDER BY badge
