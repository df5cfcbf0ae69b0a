"""What the flows share; no other place beside them knows Prefect."""
