CREATE OR REPLACE TEMP VIEW present_requests AS SELECT * FROM request_states
