"""One run's place in the ledger: opened under the lock, recorded to its end.

Belongs here: the run's row, what it records, the balance, publishing and the backup at
its end. Does not belong here: the steps of a run (`flows.pipeline`).
"""

from __future__ import annotations

import asyncio
import logging
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

import duckdb
import orjson
import polars as pl

from flows.files.accepted_activity import rejected_rows
from flows.files.activity_files import AcceptedFile
from flows.home import Home
from flows.journal import journal
from flows.pages.run_page import write_run_page
from flows.planning import Plan
from flows.platform.capillary import Platform, utc_now
from flows.platform.pacing import Pace
from flows.records.backups import back_up
from flows.records.belonging import check_ledger, remember
from flows.records.ledger import Ledger, open_ledger
from flows.records.publishing import Publisher
from flows.runs.job import Job, Screen
from flows.runs.plan_counts import badge_row, file_row, plan_books
from flows.runs.report import Report
from flows.settings import Settings
from transforms.awards.awards import PlanResult
from transforms.books import AnswerCounts, Books, LedgerCounts, balance
from transforms.definition.definition import Definition
from transforms.errors import NotRecorded, Refused, RetrobadgeError, Unbalanced
from transforms.platform.badges import BadgeFacts

log = logging.getLogger(__name__)
_VERSIONED = ("retrobadge", "polars", "pandera", "duckdb", "httpx", "prefect")


