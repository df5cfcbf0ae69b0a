"""How answers look: what `explain`, `compare` and `reconcile` found.

Belongs here: words and layout. Does not belong here: tables, JSON and progress as such
(`flows.screens.terminal`), and what is shown.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from flows.records.audit import asked
from flows.screens.terminal import printable, show_table

if TYPE_CHECKING:
    import polars as pl

    from flows.commands.comparing import Compared
    from flows.commands.explaining import Answer
    from flows.home import Home
    from flows.runs.report import Report
    from transforms.reports.explanation import ActivityVerdict, PartExplained

# So many activities are shown before the one that met the rule.
_SHOWN = 10


def show_explanation(answer: Answer) -> None:
    """Print why a customer has a badge, when, or how far it is from that."""
    out = sys.stdout.write
    zone = ZoneInfo(answer.setting.timezone)
    out(
        f"customer {answer.customer_id}, badge {answer.badge.name} of "
        f"{answer.definition.name}, as of {_local(answer.setting.as_of, zone)} "
        f"({answer.setting.timezone})\n"
    )
    out(f"earned by {printable(answer.explanation.rule)}\n")
    parts = answer.explanation.parts
    for number, part in enumerate(parts, start=1):
        mark = f"({number}) " if len(parts) > 1 else ""
        out(f"{mark}{printable(part.distance)}\n")
    if len(parts) > 1:
        met = "met" if not answer.explanation.met.is_empty() else "not met"
        out(f"as a whole: {met}\n")
    _show_qualifications(answer, zone)
    for number, part in enumerate(parts, start=1):
        title = f" for ({number}) {part.words}" if len(parts) > 1 else ""
        _show_part(part, answer, title, zone)
    _show_not_accepted(answer)
    _show_ledger(answer, zone)
    _show_platform(answer, zone)
    for note in answer.notes:
        out(f"note: {printable(note)}\n")


def _local(value: datetime | None, zone: ZoneInfo) -> str:
    return "" if value is None else f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _show_qualifications(answer: Answer, zone: ZoneInfo) -> None:
    rows = answer.awards
    if rows.is_empty():
        return
    show_table(
        "what a plan makes of it now",
        ["occurrence", "met at", "measure", "by activity", "earn date", "result"],
        (
            [
                str(row["occurrence"]),
                _local(row["qualified_at"], zone),
                _measure(row["measure"], row["threshold"]),
                row["evidence_activity_id"],
                _earn_date(row["earn_event_date"], zone),
                " ".join(filter(None, [row["result"], _bracketed(row["reason"])])),
            ]
            for row in rows.iter_rows(named=True)
        ),
    )


def _measure(measure: float, threshold: float) -> str:
    return f"{_number(measure)} of {_number(threshold)}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _bracketed(text: str | None) -> str:
    return f"({text})" if text else ""


def _earn_date(value: datetime | None, zone: ZoneInfo) -> str:
    return "none" if value is None else value.astimezone(zone).isoformat()


def _show_part(part: PartExplained, answer: Answer, title: str, zone: ZoneInfo) -> None:
    """Print what counted up to the moment, and what did not count, by reason."""
    counted = [one for one in part.verdicts if one.reason is None]
    shown = _up_to_the_moment(counted)
    if shown:
        of = f"the last {len(shown)} of " if len(shown) < len(counted) else ""
        moment = ", up to the moment" if part.qualified_at else ""
        show_table(
            f"what counted{title}: {of}{len(counted):,} activities{moment}",
            ["occurred at", "activity", "file:row", "amount", "running", "meets"],
            (_counted_row(one, answer, zone) for one in shown),
        )
    left = [one for one in part.verdicts if one.reason is not None]
    if left:
        show_table(
            f"what did not count{title}: {len(left):,} activities",
            ["why", "activities", "for example", "occurred at", "file:row"],
            _by_reason(left, answer, zone),
        )


def _up_to_the_moment(counted: Sequence[ActivityVerdict]) -> Sequence[ActivityVerdict]:
    """Return the last activities up to the one that met the rule first."""
    moment = next((at for at, one in enumerate(counted) if one.meets), len(counted) - 1)
    return counted[max(moment + 1 - _SHOWN, 0) : moment + 1]


def _counted_row(one: ActivityVerdict, answer: Answer, zone: ZoneInfo) -> list[Any]:
    activity = one.activity
    return [
        _local(activity["occurred_at"], zone),
        activity["activity_id"],
        _place(one, answer),
        " ".join(
            filter(None, [_money(activity.get("amount"), answer), _bracketed(one.note)])
        ),
        _number(one.running),
        ", ".join(map(str, one.meets)),
    ]


def _place(one: ActivityVerdict, answer: Answer) -> str:
    path = answer.paths[one.activity["file_order"]]
    return f"{path}:{one.activity['row_number']}"


def _money(value: int | None, answer: Answer) -> str:
    decimals = answer.setting.amount_decimals
    return "" if value is None else f"{value / 10**decimals:,.{decimals}f}"


def _by_reason(
    left: Iterable[ActivityVerdict], answer: Answer, zone: ZoneInfo
) -> list[list[Any]]:
    """Return a row per kind of reason: what differs from row to row is an example."""
    kinds: dict[str, list[ActivityVerdict]] = defaultdict(list)
    for one in left:
        kinds[str(one.reason).partition(" (")[0]].append(one)
    rows = []
    for some in kinds.values():
        last = some[-1]
        rows.append(
            [
                last.reason,
                len(some),
                last.activity["activity_id"],
                _local(last.activity["occurred_at"], zone),
                _place(last, answer),
            ]
        )
    return rows


def _show_not_accepted(answer: Answer) -> None:
    if answer.not_accepted:
        show_table(
            f"rows of this customer that are no activity: {len(answer.not_accepted)}",
            ["file:row", "why", "value"],
            (
                [f"{one.path}:{one.row_number}", one.reason, one.value]
                for one in answer.not_accepted[:20]
            ),
        )


def _show_ledger(answer: Answer, zone: ZoneInfo) -> None:
    awards = answer.ledger.get("explain_awards")
    if awards is None or awards.is_empty():
        sys.stdout.write("the audit has no award of this customer and badge\n")
        return
    show_table(
        "in the audit",
        ["occurrence", "award", "earn date", "status", "proof", "earned badge"],
        (
            [
                str(row["occurrence"]),
                row["award_id"],
                _earn_date(row["earn_event_date"], zone),
                row["status"],
                row["proof"],
                row["earned_badge_id"],
            ]
            for row in awards.iter_rows(named=True)
        ),
    )
    _show_events(answer.ledger["explain_events"], zone)
    _show_calls(answer, zone)


def _show_events(events: pl.DataFrame, zone: ZoneInfo) -> None:
    show_table(
        "what happened to it",
        ["when", "award", "from", "to", "run", "why"],
        (
            [
                _local(row["changed_at"], zone),
                row["award_id"][:8],
                row["from_status"],
                row["to_status"],
                row["run_id"],
                _why(row),
            ]
            for row in events.iter_rows(named=True)
        ),
    )


def _why(row: dict[str, Any]) -> str:
    code = f"code {row['error_code']}" if row["error_code"] is not None else ""
    told = [row["reason"], row["proof"], code, row["error_message"]]
    return "; ".join(str(one) for one in told if one)


def _show_calls(answer: Answer, zone: ZoneInfo) -> None:
    """Print every request that carried an award, and what each call came to."""
    attempts = answer.ledger["explain_attempts"].to_dicts()
    rows = []
    for request in answer.ledger["explain_requests"].iter_rows(named=True):
        calls = [a for a in attempts if a["request_id"] == request["request_id"]]
        name = request["request_id"][:12] + (
            " (canary)" if request["is_canary"] else ""
        )
        carried = [name, request["status"], f"{request['customers']:,}"]
        for call in calls:
            rows.append([*carried, _local(call["started_at"], zone), *_came_to(call)])
            carried = ["", "", ""]
        if not calls:
            rows.append([*carried, "never sent", "", "", ""])
    show_table(
        "the requests that carried it, and each answer",
        ["request", "status", "customers", "sent at", "HTTP", "result", "meaning"],
        rows,
    )


def _came_to(call: dict[str, Any]) -> list[str]:
    code = f"{call['error_code']}: " if call["error_code"] is not None else ""
    meaning = f"{code}{call['meaning'] or call['error_message'] or ''}"
    status = "" if call["http_status"] is None else str(call["http_status"])
    return [status, call["result"], meaning]


def _show_platform(answer: Answer, zone: ZoneInfo) -> None:
    if not answer.is_online or answer.reading is None:
        return
    reading = answer.reading
    count = "no count" if reading.earn_count is None else f"{reading.earn_count} earns"
    if not reading.earns:
        sys.stdout.write(f"on the platform now: {count}, none listed\n")
        return
    ours = answer.ledger.get("explain_awards")
    known = set() if ours is None else set(ours["earned_badge_id"].drop_nulls())
    show_table(
        f"on the platform now: {count}",
        ["earned badge", "earn date", "made at", "ours"],
        (
            [
                earn.earned_badge_id,
                _earn_date(earn.earn_event_date, zone),
                _local(earn.created_at, zone),
                earn.earned_badge_id in known,
            ]
            for earn in reading.earns
        ),
    )


def show_comparison(found: Compared) -> None:
    """Print what two definitions award differently."""
    out = sys.stdout.write
    first, second = found.first.definition, found.second.definition
    out(f"A: {printable(first.name)} ({printable(first.path)})\n")
    out(f"B: {printable(second.name)} ({printable(second.path)})\n")
    show_table(
        "awards of A and of B; in brackets what the customers have already",
        ["badge", "A", "B", "gained", "lost", "moved"],
        (
            [
                row["badge"],
                row["first_awards"],
                row["second_awards"],
                *(_with_held(row, kind) for kind in ("gained", "lost", "moved")),
            ]
            for row in found.badges.iter_rows(named=True)
        ),
    )
    if not found.examples.is_empty():
        show_table(
            "for example",
            ["badge", "customer", "occurrence", "", "A", "B", "why", "in the audit"],
            (
                [
                    row["badge"],
                    str(row["customer_id"]),
                    str(row["occurrence"]),
                    row["difference"],
                    row["first_date"],
                    row["second_date"],
                    row["why"],
                    row["status"],
                ]
                for row in found.examples.iter_rows(named=True)
            ),
        )
    for note in found.notes:
        out(f"note: {printable(note)}\n")
    if found.path is not None:
        out(f"all {found.differences.height:,} differences are in {found.path}\n")
    else:
        out(
            f"{found.differences.height:,} differences; --output FILE writes them all\n"
        )


def _with_held(row: dict[str, Any], kind: str) -> str:
    held = row[f"{kind}_held"]
    return f"{row[kind]:,} ({held:,})" if held else f"{row[kind]:,}"


def show_reconciled(report: Report, home: Home) -> None:
    """Print how the audit and the platform compare, and the first differences."""
    told = report.told
    way = {"read_back": "reading back", "export": "the export"}.get(str(told["way"]))
    kinds = ("matched", "too_new", "date_differs", "ours_only", "theirs_only", "unread")
    show_table(
        f"run {report.run_id}: {report.status}, by {way}",
        ["", "awards or earns"],
        ([kind.replace("_", " "), told[kind]] for kind in kinds if told[kind]),
    )
    name = "reconcile_differences"
    rows = asked(home.audit, name, run_id=report.run_id)[name]
    if not rows.is_empty():
        show_table(
            "what differs",
            ["badge", "customer", "", "our date", "their date", "note"],
            (
                [
                    row["badge"],
                    str(row["customer_id"]),
                    row["finding"].replace("_", " "),
                    row["earn_event_date"],
                    row["their_earn_event_date"],
                    row["note"],
                ]
                for row in rows.iter_rows(named=True)
            ),
        )
    out = sys.stdout.write
    for ours, theirs in told.get("columns", {}).items():
        out(f"column {ours}: {printable(theirs)}\n")
    if told.get("export_rows_of_others"):
        out(f"{told['export_rows_of_others']:,} rows of others were left out\n")
    if report.stopped_by:
        out(f"stopped: {report.stopped_by}; what was read until then is kept\n")
    out(f"all of it is in the audit: table reconciliations, run {report.run_id}\n")
