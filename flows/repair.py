"""Brings a ledger back: the commands `restore` and `recover`.

Belongs here: which source is right, what the ledger made of it can't know, and putting
it in its place. Does not belong here: copying rows (`flows.rebuilding`), and refusing
a ledger that is not right (`flows.belonging`).

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
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from flows import reserve
from flows.audit import publish
from flows.backups import back_up, backup_named
from flows.belonging import (
    Standing,
    audit_standing,
    backup_standing,
    check_ledger,
    ledger_standing,
    newest_backup,
    remember,
)
from flows.capillary import Platform, utc_now
from flows.home import Home
from flows.ledger import SCHEMA_VERSION, Ledger, check_target, open_ledger
from flows.pacing import Pace
from flows.rebuilding import events_lacking, from_audit, from_backup
from flows.recorder import Recorder
from flows.runs import Screen, new_run_id
from flows.settings import Settings
from flows.settle import ID_REMEMBERED, Settling, Waits
from flows.tracking import ACTOR, Rows, Tracked
from transforms.errors import HomeRefused, RetrobadgeError
from transforms.statuses import AwardStatus, RequestStatus

_UTC = pl.Datetime("us", "UTC")
_MAYBE_SENT = "the ledger was lost: this may have been sent without being known here"


@dataclass
class Repaired:
    """What became of a ledger that was brought back."""

    kind: str
    run_id: str
    source: str
    ledger_uuid: str
    sequence: int
    events_from_audit: int = 0
    maybe_sent: int = 0
    settled: int = 0
    open_awards: int = 0
    calls: int = 0
    kept_aside: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """Return 3 while awards are open that may have been issued, else 0."""
        return 3 if self.open_awards else 0

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        return {
            "run_id": self.run_id,
            "status": "finished_open" if self.open_awards else "finished",
            "source": self.source,
            "ledger_uuid": self.ledger_uuid,
            "sequence": self.sequence,
            "events_from_audit": self.events_from_audit,
            "maybe_sent": self.maybe_sent,
            "settled": self.settled,
            "open_awards": self.open_awards,
            "calls": self.calls,
            "kept_aside": self.kept_aside,
            "notes": self.notes,
            "errors": [],
        }


def restore(
    home: Home, asked: str, settings: Settings, *, wait_seconds: float = 0.0
) -> Repaired:
    """Bring a backup back, and with it what the audit has come to know since."""
    with home.lock(wait_seconds=wait_seconds, holder="restore"):
        _refuse_sound(home)
        folder = backup_named(home.backups, asked)
        backup = _usable_backup(folder)
        audit = audit_standing(home.audit)
        fresh = _fresh(home)
        notes = []
        if audit is not None and audit.sequence > backup.sequence:
            _refuse_older(home, audit.sequence, home.audit)
            if lacking := events_lacking(folder, home.audit):
                raise _other_backup(folder, f"{lacking} of its events are not in it")
            from_audit(home.audit, fresh)
            more = audit.sequence - backup.sequence
            notes.append(
                f"the backup ends at event {backup.sequence}; the {more} events since "
                "were taken from the audit"
            )
        else:
            if audit is not None and audit.ledger_uuid != backup.ledger_uuid:
                raise _other_backup(folder, "they were made from two ledgers")
            _refuse_older(home, backup.sequence, folder)
            from_backup(folder, fresh)
            more = 0
        if audit is None:
            notes.append(
                "this home has no audit: what was issued after the backup was made is "
                "not known here; list it under [held] before anything is planned"
            )
        made = _Rebuilt(home, fresh, "restore", folder.name, is_audited=bool(audit))
        repaired = made.in_place(settings, notes)
        repaired.events_from_audit = more
        return repaired


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
        made = _Rebuilt(home, fresh, "recover", home.audit.name, is_audited=True)
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


def _usable_backup(folder: Path) -> Standing:
    backup = backup_standing(folder)
    if backup is None:
        raise HomeRefused.of(
            "backup_unreadable",
            "is no backup of a ledger, or is damaged: name another one",
            file=str(folder),
        )
    _refuse_schema(backup, folder)
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


@dataclass
class _Rebuilt:
    """A ledger's file that was made anew and is not in its place yet."""

    home: Home
    path: Path
    kind: str
    source: str
    is_audited: bool

    def in_place(self, settings: Settings, notes: list[str]) -> Repaired:
        """Mark what may have been sent, put the file in its place, publish it."""
        now = utc_now()
        run_id = new_run_id(now)
        ledger = open_ledger(self.path, now=now)
        try:
            maybe_sent = self._doubt(ledger, run_id, now, settings)
            ledger_uuid, target = ledger.identity
            ledger.write_rows("runs", [self._run(run_id, now, target, maybe_sent)])
            repaired = Repaired(
                kind=self.kind,
                run_id=run_id,
                source=self.source,
                ledger_uuid=ledger_uuid,
                sequence=ledger.sequence(),
                maybe_sent=maybe_sent,
                open_awards=_open_awards(ledger),
                notes=notes,
            )
        finally:
            ledger.close()
        repaired.kept_aside = _swap(self.path, self.home.ledger, now)
        remember(self.home, ledger_uuid)
        _published(self.home)
        return repaired

    def _doubt(
        self, ledger: Ledger, run_id: str, now: datetime, settings: Settings
    ) -> int:
        """Take for sent what may have been sent unknown to the source; count awards."""
        is_unfinished = bool(ledger.read("is_run_unfinished").item())
        if self.is_audited and not is_unfinished:
            return 0
        planned = ledger.read("maybe_sent_requests")
        if not planned.is_empty():
            _refuse_too_early(self.home, settings)
        ledger.append(
            _doubtful_rows(planned, run_id, now) if not planned.is_empty() else {},
            statements=["new_ledger_uuid"],
            about={"renamed": pl.DataFrame({"ledger_uuid": [uuid.uuid4().hex]})},
        )
        return planned.height

    def _run(
        self, run_id: str, now: datetime, target: str | None, maybe_sent: int
    ) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "kind": self.kind,
            "trigger": "command",
            "status": "finished",
            "started_at": now,
            "ended_at": now,
            "as_of": now,
            "target": target,
            "calls": 0,
            "earn_calls": 0,
            "balanced": True,
            "message": f"from {self.source}; {maybe_sent} awards may have been sent",
        }


