UPDATE meta SET ledger_uuid = (SELECT r.ledger_uuid FROM renamed AS r)
