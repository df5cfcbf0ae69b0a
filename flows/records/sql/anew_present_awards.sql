CREATE OR REPLACE TEMP VIEW present_awards AS SELECT * FROM award_states
