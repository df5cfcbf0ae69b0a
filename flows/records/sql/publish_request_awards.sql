SELECT request_id, award_id, position, customer_id FROM fresh_members
