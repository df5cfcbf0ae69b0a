SELECT * FROM error_codes
