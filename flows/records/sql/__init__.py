"""The SQL of the ledger and the audit, one statement a file."""
