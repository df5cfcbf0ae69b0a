SELECT published_at FROM ledger_state
