"""Decides: pure functions, frame in, frame out, named by their result.

Nothing here opens a file, a socket or a database, reads the clock, the environment
or randomness, or imports prefect, httpx or duckdb. What acts is in `flows`.
"""
