-- What the audit has of one customer and badge, every generation.
SELECT * FROM audit
WHERE badge_meta_id = $badge_meta_id AND series = $series AND customer_id = ANY($customer_ids)
ORDER BY occurrence, generation, customer_id
