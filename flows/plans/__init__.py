"""Plans as people meet them: kept in folders, approved."""
