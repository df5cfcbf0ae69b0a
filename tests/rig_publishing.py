"""An audit beside one that is published anew: in what the two differ."""

from __future__ import annotations

from pathlib import Path

import duckdb

from flows.records.publishing import PUBLISHED


def differences(audit: Path, anew: Path) -> list[str]:
    """Return the tables that don't hold the same rows, with rows that one has not."""
    found = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{audit}' AS one (READ_ONLY)")
        connection.execute(f"ATTACH '{anew}' AS other (READ_ONLY)")
        for table in PUBLISHED:
            columns = "* EXCLUDE (published_at)" if table == "ledger_state" else "*"
            rows = [f"SELECT {columns} FROM {db}.{table}" for db in ("one", "other")]
            for first, second in (rows, rows[::-1]):
                query = f"{first} EXCEPT ALL {second} LIMIT 1"
                found += [f"{table}: {row}" for row in connection.sql(query).fetchall()]
    return found
