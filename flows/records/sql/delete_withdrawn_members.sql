DELETE FROM request_awards WHERE request_id IN (SELECT request_id FROM withdrawn)
