CREATE TABLE published.request_awards AS
SELECT request_id, award_id, position, customer_id FROM request_awards
