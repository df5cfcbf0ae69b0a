"""Builds the file of a ledger anew: from a backup, or from the audit.

Belongs here: copying every table, and checking what has come of it. Does not belong
here: which source is the right one, and putting the file in its place
(`flows.repair.repair`).

Nothing that a source says is run as SQL: the tables are made by this program, and only
rows are taken over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from flows.records.ledger import ADDITIONS, TABLES, VIEWS, connect, sql
from transforms.errors import HomeRefused

# Where the audit has the rows of a table of another name, or only some of them.
_IN_AUDIT = {
    "meta": "published.ledger_state",
    "awards": "published.audit",
    "attempt_results": "published.attempts WHERE ended_at IS NOT NULL",
}


def from_backup(folder: Path, path: Path) -> None:
    """Make the file of a ledger of a backup's Parquet files.

    Raises `HomeRefused` for a backup that lacks a table, can't be read, or whose rows
    don't belong together.
    """
    for table in TABLES:
        if not (folder / f"{table}.parquet").exists():
            raise HomeRefused.of(
                "backup_incomplete",
                f"has no {table}.parquet, so it is no whole backup: name another one",
                file=str(folder),
            )
    with _making(path, folder, "backup_unreadable") as connection:
        for table in TABLES:
            connection.execute(
                f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet($file)",  # noqa: S608
                {"file": str(folder / f"{table}.parquet")},
            )


def from_audit(audit: Path, path: Path) -> None:
    """Make the file of a ledger of what was published from it.

    Raises `HomeRefused` for an audit that can't be read or lacks something, and for
    one whose rows don't belong together.
    """
    with _making(path, audit, "audit_incomplete") as connection:
        quoted = str(audit).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS published (READ_ONLY)")
        for table in TABLES:
            source = _IN_AUDIT.get(table, f"published.{table}")
            there = _columns(connection, source)
            columns = [name for name in _columns(connection, table) if name in there]
            connection.execute(
                f"INSERT INTO {table} BY NAME "  # noqa: S608
                f"SELECT {', '.join(columns)} FROM {source}"
            )


def _columns(connection: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    """Return the columns of a table: one that came later may be missing in a source."""
    return connection.sql(f"SELECT * FROM {source} LIMIT 0").columns  # noqa: S608


@contextmanager
def _making(path: Path, source: Path, code: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Fill a new file in one transaction; check it, or leave none behind."""
    remove(path)
    connection = connect(path)
    try:
        path.chmod(0o600)
        connection.execute("BEGIN TRANSACTION")
        for name in (*(f"create_{table}" for table in TABLES), *ADDITIONS):
            connection.execute(sql(name))
        yield connection
        for view in VIEWS:
            connection.execute(sql(f"create_{view}"))
        odd = connection.execute(sql("ledger_oddities")).fetchall()
        connection.execute("COMMIT")
    except duckdb.Error as error:
        connection.close()
        remove(path)
        raise HomeRefused.of(
            code,
            f"no ledger can be made of it ({str(error).splitlines()[0][:200]}): it is "
            "damaged, or of another version of this program; move it away to do "
            "without it",
            file=str(source),
        ) from error
    connection.close()
    if odd:
        remove(path)
        told = ", ".join(f"{count:,} {what}" for what, count in odd)
        raise HomeRefused.of(
            code, f"its rows don't belong together ({told})", file=str(source)
        )


def remove(path: Path) -> None:
    """Remove a ledger's file that is not in its place yet, and its log."""
    for leftover in (path, path.with_name(f"{path.name}.wal")):
        leftover.unlink(missing_ok=True)


def events_lacking(folder: Path, audit: Path) -> int:
    """Count the events of a backup that an audit, which should have them, has not."""
    values = {"award_events": str(folder / "award_events.parquet")}
    connection = connect(audit, read_only=True)
    try:
        (row,) = connection.execute(sql("events_lacking"), values).fetchall()
    except duckdb.Error as error:
        raise HomeRefused.of(
            "backup_unreadable",
            f"can't be compared with the audit ({str(error).splitlines()[0][:200]})",
            file=str(folder),
        ) from error
    finally:
        connection.close()
    return int(row[0])
