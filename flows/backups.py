"""Backups of the ledger, and the check that it is the one that the home knows.

Belongs here: exporting the ledger, keeping the newest exports, and refusing a ledger
that is missing or behind what was published. Does not belong here: writing to it.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import duckdb

from flows.audit import open_audit
from flows.home import Home
from flows.ledger import Ledger, connect
from transforms.errors import HomeRefused

KEPT = 14


def back_up(ledger: Ledger, folder: Path, now: datetime) -> Path:
    """Export the ledger as Parquet into a folder of its own; keep the newest ones."""
    sequence = ledger.sequence()
    made = folder / f"{now:%Y%m%dT%H%M%S}-{sequence}"
    making = folder / f".{made.name}"
    shutil.rmtree(making, ignore_errors=True)
    cursor = ledger.cursor()
    try:
        quoted = str(making).replace("'", "''")
        cursor.execute(f"EXPORT DATABASE '{quoted}' (FORMAT parquet)")
    finally:
        cursor.close()
    making.replace(made)
    for old in backups(folder)[:-KEPT]:
        shutil.rmtree(old)
    return made


def backups(folder: Path) -> list[Path]:
    """Return the backups of a home, oldest first."""
    return sorted(p for p in folder.glob("*-*") if not p.name.startswith("."))


def check_ledger(home: Home) -> None:
    """Refuse a ledger that is missing, another one, or older than what was published.

    Writing to such a ledger would issue again what it has forgotten.
    """
    published = _published(home.audit)
    if published is None:
        return
    ledger_uuid, sequence = published
    advice = (
        "bring the newest backup back with `retrobadge restore`, or rebuild it with "
        "`retrobadge recover`"
    )
    if not home.ledger.exists():
        if sequence == 0:
            return
        raise HomeRefused.of(
            "ledger_missing",
            f"the audit knows a ledger that is gone: {advice}",
            file=str(home.ledger),
        )
    found = _state(home.ledger)
    if found is None:
        return  # opening it says what is wrong
    if found[0] != ledger_uuid:
        raise HomeRefused.of(
            "ledger_other",
            "the ledger is not the one that this home's audit was published from: "
            f"put the right one back, or {advice}",
            file=str(home.ledger),
        )
    if found[1] < sequence:
        raise HomeRefused.of(
            "ledger_behind",
            f"the ledger is older than the audit (event {found[1]} against {sequence}): "
            f"{advice}",
            file=str(home.ledger),
        )


def _published(path: Path) -> tuple[str, int] | None:
    if not path.exists():
        return None
    connection = open_audit(path)
    try:
        rows = connection.execute(
            "SELECT ledger_uuid, sequence FROM ledger_state"
        ).fetchall()
    except duckdb.Error:
        return None
    finally:
        connection.close()
    return (rows[0][0], int(rows[0][1])) if rows else None


def _state(path: Path) -> tuple[str, int] | None:
    try:
        connection = connect(path)
    except duckdb.Error:
        return None
    try:
        (uuid,) = connection.execute("SELECT ledger_uuid FROM meta").fetchall()[0]
        rows = connection.execute(
            "SELECT coalesce(max(event_seq), 0) FROM ("
            "SELECT event_seq FROM award_events UNION ALL "
            "SELECT event_seq FROM request_events)"
        ).fetchall()
    except duckdb.Error:
        return None
    finally:
        connection.close()
    return uuid, int(rows[0][0])
