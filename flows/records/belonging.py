"""Which ledger a home has, and whether the file that lies in it is that ledger.

Belongs here: what the audit, the backups and `home.json` know of a home's ledger, and
refusing one that is missing, another one, older than what was published, or a copy.
Does not belong here: bringing a ledger back (`flows.repair.repair`).

A ledger that has forgotten something would issue it again, and so would each of two
copies of one ledger. To move a home, move its whole folder, `home.json` included, and
leave nothing behind: the first run at the new place notes where it is now.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from flows.home import Home, open_private
from flows.records.audit import open_audit
from flows.records.backups import backups
from flows.records.ledger import connect, sql
from transforms.errors import HomeRefused, NotRecorded, RetrobadgeError

ADVICE = (
    "bring the newest backup back with `retrobadge restore latest`, or rebuild it with "
    "`retrobadge recover`"
)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which ledger something is or was made from, and how far that one had come."""

    ledger_uuid: str
    target: str | None
    sequence: int
    schema_version: int


def ledger_standing(path: Path) -> Standing | None:
    """Return where a ledger's file stands; None if it is missing or unreadable."""
    if not path.exists():
        return None
    with suppress(duckdb.Error):
        connection = connect(path)
        try:
            return _read(connection, "ledger_standing")
        finally:
            connection.close()
    return None


def audit_standing(path: Path) -> Standing | None:
    """Return which ledger an audit was published from; None if it does not say."""
    if not path.exists():
        return None
    with suppress(duckdb.Error):
        connection = open_audit(path)
        try:
            return _read(connection, "audit_standing")
        finally:
            connection.close()
    return None


def backup_standing(folder: Path) -> Standing | None:
    """Return which ledger a backup was made from; None if it can't be read."""
    names = ("meta", "award_events", "request_events")
    values = {name: str(folder / f"{name}.parquet") for name in names}
    with suppress(duckdb.Error):
        connection = connect(":memory:")
        try:
            return _read(connection, "backup_standing", values)
        finally:
            connection.close()
    return None


def _read(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    values: dict[str, str] | None = None,
) -> Standing | None:
    rows = connection.execute(sql(query), values).fetchall()
    if len(rows) != 1:
        return None
    ledger_uuid, target, sequence, schema_version = rows[0]
    return Standing(
        ledger_uuid=ledger_uuid,
        target=target,
        sequence=int(sequence),
        schema_version=int(schema_version),
    )


def newest_backup(home: Home) -> Standing | None:
    """Return where the newest backup of a home stands that can be read."""
    for folder in reversed(backups(home.backups)):
        standing = backup_standing(folder)
        if standing is not None:
            return standing
    return None


@dataclass(frozen=True)
class _Noted:
    """What `home.json` holds: the home's ledger, and where the home lay."""

    ledger_uuid: str
    root: str


def remember(home: Home, ledger_uuid: str) -> None:
    """Note which ledger this home has, and where the home is."""
    noted = _Noted(ledger_uuid, str(home.root))
    if _noted(home.note) == noted:
        return
    fresh = home.note.with_name(f"{home.note.name}.new")
    try:
        with open(fresh, "w", encoding="utf-8", opener=open_private) as file:
            json.dump({"ledger_uuid": noted.ledger_uuid, "root": noted.root}, file)
        fresh.replace(home.note)
    except OSError as error:
        raise NotRecorded.of(
            "home_not_written",
            f"can't be written ({error.strerror}): free disk space or mend the "
            "permissions, then run again",
            file=str(home.note),
        ) from error


def _noted(path: Path) -> _Noted | None:
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(path.read_bytes())
        return _Noted(str(told["ledger_uuid"]), str(told["root"]))
    return None


def check_ledger(home: Home) -> None:
    """Refuse a ledger that is missing, not this home's, or older than it was."""
    noted = _noted(home.note)
    if noted is not None:
        _refuse_copied_home(home, noted)
    audit, backup = audit_standing(home.audit), newest_backup(home)
    if not home.ledger.exists():
        if (audit and audit.sequence) or backup or noted:
            raise _missing(home, is_traced=bool(audit or backup))
        return
    found = ledger_standing(home.ledger)
    if found is None:
        return  # opening it says what is wrong
    _refuse_other(home, found, audit, noted)
    known = [one for one in (audit, backup) if one is not None]
    newest = max(
        (one.sequence for one in known if one.ledger_uuid == found.ledger_uuid),
        default=0,
    )
    if found.sequence < newest:
        raise HomeRefused.of(
            "ledger_behind",
            "the ledger is older than what was published or backed up (event "
            f"{found.sequence} against {newest}): {ADVICE}",
            file=str(home.ledger),
        )


def _refuse_copied_home(home: Home, noted: _Noted) -> None:
    """Refuse a home whose folder was copied and not moved: the other is still there."""
    if noted.root == str(home.root):
        return
    there = _noted(Path(noted.root) / home.note.name)
    if there is None or there.ledger_uuid != noted.ledger_uuid:
        return
    with suppress(OSError):
        if Path(noted.root).samefile(home.root):
            return
    raise HomeRefused.of(
        "home_copied",
        f"this home is a copy of {noted.root}, which is still there; each of them "
        "would issue what the other has issued: use that one, or remove it if this one "
        "is to take its place",
        file=str(home.root),
    )


def _missing(home: Home, *, is_traced: bool) -> RetrobadgeError:
    if is_traced:
        told = f"the ledger of this home is gone: {ADVICE}"
    else:
        told = (
            "the ledger of this home is gone, and so are its audit and its backups: "
            "put one of them back. To begin with an empty ledger, remove "
            f"{home.note.name} and list under [held] what was issued: an empty ledger "
            "issues it again"
        )
    return HomeRefused.of("ledger_missing", told, file=str(home.ledger))


def _refuse_other(
    home: Home, found: Standing, audit: Standing | None, noted: _Noted | None
) -> None:
    """Refuse a ledger that this home does not know."""
    if audit is not None:
        if audit.ledger_uuid == found.ledger_uuid:
            return
        raise HomeRefused.of(
            "ledger_other",
            "the ledger is not the one that this home's audit was published from: "
            f"put the right one back, or {ADVICE}",
            file=str(home.ledger),
        )
    is_known = noted is not None and noted.ledger_uuid == found.ledger_uuid
    if found.target is None or is_known:  # one that is not bound has sent nothing
        return
    raise HomeRefused.of(
        "ledger_of_other_home",
        f"the ledger belongs to another home (it was used for {found.target}): two "
        "copies of one ledger would issue twice. To move a home, move its whole "
        f"folder, {home.note.name} included; to bring a lost ledger back, use "
        "`retrobadge restore` with one of its backups",
        file=str(home.ledger),
    )
