"""One run: what it is asked for, its place in the ledger, and what it reports."""
