-- How many awards of a badge this ledger has ever reserved.
SELECT count(*) FROM awards WHERE badge_meta_id = $badge_meta_id
