SELECT ledger_uuid, target, sequence, schema_version FROM ledger_state
