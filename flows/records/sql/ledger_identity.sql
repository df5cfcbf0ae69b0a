SELECT ledger_uuid, target FROM meta
