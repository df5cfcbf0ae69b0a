SELECT target FROM ledger_state
