DELETE FROM published.audit WHERE award_id IN (SELECT award_id FROM present_awards)
