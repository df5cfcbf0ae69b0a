"""What people see of a flow run in Prefect: plan, progress, summary, events.

Belongs here: words and figures for artifacts and events, all of them counts. Does not
belong here: how a flow run goes and ends (`flows.flow_runs`), and any decision.

A server that can't be reached never stops a run: what could not be shown is told in the
log, and the audit has it anyway.
"""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.runs import Report, Screen
from transforms.awards import PlanResult
from transforms.months import awards_by_month, odd_months

if TYPE_CHECKING:
    from flows.planning import Plan

# How often the progress that people see is brought up to date.
SECONDS_A_LOOK = 1.0
# More badges and months than this are for the plan's folder, not for an artifact.
_MOST_ROWS = 200
# Nobody's statuses, in the order in which people look for them.
_OPEN = ("unknown", "blocked", "failed", "planned", "sent")


class Watch(Screen):
    """Shows a run's stages: a line each in the log, and one progress artifact."""

    def __init__(self, subject: str, beside: Screen | None = None) -> None:
        self._key = artifact_key("progress", subject)
        self._beside = beside or Screen()
        self._logger = get_run_logger()
        self._text, self._done, self._total = "beginning", 0, 0
        self._until: datetime | None = None
        self._is_over = threading.Event()
        self._has_ended = False

    def stage(self, text: str, total: int | None) -> None:
        """Say which stage begins."""
        self._text, self._done, self._total = text, 0, total or 0
        self._until = None
        self._logger.info("%s", text)
        self._beside.stage(text, total)

    def advance(self, done: int) -> None:
        """Say how far the stage is."""
        self._done = done
        self._beside.advance(done)

    def wait(self, until: datetime) -> None:
        """Say until when nothing can be done, in the log once for each hour."""
        if until != self._until:
            self._logger.info("resting until %s", f"{until:%H:%M:%S %Z}")
        self._until = until
        self._beside.wait(until)

    def end(self) -> None:
        """Say that the work is done; without it, it was left at its last stage."""
        self._has_ended = True

    def confirm(self, plan: Plan) -> bool:
        """Ask where the command was typed; nobody sits at a deployment."""
        return self._beside.confirm(plan)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the progress artifact up to date, whatever the event loop is busy with.

        From a thread of its own: a step that reads files holds the loop for minutes.
        """
        run_id = flow_run.id
        there = contextvars.copy_context()
        thread = threading.Thread(
            target=there.run, args=(self._follow, UUID(run_id)), daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join(timeout=10)

    def _follow(self, flow_run_id: UUID) -> None:
        try:
            with get_client(sync_client=True) as client:
                percent, told = self._progress()
                made = client.create_artifact(
                    ArtifactCreate(
                        key=self._key,
                        type="progress",
                        description=told,
                        data=percent,
                        flow_run_id=flow_run_id,
                    )
                )
                shown = (percent, told)
                while True:
                    is_over = self._is_over.wait(SECONDS_A_LOOK)
                    now = self._progress()
                    if now != shown:
                        update = ArtifactUpdate(description=now[1], data=now[0])
                        client.update_artifact(made.id, update)
                        shown = now
                    if is_over:
                        return
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            self._logger.warning("progress is shown no more: %s", type(error).__name__)

    def _progress(self) -> tuple[float, str]:
        if self._has_ended:
            return 100.0, "ended"
        percent = round(100 * min(self._done / self._total, 1), 1) if self._total else 0
        told = self._text
        if self._total:
            told += f": {self._done:,} of {self._total:,}"
        if self._until is not None:
            told += f", resting until {self._until:%H:%M:%S %Z}"
        return float(percent), told


def artifact_key(what: str, subject: str) -> str:
    """Return a key as Prefect wants it: small letters, digits, dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{subject}".lower()).strip("-")


async def show_plan(plan: Plan) -> None:
    """Show a plan as an artifact of the flow run, and its sum as a line of the log."""
    await _show("plan", plan.definition.name, plan_markdown(plan))
    get_run_logger().info("plan: %s", plan_line(plan))


async def show_summary(subject: str, report: Report) -> None:
    """Show what a run did, with its books, as an artifact of the flow run."""
    await _show("summary", subject, summary_markdown(report))


