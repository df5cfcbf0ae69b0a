SELECT * FROM approvals
