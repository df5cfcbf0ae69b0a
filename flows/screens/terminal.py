"""How things look: progress on stderr, tables for people and JSON on stdout.

Belongs here: words and layout. Does not belong here: what is shown is decided.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import orjson
import polars as pl
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from flows.runs.job import Screen
from flows.runs.report import Report
from transforms.spreadsheets import inert

if TYPE_CHECKING:
    from flows.commands.checking import Checked
    from flows.planning import Plan

# Statuses and results in the order in which people look for them.
STATUSES = (
    "issued",
    "already_earned",
    "planned",
    "sent",
    "unknown",
    "blocked",
    "failed",
    "revoked",
)
RESULTS = (
    "planned",
    "in_ledger",
    "held",
    "held_back",
    "not_yet_due",
    "out_of_window",
    "outside_bounds",
    "not_selected",
)


class Live(Screen):
    """Progress bars on a terminal, one line a stage elsewhere, nothing if quiet."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, quiet=is_quiet)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=is_quiet or not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._text = ""
        self._waiting_until: datetime | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def stage(self, text: str, total: int | None) -> None:
        """Begin a new bar; without a terminal, write a line."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._text = text
        self._task = self._progress.add_task(text, total=total)
        if not self.console.is_terminal:
            self.console.print(Text(f"{text} …"))

    def advance(self, done: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, description=self._text)

    def wait(self, until: datetime) -> None:
        """Say until when nothing can be done, once for each hour it is said of."""
        told = f"{self._text}: resting until {until.astimezone():%H:%M:%S}"
        if self._task is not None:
            self._progress.update(self._task, description=told)
        if until != self._waiting_until and not self.console.is_terminal:
            self.console.print(Text(told))
        self._waiting_until = until

    def confirm(self, plan: Plan) -> bool:
        """Show the plan and ask, where somebody can answer."""
        return self.ask("Send?", lambda: show_plan(plan, None))

    def ask(self, question: str, show: Callable[[], None]) -> bool:
        """Show what a question is about and ask it, where somebody can answer."""
        if not (self.console.is_terminal and sys.stdin.isatty()):
            return False
        self._progress.stop()
        show()
        try:
            return Confirm.ask(question, console=self.console, default=False)
        finally:
            self._progress.start()


def printable(value: Any) -> str:
    """Return a value as text whose control characters are shown and do nothing."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    text = str(value)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def print_json(value: Any) -> None:
    """Print one JSON object, instants in UTC, with nothing that a terminal obeys."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    text = orjson.dumps(value, default=str, option=option).decode()
    sys.stdout.write("".join(map(_escaped, text)) + "\n")


def _escaped(letter: str) -> str:
    if letter.isprintable() or letter == "\n":
        return letter
    return json.dumps(letter)[1:-1]


def show_table(title: str | None, columns: Sequence[str], rows: Iterable[Any]) -> None:
    """Print a table; numbers to the right."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 140))
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    found = [list(row) for row in rows]
    for number, name in enumerate(columns):
        is_number = bool(found) and all(
            isinstance(row[number], int | float) or row[number] is None for row in found
        )
        side: Literal["left", "right"] = "right" if is_number else "left"
        # Ids are there to be copied: whole, and on one line.
        is_id = name.endswith("id")
        table.add_column(name, justify=side, overflow="fold", no_wrap=is_id)
    for row in found:
        table.add_row(*(Text(_shown(value)) for value in row))
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def show_answer(frame: pl.DataFrame, output: str) -> None:
    """Print the answer of a query as a table, CSV or JSON."""
    if output == "json":
        print_json(frame.to_dicts())
    elif output == "csv":
        sys.stdout.write(inert(frame).write_csv())
    else:
        show_table(
            None, frame.columns, ([_cell(v) for v in row] for row in frame.iter_rows())
        )


def _cell(value: Any) -> Any:
    # Ids are no amounts: they are shown without separators.
    return str(value) if isinstance(value, int) else value


_FATES = (
    *("read", "accepted", "anonymous", "unmapped", "excluded"),
    *("duplicate", "rejected"),
)


