SELECT ledger_uuid, sequence, layout, published_at FROM ledger_state
