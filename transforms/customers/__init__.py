"""Whose an identifier is: the brand's customer files, merges and suppression lists."""
