"""The databases of a home: the ledger, its backups, the audit."""
