"""Says a plan and a report in a line or a page, for eyes other than the brand's own.

Belongs here: words and figures that may leave the machine: counts, names of badges and
imports, our own sentences. Does not belong here: customers, rows, and what the platform
wrote; where they go (`flows.orchestration.watching`).
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.files.finding import FoundFile
from transforms.awards.awards import PlanResult
from transforms.errors import Fault, FilesRefused, RetrobadgeError
from transforms.reports.months import awards_by_month, odd_months

if TYPE_CHECKING:
    from flows.planning import Plan
    from flows.runs.report import Report

# More badges and months than this are for the plan's folder, not for an artifact.
_MOST_ROWS = 200
# Customers that a message names; their ids are no server's business.
_NAMED = re.compile(r"(\bcustomers?) '?\d[\d, …']*")
# What wants a look comes first.
_OPEN = ("unknown", "blocked", "failed", "planned", "sent")


def artifact_key(what: str, subject: str) -> str:
    """Return a key as Prefect wants it: small letters, digits, dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{subject}".lower()).strip("-")


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


def step_name(name: str, values: tuple[Any, ...]) -> str:
    """Return the name of a step's task run, which says which file it reads."""
    file = next((value for value in values if isinstance(value, FoundFile)), None)
    # Prefect takes braces for fields to fill in.
    told = f"{name} {file.path}" if file else name
    return told.replace("{", "(").replace("}", ")")


def error_line(error: BaseException) -> str:
    """Return an error in one line without customers; of a defect, where it is."""
    if isinstance(error, RetrobadgeError) and error.faults:
        first, *others = error.faults
        more = f" (and {len(others)} more, in the log)" if others else ""
        return f"{fault_line(error, first)}{more}"
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    )
    return f"{type(error).__name__}{place}: a defect; the worker's output has its text"


def fault_line(error: BaseException, fault: Fault) -> str:
    """Return one fault as one line; of a row that is wrong only where it is."""
    if isinstance(error, FilesRefused) and fault.row is not None:
        place = f"{fault.file}: row {fault.row}: {fault.column or 'the row'}"
        return f"{place}: {fault.code}; `retrobadge check` on the worker says more"
    return " ".join(_NAMED.sub(r"\1 (named in the home)", str(fault)).split())
