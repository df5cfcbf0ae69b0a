-- The members of requests that are new, or were withdrawn and taken up again.
CREATE OR REPLACE TEMP TABLE fresh_members AS
SELECT * FROM request_awards
WHERE request_id IN (SELECT s.request_id FROM present_requests AS s)
    AND request_id NOT IN (SELECT r.request_id FROM published.requests AS r)
