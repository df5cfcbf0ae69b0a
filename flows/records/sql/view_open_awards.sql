CREATE VIEW open_awards AS
SELECT * FROM audit WHERE status IN ('planned', 'sent', 'unknown', 'blocked')
