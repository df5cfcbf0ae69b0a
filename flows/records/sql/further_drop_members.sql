DELETE FROM published.request_awards
WHERE request_id IN (SELECT e.request_id FROM withdrawn_since AS e)
