"""A ledger that was lost or is in doubt, brought back."""
