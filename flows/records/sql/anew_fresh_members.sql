CREATE OR REPLACE TEMP VIEW fresh_members AS SELECT * FROM request_awards
