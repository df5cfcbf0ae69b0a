CREATE TABLE published.request_awards AS
SELECT request_id, award_id, position FROM request_awards