async def _show(what: str, subject: str, markdown: str) -> None:
    try:
        await acreate_markdown_artifact(
            markdown, key=artifact_key(what, subject), description=f"{what}, {subject}"
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
        get_run_logger().warning("no %s is shown: %s", what, type(error).__name__)


def plan_line(plan: Plan) -> str:
    """Return a plan in one line."""
    told = [
        f"{plan.planned.height:,} awards in {plan.calls:,} earnBulk calls",
        f"{plan.minutes:.0f} minutes at the limit" if plan.minutes >= 1 else "",
        f"{plan.count(PlanResult.IN_LEDGER):,} in the ledger already",
        _outside(plan),
    ]
    return ", ".join(text for text in told if text)


def _outside(plan: Plan) -> str:
    """Say what a bounded run leaves to the next unbounded one.

    At most, for of what lies outside the bounds nothing else was looked at: some may
    be out of their badge's window, or not be due yet.
    """
    count = plan.count(PlanResult.OUTSIDE_BOUNDS)
    if not count:
        return ""
    return f"at most {count:,} more outside the bounds, for the next run without bounds"


def plan_markdown(plan: Plan) -> str:
    """Return a plan as a page: counts, cost, guards, warnings; no customer."""
    asked = plan.selection
    bounds = [
        f"{word} {day}"
        for word, day in (("from", asked.earned_from), ("until", asked.earned_until))
        if day
    ]
    used = [r for r in PlanResult if any(c.get(r) for c in plan.results.values())]
    months = awards_by_month(plan.planned)
    parts = [
        f"# Plan for {plan.definition.name}",
        plan.definition.description,
        f"Earned {' '.join(bounds)}." if bounds else "All earn dates.",
        f"As of {asked.as_of.isoformat(timespec='seconds')}, for {plan.target}.",
        f"**{plan_line(plan)}.**",
        *(f"* refused: {_cell(fault)}" for fault in plan.refused_by),
        *(f"* note: {_cell(text)}" for text in [*plan.warnings, *odd_months(months)]),
        "## Badges",
        _table(
            ["badge", "qualified", *(str(r).replace("_", " ") for r in used)],
            (
                [badge, counts["qualified"], *(counts[r] for r in used)]
                for badge, counts in plan.results.items()
            ),
        ),
        "## Awards by month",
        _table(["badge", "month", "awards"], months.head(_MOST_ROWS).iter_rows()),
        f"Digest `{plan.digest}`.",
    ]
    return "\n\n".join(part for part in parts if part)


def report_line(report: Report) -> str:
    """Return what a run did in one line; what wants a person comes first."""
    statuses = report.statuses
    told = [f"{statuses[name]:,} {name}" for name in _OPEN if statuses.get(name)]
    told += [f"{n:,} {name}" for name, n in statuses.items() if name not in _OPEN and n]
    told += [f"{n:,} {name}" for name, n in report.told.items() if _is_count(n)]
    if report.waiting:
        told.append(f"{report.waiting:,} of earlier runs wait")
    books = "books balance" if report.is_balanced else "BOOKS DON'T BALANCE"
    return ", ".join([*(told or ["nothing to do"]), books])


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def summary_markdown(report: Report) -> str:
    """Return what a run did as a page: its books, its calls; no customer."""
    counts = report.counts
    away = ("rejected", "duplicate", "anonymous", "unmapped", "excluded")
    rows: list[list[Any]] = [
        ["rows read", counts["rows_read"], ""],
        ["· accepted", "", counts["rows_accepted"]],
        *([f"· {name}", "", counts[f"rows_{name}"]] for name in away),
        ["qualifications", counts["awards_qualified"], ""],
        ["· in the ledger before", "", counts["awards_in_ledger"]],
        ["· planned now", "", counts["awards_planned"]],
        ["awards", sum(report.statuses.values()), ""],
        *([f"· {status}", "", n] for status, n in report.statuses.items()),
    ]
    told = [[n.replace("_", " "), v] for n, v in report.told.items() if _is_count(v)]
    parts = [
        f"# Run {report.run_id}",
        f"**{report.status}: {report_line(report)}.**",
        f"Stopped: {_cell(report.stopped_by)}." if report.stopped_by else "",
        # Why is in the report: the platform's words may name a customer.
        *(f"* badge {_cell(badge)} stopped" for badge in report.stopped_badges),
        f"## Books\n\n{_table(['', 'in', 'out'], rows)}" if _has_books(report) else "",
        _table(["", ""], told) if told else "",
        _calls(counts),
        f"In the home: `retrobadge report {report.run_id}`.",
    ]
    return "\n\n".join(part for part in parts if part)


def _has_books(report: Report) -> bool:
    """Tell whether the run read files or planned awards."""
    counted = report.counts["rows_read"] + report.counts["awards_qualified"]
    return bool(counted or report.statuses)


def _calls(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['earn_calls']:,} earnBulk calls for {counts['requests']:,} requests, "
        f"{counts['calls']:,} calls in all."
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---:" if n else "---" for n in range(len(columns))]]
    lines += [[_cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Return a value that stays in its cell and is no markup, whoever wrote it."""
    if isinstance(value, int):
        return f"{value:,}"
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(value).split()))


def emit_outcome(subject: str, report: Report) -> None:
    """Emit what automations may act on: issued, unknown, books that don't balance."""
    counts = {
        "retrobadge.awards.issued": report.statuses.get("issued", 0),
        "retrobadge.awards.unknown": report.statuses.get("unknown", 0),
        "retrobadge.run.unbalanced": 0 if report.is_balanced else 1,
    }
    resource = {
        "prefect.resource.id": f"retrobadge.import.{artifact_key('', subject)}",
        "prefect.resource.name": subject,
        "retrobadge.run-id": str(report.run_id),
    }
    for name, count in counts.items():
        if count:
            payload = {"count": count, "summary": report_line(report)}
            emit_event(name, resource=resource, payload=payload)
