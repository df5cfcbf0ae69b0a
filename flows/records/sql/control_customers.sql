-- Customers of a badge who were issued by answer, long enough ago to show: one of them
-- must be visible before another's absence is believed. First the one whose answer came
-- nearest to the attempt in question: it would have expired, or been hidden, likewise.
SELECT a.customer_id, s.earned_badge_id, a.earn_event_date
FROM award_states AS s
INNER JOIN awards AS a ON a.award_id = s.award_id
WHERE a.badge_meta_id = $badge_meta_id AND s.status = 'issued' AND s.proof = 'answer'
    AND s.changed_at <= $issued_until::TIMESTAMPTZ
ORDER BY abs(epoch(s.changed_at) - epoch($near::TIMESTAMPTZ)), s.last_event_seq DESC
LIMIT 3