@dataclass
class Run:
    """An open run: it holds the home's lock and the ledger until it ends."""

    run_id: str
    job: Job
    settings: Settings
    home: Home
    ledger: Ledger
    platform: Platform
    screen: Screen
    as_of: datetime
    definition: Definition | None
    publisher: Publisher
    files: Sequence[AcceptedFile] = ()
    plan: Plan | None = None
    is_reserved: bool = False
    requests: int = 0
    withdrawn: int = 0
    settled_early: set[str] = field(default_factory=set)
    stopped_by: str | None = None
    stopped_badges: dict[str, str] = field(default_factory=dict)
    failure: RetrobadgeError | None = None
    # What a run that is no import tells besides, and how much of its own work it left.
    told: dict[str, Any] = field(default_factory=dict)
    left_undone: int | None = None
    message: str | None = None
    report: Report = field(init=False)

    @property
    def timeout(self) -> float:
        """Return how long a call may take, in seconds."""
        return self.settings.capillary_timeout_seconds

    def bind(self) -> None:
        """Bind the home to the platform of the settings, or refuse another one."""
        self.ledger.bind(self.settings.target)
        remember(self.home, self.ledger.identity[0])

    def is_first(self, badge_meta_id: str) -> bool:
        """Tell whether the ledger has sent nothing of this badge yet."""
        values = {"badge_meta_id": badge_meta_id}
        return bool(self.ledger.read("sent_before", **values).item() == 0)

    def known_awards(self, badge_meta_id: str, series: str) -> pl.DataFrame:
        """Return what the ledger has of one badge and series."""
        values = {"badge_meta_id": badge_meta_id, "series": series}
        return self.ledger.read("known_awards", **values)

    def earned_ids(self, listed: pl.DataFrame | None) -> pl.Series:
        """Return which earns of a list (earned_badge_id) are the ledger's own."""
        if listed is None:
            return pl.Series("earned_badge_id", [], dtype=pl.String)
        wanted = listed.select("earned_badge_id")
        return self.ledger.read_with("earned_ids", wanted)["earned_badge_id"]

    def record_badges(self, facts: Mapping[str, BadgeFacts]) -> None:
        """Record the platform's badges as they were read."""
        now = utc_now()
        rows: list[Mapping[str, Any]] = [
            {
                "run_id": self.run_id,
                "badge": name,
                "badge_meta_id": one.badge_meta_id,
                "badge_name": one.name,
                "earn_type": one.earn_type,
                "status": one.status,
                "is_active": one.is_active,
                "starts_at": one.starts_at,
                "expires_at": one.expires_at,
                "earned_expiry": one.expiry_text or one.earned_expiry,
                "owners": ", ".join(one.owners),
                "claims": ", ".join(
                    f"{c.owner_type}/{c.reference_id}" for c in one.claims
                ),
                "raw": one.raw,
                "read_at": now,
            }
            for name, one in facts.items()
        ]
        self.ledger.write_rows("badges", rows)

    def record_plan(self, plan: Plan) -> None:
        """Record the files, rejected rows, counts per badge and drift of a plan."""
        self.plan, self.files = plan, plan.files
        known = self.ledger.read("files_with_rejected_rows")
        recorded = set(known.iter_rows())
        fresh = [f for f in plan.files if (f.path, f.fingerprint) not in recorded]
        self.ledger.append(
            {
                "source_files": pl.DataFrame(
                    [
                        {"run_id": self.run_id, **file_row(plan, file)}
                        for file in plan.files
                    ],
                    infer_schema_length=None,
                ),
                "rejected_rows": rejected_rows(fresh).select(
                    pl.lit(self.run_id).alias("run_id"), pl.all()
                ),
                "run_badges": pl.DataFrame(
                    [
                        {"run_id": self.run_id, **badge_row(badge, counts)}
                        for badge, counts in plan.results.items()
                    ]
                ),
                "drift": plan.drift.select(
                    "award_id",
                    pl.lit(self.run_id).alias("found_run_id"),
                    "kind",
                    "was",
                    "would_be",
                ),
            }
        )

    def books(self) -> Books:
        """Return what every wall of this run counted."""
        statuses = dict(
            self.ledger.read("status_counts", run_id=self.run_id).iter_rows()
        )
        withdrawn = statuses.pop("withdrawn", 0)
        doubled = self.ledger.read("doubled_earned_ids")
        plan = self.plan
        return replace(
            plan_books(plan) if plan else Books(),
            ledger=LedgerCounts(statuses=statuses, withdrawn=withdrawn)
            if self.is_reserved
            else None,
            answers=tuple(
                AnswerCounts(
                    request_id=row["request_id"],
                    customers=row["customers"],
                    listed_well=row["customers_listed_well"],
                    listed_failed=row["customers_listed_failed"],
                    missing=row["customers_missing"],
                )
                for row in self.ledger.read(
                    "answer_books", run_id=self.run_id
                ).iter_rows(named=True)
            ),
            doubled_earned_ids=tuple(doubled["earned_badge_id"]),
        )

    def made_report(self) -> Report:
        """Return what the run reports, from counts taken now."""
        books = self.books()
        faults = balance(books)
        statuses = dict(books.ledger.statuses) if books.ledger else {}
        ours, waiting, left = self._open()
        if self.left_undone is not None:
            ours, left = self.left_undone, 0
        report = Report(
            run_id=self.run_id,
            status="finished",
            counts={
                **books.totals(),
                "awards_held": self.plan.count(PlanResult.HELD) if self.plan else 0,
                "requests": self.requests,
                "calls": self.platform.count.calls,
                "earn_calls": self.platform.count.earn_calls,
            },
            statuses=statuses,
            waiting=waiting,
            is_balanced=not faults,
            open_awards=ours,
            left_planned=left,
            stopped_by=self.stopped_by,
            stopped_badges=self.stopped_badges,
            errors=faults,
            told=self.told,
        )
        names = {5: "unbalanced", 4: "stopped", 3: "finished_open", 0: "finished"}
        report.status = names[report.exit_status]
        if self.failure is not None:
            report.errors = self.failure.faults
            is_refused = isinstance(self.failure, Refused)
            report.status = "refused" if is_refused else "stopped"
            if isinstance(self.failure, Unbalanced):
                report.status = "unbalanced"
        return report

    def _open(self) -> tuple[int, int, int]:
        """Count open awards of this run, those waiting of earlier ones, and planned."""
        ours = waiting = left = 0
        rows = self.ledger.read("open_counts", run_id=self.run_id).iter_rows(named=True)
        for row in rows:
            if row["status"] in {"planned", "sent"}:
                left += row["awards"]
            elif row["is_of_run"]:
                ours += row["awards"]
            elif row["status"] in {"blocked", "unknown"}:
                waiting += row["awards"]
        return ours, waiting, left


