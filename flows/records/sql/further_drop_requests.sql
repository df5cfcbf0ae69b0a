DELETE FROM published.requests WHERE request_id IN (SELECT request_id FROM present_requests)
