"""Makes a plan: which awards, of which activity, with which requests and guards.

Belongs here: bringing accepted activity, the platform's facts and what the ledger knows
together, and writing a plan's folder. Does not belong here: each decision itself
(`transforms`), and carrying a plan out (`flows.pipeline`).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.activity_files import AcceptedFile, load_activity
from transforms.activity import amount_decimals, current_activity, current_counts
from transforms.awards import PlanResult, classified_awards, drift
from transforms.badges import BadgeFacts
from transforms.batches import fewest_calls, minutes_at_limit
from transforms.definition import Badge, Definition
from transforms.errors import Fault, FilesRefused
from transforms.guards import guard_faults, plan_figures, rule_digest, take_over_faults
from transforms.preflight import warnings
from transforms.rules import qualifications, required_columns

# How many accepted rows are qualified at a time: what bounds memory.
ROWS_A_PARTITION = 20_000_000

KnownAwards = Callable[[str, str], pl.DataFrame]
_AWARD_COLUMNS = (
    "award_id",
    "import_name",
    "badge",
    "badge_meta_id",
    "badge_name",
    "reference_id",
    "series",
    "customer_id",
    "occurrence",
    "generation",
    "source",
    "source_customer_id",
    "rule_kind",
    "rule_digest",
    "measure",
    "threshold",
    "evidence_activity_id",
    "qualified_at",
    "earn_event_date",
    "earn_day",
    "target",
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which awards a run or plan is asked for; None selects everything."""

    as_of: datetime
    earned_from: date | None = None
    earned_until: date | None = None
    badges: tuple[str, ...] = ()
    customer_ids: frozenset[int] | None = None
    award_ids: frozenset[str] | None = None


@dataclass
class Plan:
    """What would be done, and the counts that its books are made of.

    `awards`: the columns of the ledger's table of that name without planned_run_id and
    planned_at, plus `result` (planned or held) and `held_earned_badge_id`.
    `results`: badge → result → how many qualifications.
    """

    definition: Definition
    selection: Selection
    target: str
    files: Sequence[AcceptedFile]
    rows_current: dict[int, int]
    rows_superseded: dict[int, int]
    facts: Mapping[str, BadgeFacts]
    awards: pl.DataFrame
    results: dict[str, dict[str, int]]
    drift: pl.DataFrame
    calls: int
    minutes: float
    refused_by: list[Fault] = field(default_factory=list)
    wants_approval: bool = False
    warnings: list[str] = field(default_factory=list)
    digest: str = ""

    @property
    def planned(self) -> pl.DataFrame:
        """Return the awards that go out in requests."""
        return self.awards.filter(pl.col("result") == PlanResult.PLANNED)

    def count(self, result: PlanResult) -> int:
        """Return how many qualifications came to a result, over all badges."""
        return sum(counts.get(result, 0) for counts in self.results.values())

    @property
    def qualified(self) -> int:
        """Return how many times a customer met a rule."""
        return sum(counts["qualified"] for counts in self.results.values())


