"""The audit: what people read. Published from the ledger, never written by readers.

Belongs here: publishing `audit.duckdb` as a new file over the old one, and read-only
queries of it. Does not belong here: what happened (`flows.records.ledger`).

A reader never blocks a run and a run never blocks a reader: a reader keeps the file
that it opened, whatever is published meanwhile.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl

from flows.records.ledger import Ledger, connect, sql
from transforms.errors import HomeRefused, Refused
from transforms.platform.codes import CODES

# In `flows/sql`: each table is made by `publish_<name>.sql`, each view by `view_…`.
PUBLISHED = (
    "audit",
    "award_events",
    "requests",
    "request_events",
    "request_awards",
    "attempts",
    "runs",
    "run_badges",
    "source_files",
    "rejected_rows",
    "drift",
    "badges",
    "approvals",
    "verdicts",
    "reconciliations",
    "error_codes",
    "ledger_state",
)
VIEWS = ("open_awards", "latest_run")
# What `known_in_audit.sql` answers of an audit that is not there yet.
NOTHING_KNOWN = pl.Schema(
    {
        "award_id": pl.String(),
        "customer_id": pl.Int64(),
        "occurrence": pl.Int64(),
        "generation": pl.Int32(),
        "import_name": pl.String(),
        "rule_digest": pl.String(),
        "qualified_at": pl.Datetime("us", "UTC"),
        "earn_event_date": pl.Datetime("us", "UTC"),
        "planned_at": pl.Datetime("us", "UTC"),
        "status": pl.String(),
        "is_released": pl.Boolean(),
    }
)
# Publishing may take this share of a run's time.
PUBLISHING_SHARE = 0.05


class Publisher:
    """Publishes as often as a run's time allows; a failure never stops the sending."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path
        self._next_at = 0.0

    def publish_if_due(self, now: datetime) -> bool:
        """Publish unless the last time was too costly too short ago."""
        if time.monotonic() < self._next_at:
            return False
        self.publish(now)
        return True

    def publish(self, now: datetime) -> None:
        """Publish the ledger's present state; raises OSError or duckdb.Error."""
        started = time.monotonic()
        publish(self._ledger, self._path, now)
        took = time.monotonic() - started
        self._next_at = time.monotonic() + max(took / PUBLISHING_SHARE, 1.0)


def publish(ledger: Ledger, path: Path, now: datetime) -> None:
    """Write a new audit and rename it over the old one, mode 0400."""
    fresh = path.with_name(f"{path.name}.new")
    for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        leftover.unlink(missing_ok=True)
    cursor = ledger.cursor()
    try:
        cursor.execute(f"ATTACH '{_quoted(fresh)}' AS published")
        try:
            _copy(cursor, now)
        finally:
            cursor.execute("DETACH published")
    finally:
        cursor.close()
    with connect(fresh) as made:
        for view in VIEWS:
            made.execute(sql(f"view_{view}"))
    fresh.chmod(0o400)
    # A reader that opened the file for writing and died leaves a log behind; it would
    # be replayed into the new file.
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    fresh.replace(path)


def _copy(cursor: duckdb.DuckDBPyConnection, now: datetime) -> None:
    cursor.register("error_codes", _error_codes())
    cursor.execute("BEGIN TRANSACTION")
    state = {"published_at": now}
    for table in PUBLISHED:
        values = state if table == "ledger_state" else None
        cursor.execute(sql(f"publish_{table}"), values)
    cursor.execute("COMMIT")
    cursor.execute("CHECKPOINT published")


def _error_codes() -> pl.DataFrame:
    rows = [(entry.code, entry.meaning, entry.what_to_do) for entry in CODES]
    return pl.DataFrame(
        rows,
        schema={"code": pl.Int32, "meaning": pl.String, "what_to_do": pl.String},
        orient="row",
    )


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def open_audit(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the audit read-only, unable to touch any other file."""
    if not path.exists():
        raise HomeRefused.of(
            "no_audit",
            "there is no audit in this home yet: it is written by the first run",
            file=str(path),
        )
    connection = connect(path, read_only=True)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def queried(path: Path, query: str) -> pl.DataFrame:
    """Return the answer of a person's query; a faulty one is refused in its words."""
    connection = open_audit(path)
    try:
        answer: pl.DataFrame = connection.sql(query).pl()
    except duckdb.Error as error:
        raise Refused.of("query_refused", str(error).strip()) from error
    except AttributeError as error:  # a statement that has no answer
        raise Refused.of(
            "query_refused", "only a query that returns rows can be asked"
        ) from error
    finally:
        connection.close()
    return answer


def listed_runs(path: Path) -> pl.DataFrame:
    """Return the runs of a home, newest first."""
    return queried(path, sql("listed_runs"))


def earned_ids(path: Path) -> pl.Series:
    """Return the ids of all earns that the audit knows to be the ledger's own."""
    if not path.exists():
        return pl.Series("earned_badge_id", [], dtype=pl.String)
    return queried(path, sql("earned_ids_in_audit"))["earned_badge_id"]


def earlier_files(path: Path, import_name: str) -> list[tuple[str, str, str]]:
    """Return source, path and fingerprint of the files an import stood on last."""
    if not path.exists():
        return []
    connection = open_audit(path)
    try:
        values = {"import_name": import_name}
        rows = connection.sql(sql("earlier_files"), params=values).pl()
    finally:
        connection.close()
    found: list[tuple[str, str, str]] = rows.rows()
    return found


def known_awards(path: Path, badge_meta_id: str, series: str) -> pl.DataFrame:
    """Return what the audit knows of one badge and series, as the ledger would."""
    if not path.exists():
        return pl.DataFrame(schema=NOTHING_KNOWN)
    values = {"badge_meta_id": badge_meta_id, "series": series}
    return asked(path, "known_in_audit", **values)["known_in_audit"]


def asked(path: Path, *names: str, **values: object) -> dict[str, pl.DataFrame]:
    """Return the answers of queries of `flows/sql`, all of the same published audit."""
    connection = open_audit(path)
    try:
        return {
            name: connection.sql(sql(name), params=values or None).pl()
            for name in names
        }
    finally:
        connection.close()