@contextmanager
def open_run(
    job: Job,
    settings: Settings,
    home: Home,
    definition: Definition | None,
    *,
    kind: str,
    screen: Screen,
) -> Iterator[Run]:
    """Open a run under the home's lock; record its end, whatever it is."""
    holder = f"{kind} {definition.name}" if definition else kind
    with home.lock(wait_seconds=job.wait_seconds, holder=holder):
        now = utc_now()
        check_ledger(home)
        ledger = open_ledger(home.ledger, now=now)
        try:
            run = Run(
                run_id=new_run_id(now),
                job=job,
                settings=settings,
                home=home,
                ledger=ledger,
                platform=Platform(
                    settings, Pace(home.pace, settings.capillary_requests_per_minute)
                ),
                screen=screen,
                as_of=job.as_of or now,
                definition=definition,
                publisher=Publisher(ledger, home.audit),
            )
            with journal(home.logs, run.run_id, level=logging.ERROR):
                yield from _recorded(run, kind, now)
        finally:
            ledger.close()


def _recorded(run: Run, kind: str, now: datetime) -> Iterator[Run]:
    """Yield the run between its first and its last row, whatever its end."""
    before = run.ledger.sequence()
    _begin(run, kind, now)
    try:
        yield run
    except RetrobadgeError as failure:
        run.failure = failure
        _end(run, before)
        failure.report = run.report
        raise
    except BaseException as failure:
        is_interrupt = isinstance(failure, KeyboardInterrupt | asyncio.CancelledError)
        told = "interrupted" if is_interrupt else type(failure).__name__
        run.stopped_by = run.stopped_by or told
        _end(run, before)
        raise
    _end(run, before)


def new_run_id(now: datetime) -> str:
    """Return an id that sorts by time and that no other run has."""
    milliseconds = now.microsecond // 1000
    return f"{now:%Y%m%dT%H%M%S}{milliseconds:03}-{uuid.uuid4().hex[:6]}"


def _begin(run: Run, kind: str, now: datetime) -> None:
    definition = run.definition
    versions = {name: _version(name) for name in _VERSIONED}
    run.ledger.write_rows(
        "runs",
        [
            {
                "run_id": run.run_id,
                "kind": kind,
                "trigger": run.job.trigger,
                "status": "running",
                "started_at": now,
                "as_of": run.as_of,
                "import_name": definition.name if definition else None,
                "definition_text": definition.text if definition else None,
                "definition_digest": definition.digest if definition else None,
                "target": run.settings.target,
                "requests_per_minute": run.settings.capillary_requests_per_minute,
                "versions": orjson.dumps(
                    {**versions, "python": platform.python_version()}
                ).decode(),
            }
        ],
    )
    log.info("run begins", extra={"kind": kind})
    # Failing here stops nothing: what can't be published at the end is told then.
    with suppress(OSError, duckdb.Error):
        run.publisher.publish(now)


def _version(name: str) -> str:
    return version(name)


def _end(run: Run, sequence_before: int) -> None:
    """Record the run's end, publish the audit, back the ledger up."""
    run.report = report = run.made_report()
    counts = {**report.counts, **{f"awards_{s}": n for s, n in report.statuses.items()}}
    log.info("run ends: %s", report.status, extra={"status": report.status, **counts})
    run.ledger.update_run(
        run.run_id,
        {
            "status": report.status,
            "ended_at": utc_now(),
            "plan_digest": run.plan.digest if run.plan else None,
            **report.counts,
            "rows_read_now": sum(f.rows_read for f in run.files if f.is_read_now),
            "awards_withdrawn": 0,
            "waiting": report.waiting,
            "balanced": report.is_balanced,
            "message": "; ".join(str(f) for f in report.errors)
            or run.stopped_by
            or run.message,
        },
    )
    try:
        run.publisher.publish(utc_now())
        if run.ledger.sequence() != sequence_before:
            back_up(run.ledger, run.home.backups, utc_now())
    except (OSError, duckdb.Error) as error:
        raise NotRecorded.of(
            "audit_not_published",
            f"the ledger is complete, the audit could not be published ({error}): mend "
            "it and run again",
            file=str(run.home.audit),
        ) from error
    _write_page(run)
    if not report.is_balanced and run.failure is None:
        raise Unbalanced(*report.errors)


def _write_page(run: Run) -> None:
    """Write the run's report for people; failing never fails the run."""
    path = run.home.reports / f"{run.run_id}.html"
    try:
        write_run_page(run.home.audit, run.run_id, path, utc_now())
    except Exception:  # whatever it is: the run itself came to its end
        log.exception("the report could not be written: `retrobadge report` may")
    else:
        run.report.page = path
