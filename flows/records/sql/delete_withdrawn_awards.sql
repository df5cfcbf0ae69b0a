DELETE FROM awards WHERE award_id IN (SELECT award_id FROM withdrawn)
