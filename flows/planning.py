"""Makes a plan: which awards, of which activity, with which requests and guards.

Belongs here: bringing accepted activity, the platform's facts and what the ledger knows
together. Does not belong here: each decision itself (`transforms`), writing a plan
down (`flows.plans.folder`), and carrying it out (`flows.pipeline`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from flows.files.activity_files import AcceptedFile
from flows.files.counting import counting_activity, stale_sources
from flows.files.customer_files import CustomerFiles
from flows.partitions import qualified
from transforms.activity.mending import Mend
from transforms.awards.awards import PlanResult, classified_awards, drift
from transforms.awards.batches import fewest_calls, minutes_at_limit
from transforms.awards.guards import (
    PlanFigures,
    guard_faults,
    plan_figures,
    rule_digest,
    take_over_faults,
)
from transforms.customers.identified import with_identifiers
from transforms.definition.definition import Badge, Definition
from transforms.errors import Fault, FilesRefused
from transforms.platform.badges import BadgeFacts
from transforms.platform.preflight import warnings
from transforms.reports.plan_parts import PlanParts, plan_digest, window_words

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
    batch_size: int
    requests_per_minute: int
    figures: PlanFigures | None = None
    refused_by: list[Fault] = field(default_factory=list)
    wants_approval: bool = False
    warnings: list[str] = field(default_factory=list)
    mends: list[Mend] = field(default_factory=list)
    digest: str = ""
    customers: CustomerFiles | None = None

    @property
    def planned(self) -> pl.DataFrame:
        """Return the awards that go out in requests."""
        return self.awards.filter(pl.col("result") == PlanResult.PLANNED)

    @property
    def parts(self) -> PlanParts:
        """Return what the plan stands on, to be compared with another time."""
        return PlanParts(
            target=self.target,
            definition_digest=self.definition.digest,
            files={f"{f.source}: {f.path}": f.fingerprint for f in self.files},
            badges={name: one.digest for name, one in self.facts.items()},
            windows={name: window_words(one) for name, one in self.facts.items()},
            awards=self.awards,
            customers={} if self.customers is None else self.customers.files,
        )

    def count(self, result: PlanResult) -> int:
        """Return how many qualifications came to a result, over all badges."""
        return sum(counts.get(result, 0) for counts in self.results.values())

    @property
    def qualified(self) -> int:
        """Return how many times a customer met a rule."""
        return sum(counts["qualified"] for counts in self.results.values())


@dataclass(frozen=True, kw_only=True)
class Qualified:
    """Who met each badge's rule, and how many rows of each file counted for it.

    `met` gives a badge's frame; see `rules.qualifications`. `activity` is what they
    were met by, at least those rows that prove it. The rest is as of
    `flows.files.counting`.
    """

    met: Callable[[Badge], pl.DataFrame]
    activity: pl.LazyFrame
    rows_current: Mapping[int, int]
    rows_superseded: Mapping[int, int]
    warnings: tuple[str, ...] = ()


def qualified_here(
    files: Sequence[AcceptedFile], definition: Definition, as_of: datetime
) -> Qualified:
    """Return who met the rules of all badges."""
    counting = counting_activity(files, definition, as_of=as_of)
    met = qualified(
        counting.activity,
        definition.badges,
        definition,
        as_of,
        rows=counting.rows,
        folder=files[0].accepted_path.parent,
    )
    return Qualified(
        met=lambda badge: met[badge.name],
        activity=counting.activity,
        rows_current=counting.rows_current,
        rows_superseded=counting.rows_superseded,
        warnings=counting.warnings,
    )


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
    customers: CustomerFiles | None = None,
    found: Qualified | None = None,
) -> Plan:
    """Qualify and award; nothing is written and nothing is sent.

    `found` is who met the rules, where that was looked for before.
    """
    counting = found or qualified_here(files, definition, selection.as_of)
    awards, moved, judged = [], [], []
    results: dict[str, dict[str, int]] = {}
    claimed: list[Fault] = []
    for badge in definition.badges:
        on_badge(badge.name)
        met = counting.met(badge)
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
        rows_current=dict(counting.rows_current),
        rows_superseded=dict(counting.rows_superseded),
        facts=facts,
        awards=with_identifiers(pl.concat(awards), counting.activity),
        results=results,
        drift=pl.concat(moved),
        calls=0,
        minutes=0.0,
        batch_size=batch_size,
        requests_per_minute=requests_per_minute,
        customers=customers,
        warnings=[] if customers is None else list(customers.notes),
    )
    _judge(plan, pl.concat(judged))
    plan.refused_by += claimed
    plan.refused_by += stale_sources(files, definition, as_of=selection.as_of)
    plan.warnings += counting.warnings
    return plan


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


def _judge(plan: Plan, judged: pl.DataFrame) -> None:
    """Fill in what the plan costs, what refuses it, and what a reader should know."""
    planned = plan.planned
    awarded = {n: f for n, f in plan.facts.items() if n in set(planned["badge"])}
    plan.calls = fewest_calls(planned, plan.batch_size)
    calls = plan.calls + len(awarded)
    plan.minutes = minutes_at_limit(calls, plan.requests_per_minute)
    plan.figures = plan_figures(judged, calls=plan.calls)
    verdict = guard_faults(plan.definition.guards, plan.figures, awarded)
    plan.refused_by = list(verdict.refused_by)
    plan.wants_approval = verdict.wants_approval
    for badge in plan.definition.badges:
        told = warnings(
            plan.facts[badge.name],
            badge,
            as_of=plan.selection.as_of,
            timezone=plan.definition.timezone,
            planned=planned.filter(pl.col("badge") == badge.name),
        )
        plan.warnings += [f"{badge.name}: {text}" for text in told]
    plan.digest = plan_digest(plan.parts)


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
