-- The badge as the platform had it when it was read last.
SELECT raw, read_at, run_id FROM badges
WHERE badge_meta_id = $badge_meta_id AND raw IS NOT NULL
ORDER BY read_at DESC
LIMIT 1
