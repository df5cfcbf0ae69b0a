"""A ledger that was made anew, put in its place.

Belongs here: its run, the swap of the files, publishing, and what is told of it. Does
not belong here: which source it is made of (`flows.repair.repair`), and copying rows
(`flows.repair.rebuilding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.home import Home
from flows.platform.capillary import utc_now
from flows.records.backups import back_up
from flows.records.belonging import remember
from flows.records.ledger import Ledger, open_ledger
from flows.records.publishing import publish
from flows.repair.doubt import doubt
from flows.repair.rebuilding import remove
from flows.runs.run import new_run_id
from flows.settings import Settings


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


@dataclass
class Rebuilt:
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
        with opened(self.path) as ledger:
            maybe_sent = doubt(
                ledger,
                run_id,
                now,
                home=self.home,
                timeout=settings.capillary_timeout_seconds,
                is_audited=self.is_audited,
            )
            ledger_uuid, target = ledger.identity
            ledger.write_rows("runs", [self._run(run_id, now, target, maybe_sent)])
            repaired = Repaired(
                kind=self.kind,
                run_id=run_id,
                source=self.source,
                ledger_uuid=ledger_uuid,
                sequence=ledger.sequence(),
                maybe_sent=maybe_sent,
                open_awards=open_awards(ledger),
                notes=notes,
            )
        repaired.kept_aside = _swap(self.path, self.home.ledger, now)
        remember(self.home, ledger_uuid)
        published(self.home)
        return repaired

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


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """Open a ledger for as long as the block lasts; a new one that failed is removed.

    DuckDB writes its log into the file when it is closed.
    """
    ledger = open_ledger(path, now=utc_now())
    try:
        yield ledger
    except BaseException:
        ledger.close()
        if path.suffix == ".new":
            remove(path)
        raise
    ledger.close()


def open_awards(ledger: Ledger) -> int:
    """Count the awards that may have been issued and are not settled."""
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
    for suffix in (".wal", ""):
        new = fresh.with_name(f"{fresh.name}{suffix}")
        if new.exists():
            new.replace(ledger.with_name(f"{ledger.name}{suffix}"))
    return kept


def published(home: Home) -> None:
    """Publish the ledger that is in its place now, and back it up."""
    with opened(home.ledger) as ledger:
        publish(ledger, home.audit, utc_now(), anew=True)
        back_up(ledger, home.backups, utc_now())