def _refuse_too_early(home: Home, settings: Settings) -> None:
    """Refuse while a call of the process that died may still be on its way."""
    rest = 2 * settings.capillary_timeout_seconds
    if not home.pace.exists():
        return
    since = time.time() - home.pace.stat().st_mtime
    if 0 <= since < rest:
        raise HomeRefused.of(
            "platform_just_called",
            f"the platform was called {since:.0f} s ago, and what was sent then may "
            f"still be arriving: try again in {rest - since:.0f} s",
            file=str(home.pace),
        )


def _doubtful_rows(
    planned: pl.DataFrame, run_id: str, now: datetime
) -> dict[str, pl.DataFrame]:
    """Return rows that make requests ambiguous: an attempt of which nothing is known.

    It is dated long ago, so that these are proved absent before they are sent again.
    """
    long_ago = pl.lit(now - ID_REMEMBERED - timedelta(seconds=1), dtype=_UTC)
    stamp = pl.lit(now, dtype=_UTC)
    requests = planned.group_by("request_id", maintain_order=True).agg(
        pl.col("reserved_at").first(), customers=pl.len().cast(pl.Int64)
    )
    attempts = requests.select(
        "request_id",
        "customers",
        attempt_id=pl.concat_str(pl.lit(f"lost-{run_id}-"), "request_id"),
        run_id=pl.lit(run_id),
        started_at=pl.min_horizontal(pl.col("reserved_at"), long_ago),
    )
    nobody = pl.lit(0, dtype=pl.Int64)
    return {
        "attempts": attempts,
        "attempt_results": attempts.select(
            "attempt_id",
            ended_at=long_ago,
            seconds=pl.lit(0.0),
            result=pl.lit("lost"),
            customers_listed_well=nobody,
            customers_listed_failed=nobody,
            customers_missing=nobody,
            error_message=pl.lit(_MAYBE_SENT),
        ),
        "award_events": planned.select(
            "award_id",
            "request_id",
            changed_at=stamp,
            from_status="status",
            to_status=pl.lit(str(AwardStatus.UNKNOWN)),
            run_id=pl.lit(run_id),
            actor=pl.lit(ACTOR),
            reason=pl.lit(_MAYBE_SENT),
        ),
        "request_events": requests.select(
            "request_id",
            changed_at=stamp,
            status=pl.lit(str(RequestStatus.UNKNOWN)),
            run_id=pl.lit(run_id),
            reason=pl.lit(_MAYBE_SENT),
        ),
    }


def _open_awards(ledger: Ledger) -> int:
    return int(ledger.read("open_award_count").item())


def _swap(fresh: Path, ledger: Path, now: datetime) -> str | None:
    """Put the new file in its place; keep the one that was there, with its log.

    A log that stayed behind would be replayed into the new file.
    """
    aside = ledger.with_name(f"{ledger.name}.before-{now:%Y%m%dT%H%M%S%f}")
    kept = None
    for suffix in ("", ".wal"):
        there = ledger.with_name(f"{ledger.name}{suffix}")
        if there.exists():
            there.replace(aside.with_name(f"{aside.name}{suffix}"))
            kept = aside.name
    fresh.replace(ledger)
    return kept


def _published(home: Home) -> None:
    """Publish the ledger that is in its place now, and back it up."""
    now = utc_now()
    ledger = open_ledger(home.ledger, now=now)
    try:
        publish(ledger, home.audit, now)
        back_up(ledger, home.backups, now)
    finally:
        ledger.close()


async def _read_back(
    home: Home, settings: Settings, repaired: Repaired, screen: Screen
) -> None:
    """Settle what is open and shows on the platform; send nothing."""
    pace = Pace(home.pace, settings.capillary_requests_per_minute)
    platform = Platform(settings, pace)
    ledger = open_ledger(home.ledger, now=utc_now())
    try:
        before = _open_awards(ledger)
        open_requests = reserve.unsettled(
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
        repaired.open_awards = _open_awards(ledger)
        repaired.settled = before - repaired.open_awards
        repaired.calls = platform.count.calls
        repaired.sequence = ledger.sequence()
        ledger.update_run(repaired.run_id, {"calls": repaired.calls})
        publish(ledger, home.audit, utc_now())
        back_up(ledger, home.backups, utc_now())
    finally:
        ledger.close()


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
