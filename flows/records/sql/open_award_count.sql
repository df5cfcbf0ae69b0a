SELECT count(*) FROM award_states WHERE status IN ('sent', 'unknown')
