"""Makes a plan: which awards, of which activity, with which requests and guards.

Belongs here: bringing accepted activity, the platform's facts and what the ledger knows
together. Does not belong here: each decision itself (`transforms`), writing a plan
down (`flows.plans.folder`), and carrying it out (`flows.pipeline`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from flows.files.activity_files import AcceptedFile
from flows.files.counting import counting_activity, stale_sources
from flows.files.customer_files import CustomerFiles
from flows.partitions import Met, qualified
from transforms.activity.mending import Mend
from transforms.awards.awards import PlanResult, classified_awards, drift
from transforms.awards.batches import fewest_calls, minutes_at_limit
from transforms.awards.guards import (
    PlanFigures,
    guard_faults,
    newest_owners,
    plan_figures,
    rule_digest,
    take_over_faults,
)
from transforms.customers.identified import with_identifiers
from transforms.definition.definition import Badge, Definition
from transforms.errors import Fault, FilesRefused
from transforms.platform.badges import BadgeFacts
from transforms.platform.preflight import warnings
from transforms.reports.months import awards_by_month
from transforms.reports.plan_parts import PlanParts, plan_digest, window_words
from transforms.reports.plan_summary import BadgeSummary, badge_summaries

# Of a badge_meta_id and series, and of the customers that `partitions.Met` names.
KnownAwards = Callable[[str, str, int, int], pl.DataFrame]
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

    Its awards stay as they are: what is derived of them is looked at once.

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

    @cached_property
    def planned(self) -> pl.DataFrame:
        """Return the awards that go out in requests."""
        return self.awards.filter(pl.col("result") == PlanResult.PLANNED)

    @cached_property
    def summaries(self) -> Sequence[BadgeSummary]:
        """Return each badge summed up, in the definition's order."""
        return badge_summaries(
            self.planned,
            self.definition,
            self.facts,
            self.results,
            batch_size=self.batch_size,
        )

    @cached_property
    def by_month(self) -> pl.DataFrame:
        """Return how many awards each badge has in each month, see `months`."""
        return awards_by_month(self.planned)

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

    `parts` are some of the customers each, to be taken once. `activity` is what they
    were met by, at least those rows that prove it. The rest is as of
    `flows.files.counting`.
    """

    parts: Iterable[Met]
    activity: pl.LazyFrame
    rows_current: Mapping[int, int]
    rows_superseded: Mapping[int, int]
    warnings: tuple[str, ...] = ()


def qualified_here(
    files: Sequence[AcceptedFile], definition: Definition, as_of: datetime
) -> Qualified:
    """Return who met the rules of all badges."""
    counting = counting_activity(files, definition, as_of=as_of)
    return Qualified(
        parts=qualified(
            counting.activity,
            definition.badges,
            definition,
            as_of,
            rows=counting.rows,
            folder=files[0].accepted_path.parent,
        ),
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
    found_of = {badge.name: _Found() for badge in definition.badges}
    for place, part in enumerate(counting.parts):
        for badge in definition.badges:
            if place == 0:
                on_badge(badge.name)
            known = known_awards(
                badge.badge_meta_id, badge.series, part.number, part.partitions
            )
            classified = classified_awards(
                part.of_badges[badge.name],
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
                is_badge_selected=not selection.badges
                or badge.name in selection.badges,
            )
            found_of[badge.name].add(
                classified,
                known,
                _for_ledger(classified, badge, definition, facts, target),
            )
    awards = pl.concat([one.awards for one in found_of.values()])
    plan = Plan(
        definition=definition,
        selection=selection,
        target=target,
        files=files,
        rows_current=dict(counting.rows_current),
        rows_superseded=dict(counting.rows_superseded),
        facts=facts,
        awards=with_identifiers(awards, counting.activity),
        results={name: dict(one.results) for name, one in found_of.items()},
        drift=pl.concat([one.drift for one in found_of.values()]),
        calls=0,
        minutes=0.0,
        batch_size=batch_size,
        requests_per_minute=requests_per_minute,
        customers=customers,
        warnings=[] if customers is None else list(customers.notes),
    )
    _judge(plan)
    for badge in definition.badges:
        plan.refused_by += take_over_faults(
            definition.guards,
            badge,
            found_of[badge.name].owners,
            import_name=definition.name,
        )
    plan.refused_by += stale_sources(files, definition, as_of=selection.as_of)
    plan.warnings += counting.warnings
    return plan


class _Found:
    """What planning found of one badge, of all parts that it has looked at.

    Of qualifications that are awards already, and of what the ledger knows, no more
    than counts and differences is kept: that may be all that was ever awarded.
    """

    def __init__(self) -> None:
        self.results = Counter({"qualified": 0})
        self._awards: list[pl.DataFrame] = []
        self._drift: list[pl.DataFrame] = []
        self._owners: list[pl.DataFrame] = []

    def add(
        self, classified: pl.DataFrame, known: pl.DataFrame, awards: pl.DataFrame
    ) -> None:
        """Take in a part: all qualifications, and those that go to the ledger."""
        self.results.update(qualified=classified.height, **_counted(classified))
        self._awards.append(awards)
        self._drift.append(drift(classified, known))
        self._owners.append(newest_owners(known))

    @property
    def awards(self) -> pl.DataFrame:
        """Return the awards of all parts, in one order whatever the parts."""
        return _one_of(self._awards, "customer_id", "occurrence")

    @property
    def drift(self) -> pl.DataFrame:
        """Return the drift of all parts."""
        return _one_of(self._drift, "kind", "award_id")

    @property
    def owners(self) -> pl.DataFrame:
        """Return who awarded the badge before, see `newest_owners`."""
        return pl.concat(self._owners)


def _one_of(parts: list[pl.DataFrame], *keys: str) -> pl.DataFrame:
    return parts[0] if len(parts) == 1 else pl.concat(parts).sort(keys)


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


def _judge(plan: Plan) -> None:
    """Fill in what the plan costs, what refuses it, and what a reader should know."""
    planned = plan.planned
    awarded = {n: f for n, f in plan.facts.items() if n in set(planned["badge"])}
    plan.calls = fewest_calls(planned, plan.batch_size)
    calls = plan.calls + len(awarded)
    plan.minutes = minutes_at_limit(calls, plan.requests_per_minute)
    counts = sum((Counter(one) for one in plan.results.values()), Counter[str]())
    del counts["qualified"]
    plan.figures = plan_figures(planned, counts, calls=plan.calls)
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
