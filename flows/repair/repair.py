"""Brings a ledger back: the commands `restore` and `recover`.

Belongs here: which source is right, what the ledger made of it can't know, and putting
it in its place. Does not belong here: copying rows (`flows.repair.rebuilding`), and
refusing a ledger that is not right (`flows.records.belonging`).

A ledger must never come back knowing less than was issued, for what it has forgotten
would be issued again. So nothing is rolled back: where the audit knows more than a
backup, the ledger is made of the audit; and where the audit may be behind the platform,
because the last run never came to its end, all that it shows as planned is taken for
sent, to be settled as anything else whose answer was lost.

The ledger that comes back goes on counting its events. Where something may have been
lost it gets a new uuid, so that the file that was lost, should it turn up again, is not
taken for this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.home import Home
from flows.platform.capillary import Platform
from flows.platform.pacing import Pace
from flows.records.backups import backup_named
from flows.records.belonging import (
    Standing,
    audit_standing,
    backup_standing,
    check_ledger,
    ledger_standing,
    newest_backup,
)
from flows.records.ledger import SCHEMA_VERSION, check_target
from flows.repair.rebuilding import events_lacking, from_audit, from_backup
from flows.repair.rebuilt import Rebuilt, Repaired, open_awards, opened, published
from flows.runs.job import Screen
from flows.sending import loading
from flows.sending.recorder import Recorder
from flows.sending.settle import Settling, Waits
from flows.sending.tracking import Rows, Tracked
from flows.settings import Settings
from transforms.errors import HomeRefused, RetrobadgeError


def restore(
    home: Home, asked: str, settings: Settings, *, wait_seconds: float = 0.0
) -> Repaired:
    """Bring a backup back, and with it what the audit has come to know since."""
    with home.lock(wait_seconds=wait_seconds, holder="restore"):
        _refuse_sound(home)
        folder = backup_named(home.backups, asked)
        backup = _usable_backup(folder, is_named=folder.parent == home.backups)
        audit = audit_standing(home.audit)
        fresh = _fresh(home)
        notes = list(_warnings(home, folder, audit))
        if audit is not None and audit.sequence > backup.sequence:
            _fill_from_audit(home, fresh, folder, audit)
            more = audit.sequence - backup.sequence
            notes.append(
                f"the backup ends at event {backup.sequence}; the {more} events since "
                "were taken from the audit"
            )
        else:
            _fill_from_backup(home, fresh, folder, backup, audit)
            more = 0
        made = Rebuilt(home, fresh, "restore", folder.name, is_audited=bool(audit))
        repaired = made.in_place(settings, notes)
        repaired.events_from_audit = more
        return repaired


def _warnings(home: Home, folder: Path, audit: Standing | None) -> Iterator[str]:
    """Say what nothing in this home can tell."""
    if audit is None:
        yield (
            "this home has no audit: what was issued after the backup was made is not "
            "known here; list it under [held] before anything is planned"
        )
    if folder.parent != home.backups:
        yield (
            "the backup is not one of this home's own: if the home it was made in is "
            "still used, use that one, or both will issue the same awards"
        )


def _fill_from_audit(home: Home, fresh: Path, folder: Path, audit: Standing) -> None:
    """Make the ledger of an audit that goes on where the backup ends."""
    _refuse_older(home, audit.sequence, home.audit)
    if lacking := events_lacking(folder, home.audit):
        raise _other_backup(folder, f"{lacking} of its events are not in it")
    from_audit(home.audit, fresh)


def _fill_from_backup(
    home: Home, fresh: Path, folder: Path, backup: Standing, audit: Standing | None
) -> None:
    """Make the ledger of a backup that nothing in the home goes beyond."""
    if audit is not None and audit.ledger_uuid != backup.ledger_uuid:
        raise _other_backup(folder, "they were made from two ledgers")
    _refuse_older(home, backup.sequence, folder)
    from_backup(folder, fresh)


async def recover(
    home: Home,
    settings: Settings,
    *,
    is_online: bool,
    wait_seconds: float = 0.0,
    screen: Screen | None = None,
) -> Repaired:
    """Rebuild the ledger from the audit; online, also read back what is open.

    Online settles by what is there; what is not there stays for `resume`.
    """
    with home.lock(wait_seconds=wait_seconds, holder="recover"):
        _refuse_sound(home)
        audit = audit_standing(home.audit)
        if audit is None:
            raise HomeRefused.of(
                "no_audit",
                "there is no audit that a ledger could be made of: bring a backup back "
                "with `retrobadge restore`; without either, list under [held] what "
                "was issued and begin in another home",
                file=str(home.audit),
            )
        _refuse_schema(audit, home.audit)
        _refuse_older(home, audit.sequence, home.audit)
        if is_online and audit.target is not None:
            check_target(audit.target, settings.target)
        fresh = _fresh(home)
        from_audit(home.audit, fresh)
        made = Rebuilt(home, fresh, "recover", home.audit.name, is_audited=True)
        repaired = made.in_place(settings, [])
        repaired.events_from_audit = audit.sequence
        if is_online:
            await _read_back(home, settings, repaired, screen or Screen())
        return repaired


def _refuse_sound(home: Home) -> None:
    """Refuse to replace a ledger that is as it should be: it knows the most."""
    try:
        check_ledger(home)
    except HomeRefused as refusal:
        if refusal.faults[0].code == "home_copied":
            raise
        return
    found = ledger_standing(home.ledger)
    if found is not None and found.schema_version == SCHEMA_VERSION:
        raise HomeRefused.of(
            "ledger_in_order",
            f"the ledger is in order (event {found.sequence}) and nothing knows more "
            "than it does: it is left as it is",
            file=str(home.ledger),
        )


def _usable_backup(folder: Path, *, is_named: bool) -> Standing:
    backup = backup_standing(folder)
    if backup is None:
        raise HomeRefused.of(
            "backup_unreadable",
            "is no backup of a ledger, or is damaged: name another one",
            file=str(folder),
        )
    _refuse_schema(backup, folder)
    told = folder.name.rpartition("-")[2]
    if is_named and told != str(backup.sequence):
        raise HomeRefused.of(
            "backup_incomplete",
            f"was made at event {told} and ends at event {backup.sequence}: some of it "
            "is missing, so name another one",
            file=str(folder),
        )
    return backup


def _refuse_schema(standing: Standing, source: Path) -> None:
    if standing.schema_version != SCHEMA_VERSION:
        raise HomeRefused.of(
            "ledger_schema",
            f"is of version {standing.schema_version}, this program writes version "
            f"{SCHEMA_VERSION}: use the version of the program that made it",
            file=str(source),
        )


def _other_backup(folder: Path, why: str) -> RetrobadgeError:
    return HomeRefused.of(
        "backup_other",
        f"is not of the ledger that this home's audit was published from ({why}): name "
        "another backup, or bring it back in a home of its own",
        file=str(folder),
    )


def _refuse_older(home: Home, sequence: int, source: Path) -> None:
    """Refuse a source that knows less than the newest backup."""
    newest = newest_backup(home)
    if newest is not None and newest.sequence > sequence:
        raise HomeRefused.of(
            "backup_not_newest",
            f"ends at event {sequence}, the newest backup at {newest.sequence}: what "
            "lies between would be issued again; use `retrobadge restore latest`",
            file=str(source),
        )


def _fresh(home: Home) -> Path:
    return home.ledger.with_name(f"{home.ledger.name}.new")


async def _read_back(
    home: Home, settings: Settings, repaired: Repaired, screen: Screen
) -> None:
    """Settle what is open and shows on the platform; send nothing."""
    pace = Pace(home.pace, settings.capillary_requests_per_minute)
    platform = Platform(settings, pace)
    with opened(home.ledger) as ledger:
        before = open_awards(ledger)
        open_requests = loading.unsettled(
            ledger, timeout=settings.capillary_timeout_seconds
        )
        screen.stage("reading back", len(open_requests))
        async with Recorder(ledger) as recorder:
            settling = Settling(
                ledger=ledger,
                recorder=recorder,
                rows=Rows(repaired.run_id),
                waits=Waits(
                    resend_after=settings.capillary_resend_after_seconds,
                    settle_after=settings.capillary_settle_after_seconds,
                ),
            )
            await _settled(
                settling,
                platform,
                open_requests,
                screen,
                senders=settings.capillary_max_in_flight,
            )
        repaired.open_awards = open_awards(ledger)
        repaired.settled = before - repaired.open_awards
        repaired.calls = platform.count.calls
        repaired.sequence = ledger.sequence()
        ledger.update_run(repaired.run_id, {"calls": repaired.calls})
    published(home)


async def _settled(
    settling: Settling,
    platform: Platform,
    open_requests: Sequence[Tracked],
    screen: Screen,
    *,
    senders: int,
) -> None:
    waiting = list(reversed(open_requests))

    async def reader() -> None:
        async with platform.line() as line:
            while waiting:
                tracked = waiting.pop()
                await settling.settle_present(tracked, line)
                screen.advance(len(open_requests) - len(waiting))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(senders, len(open_requests))):
            group.create_task(reader())