def show_check(found: Checked, *, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        print_json(found.as_json())
        return
    show_table(
        f"{found.name}: {found.rows:,} rows in {len(found.files)} files",
        ["file", *_FATES],
        (
            [f.path, *(getattr(f, f"rows_{fate}") for fate in _FATES)]
            for f in found.files
        ),
    )
    show_table("badges", ["badge", "rule", "platform"], found.badges)
    for note in found.notes:
        sys.stdout.write(f"note: {printable(note)}\n")
    sys.stdout.write("the definition and its files are in order\n")


def show_plan(plan: Plan, folder: Path | None) -> None:
    """Print what a plan would do."""
    used = [r for r in RESULTS if any(c.get(r) for c in plan.results.values())]
    show_table(
        f"plan for {plan.definition.name}, as of {printable(plan.selection.as_of)}",
        ["badge", "qualified", *used],
        (
            [badge, counts["qualified"], *(counts[result] for result in used)]
            for badge, counts in plan.results.items()
        ),
    )
    out = sys.stdout.write
    minutes = f", {plan.minutes:.0f} minutes at the limit" if plan.minutes >= 1 else ""
    out(f"{plan.planned.height:,} awards in {plan.calls:,} earnBulk calls{minutes}\n")
    for text in plan.warnings:
        out(f"note: {printable(text)}\n")
    for fault in plan.refused_by:
        out(f"refused: {printable(fault)}\n")
    for mend in plan.mends:
        where = f"in {mend.file}" if mend.file else "in no file"
        told = f"{mend.path}: {mend.rows:,} rejected rows to mend {where}: {mend.note}"
        out(f"{printable(told)}\n")
    if folder is None:
        return
    out(f"plan {folder.name}, digest {plan.digest[:16]}, in {folder}\n")
    out(f"look at {folder / 'plan.html'}\n")
    if plan.refused_by or plan.planned.is_empty():
        return
    if plan.wants_approval:
        out("an approval is wanted\n")
        out(f"then: retrobadge approve {folder.name} --by NAME\n")
    out(f"then: retrobadge apply {folder.name}\n")


def show_report(report: Report, *, as_json: bool) -> None:
    """Print a run's report."""
    if as_json:
        print_json(report.as_json())
        return
    show_books(report)
    out = sys.stdout.write
    out(
        f"{report.counts['earn_calls']:,} earnBulk calls for "
        f"{report.counts['requests']:,} requests, {report.counts['calls']:,} calls in "
        "all\n"
    )
    if report.waiting:
        out(f"{report.waiting:,} awards of earlier runs wait\n")
    for fault in report.errors:
        out(f"look: {printable(fault)}\n")
    if report.stopped_by:
        out(f"stopped: {report.stopped_by}; run again to go on\n")
    for badge, reason in report.stopped_badges.items():
        out(f"badge {badge} stopped: {printable(reason)}\n")
    if report.page is not None:
        out(f"report {report.page}\n")


def show_books(report: Report) -> None:
    """Print the books as a balance: what came in, and where it is."""
    c = report.counts
    rows = [
        ["rows read", c["rows_read"], None],
        ["  accepted", None, c["rows_accepted"]],
        ["  rejected", None, c["rows_rejected"]],
        ["  duplicate", None, c["rows_duplicate"]],
        [
            "  anonymous, unmapped, excluded",
            None,
            c["rows_anonymous"] + c["rows_unmapped"] + c["rows_excluded"],
        ],
        ["qualifications", c["awards_qualified"], None],
        ["  in the ledger before", None, c["awards_in_ledger"]],
        ["  planned now", None, c["awards_planned"]],
        [
            "  held, held back, out of window or not asked for",
            None,
            c["awards_qualified"] - c["awards_in_ledger"] - c["awards_planned"],
        ],
        ["awards planned or held now", c["awards_planned"] + c["awards_held"], None],
        *([f"  {s}", None, n] for s, n in _ordered(report.statuses)),
    ]
    verdict = "balanced" if report.is_balanced else "NOT BALANCED"
    show_table(
        f"run {report.run_id}: {report.status}, books {verdict}",
        ["", "in", "out"],
        rows,
    )


def _ordered(statuses: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(status, statuses[status]) for status in STATUSES if status in statuses]


def show_runs(frame: pl.DataFrame, *, as_json: bool) -> None:
    """Print a home's runs."""
    if as_json:
        print_json({"runs": frame.to_dicts()})
        return
    columns = [
        "run_id",
        "kind",
        "status",
        "started_at",
        "import_name",
        "awards_planned",
        "earn_calls",
        "waiting",
        "balanced",
    ]
    show_table(None, columns, frame.select(columns).iter_rows())
