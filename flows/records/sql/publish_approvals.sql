CREATE TABLE published.approvals AS SELECT * FROM approvals