def made_plan(
    definition: Definition,
    files: Sequence[AcceptedFile],
    facts: Mapping[str, BadgeFacts],
    selection: Selection,
    *,
    known_awards: KnownAwards,
    held: pl.DataFrame | None,
    target: str,
    batch_size: int,
    requests_per_minute: int,
    on_badge: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Qualify and award; nothing is written and nothing is sent."""
    loaded = load_activity(files, definition)
    rows_current, rows_superseded = current_counts(loaded)
    activity = current_activity(loaded)
    rows = sum(rows_current.values())
    awards, moved, judged = [], [], []
    results: dict[str, dict[str, int]] = {}
    claimed: list[Fault] = []
    for badge in definition.badges:
        on_badge(badge.name)
        met = _qualified(activity, badge, definition, selection.as_of, rows)
        known = known_awards(badge.badge_meta_id, badge.series)
        classified = classified_awards(
            met,
            badge,
            facts[badge.name],
            definition_timezone=definition.timezone,
            as_of=selection.as_of,
            target=target,
            known=known,
            held=held,
            earned_from=selection.earned_from,
            earned_until=selection.earned_until,
            selected_customers=selection.customer_ids,
            selected_awards=selection.award_ids,
            is_badge_selected=not selection.badges or badge.name in selection.badges,
        )
        results[badge.name] = {"qualified": met.height, **_counted(classified)}
        judged.append(classified.select("customer_id", "result"))
        claimed += take_over_faults(
            definition.guards, badge, known, import_name=definition.name
        )
        moved.append(drift(classified, known))
        awards.append(_for_ledger(classified, badge, definition, facts, target))
    plan = Plan(
        definition=definition,
        selection=selection,
        target=target,
        files=files,
        rows_current=rows_current,
        rows_superseded=rows_superseded,
        facts=facts,
        awards=pl.concat(awards),
        results=results,
        drift=pl.concat(moved),
        calls=0,
        minutes=0.0,
    )
    _judge(plan, pl.concat(judged), batch_size, requests_per_minute)
    plan.refused_by += claimed
    return plan


def _qualified(
    activity: pl.LazyFrame,
    badge: Badge,
    definition: Definition,
    as_of: datetime,
    rows: int,
) -> pl.DataFrame:
    """Qualify customer by customer, in as many partitions as memory asks for."""
    partitions = -(-rows // ROWS_A_PARTITION)
    columns = required_columns(badge)
    present = activity.collect_schema().names()
    needed = activity.select(name for name in present if name in columns)
    met = [
        qualifications(
            needed.filter(pl.col("customer_id") % partitions == number)
            if partitions > 1
            else needed,
            badge,
            timezone=definition.timezone,
            as_of=as_of,
            amount_decimals=amount_decimals(definition),
        )
        for number in range(max(partitions, 1))
    ]
    return pl.concat(met).sort("customer_id", "occurrence")


def _counted(classified: pl.DataFrame) -> dict[str, int]:
    counts = dict(classified["result"].value_counts().iter_rows())
    return {str(result): int(counts.get(str(result), 0)) for result in PlanResult}


def _for_ledger(
    classified: pl.DataFrame,
    badge: Badge,
    definition: Definition,
    facts: Mapping[str, BadgeFacts],
    target: str,
) -> pl.DataFrame:
    wanted = [PlanResult.PLANNED, PlanResult.HELD]
    return (
        classified.filter(pl.col("result").is_in([str(one) for one in wanted]))
        .with_columns(
            import_name=pl.lit(definition.name),
            badge_name=pl.lit(facts[badge.name].name, pl.String),
            source_customer_id=pl.lit(None, pl.String),
            rule_kind=pl.lit(badge.rule.kind),
            rule_digest=pl.lit(rule_digest(badge)),
            target=pl.lit(target),
            generation=pl.col("generation").cast(pl.Int32),
        )
        .select(*_AWARD_COLUMNS, "result", "held_earned_badge_id")
    )


def _judge(
    plan: Plan, judged: pl.DataFrame, batch_size: int, requests_per_minute: int
) -> None:
    """Fill in what the plan costs, what refuses it, and what a reader should know."""
    planned = plan.planned
    awarded = {n: f for n, f in plan.facts.items() if n in set(planned["badge"])}
    plan.calls = fewest_calls(planned, batch_size)
    plan.minutes = minutes_at_limit(plan.calls + len(awarded), requests_per_minute)
    figures = plan_figures(judged, calls=plan.calls)
    verdict = guard_faults(plan.definition.guards, figures, awarded)
    plan.refused_by = list(verdict.refused_by)
    plan.wants_approval = verdict.wants_approval
    for badge in plan.definition.badges:
        plan.warnings += warnings(
            plan.facts[badge.name],
            badge,
            as_of=plan.selection.as_of,
            timezone=plan.definition.timezone,
            planned=planned.filter(pl.col("badge") == badge.name),
        )
    plan.digest = _digest(plan)


def _digest(plan: Plan) -> str:
    """Return a hash of everything that an approval is given for."""
    digest = hashlib.sha256()
    said: list[Any] = [plan.target, plan.definition.digest]
    said += sorted(file.fingerprint for file in plan.files)
    rows = plan.awards.select("award_id", "earn_event_date", "result").sort("award_id")
    said += [f"{a}|{d.isoformat()}|{r}" for a, d, r in rows.iter_rows()]
    digest.update("\x1f".join(said).encode())
    return digest.hexdigest()


def selected_ids(path: Path, column: str) -> pl.Series:
    """Return the ids of a selection file: a CSV whose header names `column`.

    The path `-` is standard input.
    """
    source = sys.stdin.buffer.read() if path == Path("-") else path
    try:
        frame = pl.read_csv(source, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FilesRefused.of(
            "selection_unreadable",
            f"can't be read as CSV ({str(error).splitlines()[0]})",
            file=str(path),
        ) from error
    if column not in frame.columns:
        raise FilesRefused.of(
            "selection_column",
            f"its header must name {column}; it names {', '.join(frame.columns)}",
            file=str(path),
            column=column,
        )
    return frame[column].drop_nulls().str.strip_chars()


def selected_customers(path: Path) -> frozenset[int]:
    """Return the customer ids of a selection file; refuse what is not one."""
    ids = selected_ids(path, "customer_id")
    numbers = ids.cast(pl.Int64, strict=False)
    for row, (text, number) in enumerate(zip(ids, numbers, strict=True), start=2):
        if number is None or number < 1:
            raise FilesRefused.of(
                "selection_customer",
                f"{text!r} is not a customer id: whole numbers from 1",
                file=str(path),
                row=row,
                column="customer_id",
            )
    return frozenset(numbers)


def awards_by_month(plan: Plan) -> pl.DataFrame:
    """Return badge, month and how many awards are planned."""
    return (
        plan.planned.group_by("badge", month=pl.col("earn_day").dt.strftime("%Y-%m"))
        .len("awards")
        .sort("badge", "month")
    )


def write_plan(plan: Plan, folder: Path, rejected: pl.DataFrame) -> None:
    """Write `plan.json`, the awards and the rejected rows into a folder of its own."""
    folder.mkdir(parents=True, mode=0o700)
    plan.awards.write_parquet(folder / "awards.parquet")
    inert(plan.awards).write_csv(folder / "awards.csv")
    inert(rejected).write_csv(folder / "rejected_rows.csv")
    option = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z
    text = orjson.dumps(plan_json(plan, folder), option=option)
    (folder / "plan.json").write_bytes(text)


def plan_json(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return what `plan --json` prints and `plan.json` keeps."""
    return {
        "plan_id": folder.name,
        "path": str(folder),
        "digest": plan.digest,
        "import_name": plan.definition.name,
        "definition_digest": plan.definition.digest,
        "target": plan.target,
        "as_of": plan.selection.as_of,
        "refused_by": [fault.as_json() for fault in plan.refused_by],
        "wants_approval": plan.wants_approval,
        **file_counts(plan.files),
        "rows_superseded": sum(plan.rows_superseded.values()),
        "awards_qualified": plan.qualified,
        "awards_in_ledger": plan.count(PlanResult.IN_LEDGER),
        "awards_planned": plan.count(PlanResult.PLANNED),
        "calls": plan.calls,
        "minutes": round(plan.minutes, 1),
        "badges": plan.results,
        "months": awards_by_month(plan).to_dicts(),
        "warnings": plan.warnings,
    }


def file_counts(files: Iterable[AcceptedFile]) -> dict[str, int]:
    """Return the row counts of all files, under the names of the books."""
    names = (
        "rows_read",
        "rows_accepted",
        "rows_rejected",
        "rows_duplicate",
        "rows_anonymous",
        "rows_unmapped",
        "rows_excluded",
    )
    found = list(files)
    return {name: sum(getattr(file, name) for file in found) for name in names}


def inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts a spreadsheet takes for texts, never for formulas."""
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(r"^[=+\-@\t\r]"))
        .then("'" + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name, kind in frame.schema.items()
        if kind == pl.String
    )
