"""Backups of the ledger.

Belongs here: exporting the ledger, keeping the newest exports, and finding one by what
was typed. Does not belong here: bringing one back (`flows.repair.repair`).
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from flows.records.ledger import Ledger
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
    shutil.rmtree(made, ignore_errors=True)  # of the same second, and as far
    making.replace(made)
    for old in backups(folder)[:-KEPT]:
        shutil.rmtree(old)
    return made


def backups(folder: Path) -> list[Path]:
    """Return the backups of a home, oldest first."""
    return sorted(folder.glob("[0-9]*T[0-9]*-[0-9]*"), key=_age)


def _age(backup: Path) -> tuple[str, int, str]:
    at, _, sequence = backup.name.partition("-")
    return at, int(sequence) if sequence.isdecimal() else 0, sequence


def backup_named(folder: Path, asked: str) -> Path:
    """Return the backup that was asked for: a name, a prefix, a path, or `latest`."""
    known = backups(folder)
    if asked == "latest" and known:
        return known[-1]
    found = [one for one in known if one.name.startswith(asked)]
    exact = [one for one in found if one.name == asked]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise HomeRefused.of(
            "backup_ambiguous",
            f"{len(found)} backups begin with {asked!r}, {found[0].name} and "
            f"{found[-1].name} among them: write more of it",
            file=str(folder),
        )
    path = Path(asked).absolute()
    if asked != "latest" and path.is_dir():
        return path
    names = ", ".join(one.name for one in known[-3:]) or "there is none"
    raise HomeRefused.of(
        "backup_unknown",
        f"no backup and no folder is named {asked!r}; the newest here: {names}",
        file=str(folder),
    )
