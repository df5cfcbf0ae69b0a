-- Every event of the awards to which something happened since.
CREATE OR REPLACE TEMP TABLE changed_events AS
SELECT * FROM award_events
WHERE award_id IN (SELECT e.award_id FROM award_events AS e WHERE e.event_seq > $since)
