"""Sums a plan up, badge by badge, for a person who must say yes to it.

Belongs here: the figures of a plan's page and file. Does not belong here: the plan
itself (`flows.planning`), and how its page looks (`flows.pages.plan_page`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from transforms.awards.awards import PlanResult
from transforms.awards.batches import fewest_calls
from transforms.rules.words import rule_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transforms.awards.guards import PlanFigures
    from transforms.definition.definition import Badge, Definition, Guards
    from transforms.platform.badges import BadgeFacts

SAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class BadgeSummary:
    """One badge of a plan. `awards` are planned ones; days are local.

    `results`: result → how many qualifications. `calls_by_day` and `calls_exact` are
    the calls that each precision costs. `samples`: rows of the plan's awards, spread
    over all customers. `canary_customer_id` is whose award would be sent first, alone.
    """

    badge: Badge
    facts: BadgeFacts
    rule: str
    results: Mapping[str, int]
    awards: int
    customers: int
    most_of_a_customer: int
    first_day: date | None
    last_day: date | None
    calls: int
    calls_by_day: int
    calls_exact: int
    canary_customer_id: int | None
    samples: pl.DataFrame


def badge_summaries(
    planned: pl.DataFrame,
    definition: Definition,
    facts: Mapping[str, BadgeFacts],
    results: Mapping[str, Mapping[str, int]],
    *,
    batch_size: int,
) -> list[BadgeSummary]:
    """Return a summary of each badge, in the definition's order.

    `planned`: the planned awards, as `flows.planning.Plan` has them.
    """
    return [
        _summary(
            planned.filter(pl.col("badge") == badge.name),
            badge,
            facts[badge.name],
            results[badge.name],
            batch_size,
        )
        for badge in definition.badges
    ]


def _summary(
    planned: pl.DataFrame,
    badge: Badge,
    facts: BadgeFacts,
    results: Mapping[str, int],
    batch_size: int,
) -> BadgeSummary:
    of_a_customer = planned.group_by("customer_id").len()["len"].max()
    days = planned["earn_day"]
    exact = pl.col("qualified_at").dt.truncate("1s")
    return BadgeSummary(
        badge=badge,
        facts=facts,
        rule=rule_words(badge),
        results=results,
        awards=planned.height,
        customers=planned["customer_id"].n_unique(),
        most_of_a_customer=of_a_customer if isinstance(of_a_customer, int) else 0,
        first_day=_day(days.min()),
        last_day=_day(days.max()),
        calls=fewest_calls(planned, batch_size),
        calls_by_day=_calls(planned, pl.col("earn_day").cast(pl.Datetime), batch_size),
        calls_exact=_calls(planned, exact, batch_size),
        canary_customer_id=canary_customer(planned, badge),
        samples=spread(planned, SAMPLES),
    )


def _day(value: object) -> date | None:
    return value if isinstance(value, date) else None


def _calls(planned: pl.DataFrame, dated: pl.Expr, batch_size: int) -> int:
    """Return the fewest calls if awards were dated otherwise."""
    return fewest_calls(planned.with_columns(earn_event_date=dated), batch_size)


def canary_customer(planned: pl.DataFrame, badge: Badge) -> int | None:
    """Return the likely canary: of `canary_customer_ids`, else the lowest id.

    Whether the customer holds the badge already is not known without reading: then
    the next one is taken.
    """
    customers = planned["customer_id"].unique().sort()
    wanted = pl.Series(values=list(badge.canary_customer_ids), dtype=pl.Int64)
    named = customers.filter(customers.is_in(wanted.implode()))
    first = next(iter([*named.head(1), *customers.head(1)]), None)
    return None if first is None else int(first)


def spread(planned: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return so many customers' first awards, spread evenly over all customers."""
    firsts = planned.sort("customer_id", "occurrence").unique(
        "customer_id", keep="first", maintain_order=True
    )
    if firsts.height <= count:
        return firsts
    steps = [at * firsts.height // count for at in range(count)]
    return firsts[steps]


def spread_customers(awards: pl.DataFrame, count: int) -> pl.Series:
    """Return so many customers, spread evenly over all; the same ones every time."""
    customers = awards["customer_id"].unique().sort()
    if customers.len() <= count:
        return customers
    return customers.gather([at * customers.len() // count for at in range(count)])


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardLine:
    """One guard as a person reads it: what it allows, what the plan has."""

    name: str
    allows: str
    has: str
    is_kept: bool


def guard_lines(
    guards: Guards, figures: PlanFigures, refused: Mapping[str, str]
) -> list[GuardLine]:
    """Return every guard with its bound and the plan's figure.

    `refused`: guards that refuse the plan, by name, with their message.
    """
    return list(_guard_lines(guards, figures, refused))


def _guard_lines(
    guards: Guards, figures: PlanFigures, refused: Mapping[str, str]
) -> Iterator[GuardLine]:
    share = figures.out_of_window / figures.asked_for if figures.asked_for else 0.0
    has = {
        "max_awards": f"{figures.awards:,}",
        "max_awards_per_customer": f"{figures.most_awards_of_a_customer:,}",
        "max_calls": f"{figures.calls:,}",
        "max_out_of_window_share": f"{share:.1%}",
        "approve_above": f"{figures.awards:,}",
    }
    for name, figure in has.items():
        limit = getattr(guards, name)
        is_kept = name not in refused
        if name == "approve_above":
            is_kept = limit is None or figures.awards <= limit
        allows = "no bound" if limit is None else _bound(limit)
        yield GuardLine(name=name, allows=allows, has=figure, is_kept=is_kept)
    for name in ("allow_relative_expiry", "allow_rolling_limit", "take_over"):
        yield GuardLine(
            name=name,
            allows="allowed" if getattr(guards, name) else "not allowed",
            has=refused.get(name, ""),
            is_kept=name not in refused,
        )


def _bound(limit: object) -> str:
    return f"{limit:,}" if isinstance(limit, int) else str(limit)


def calls_if_exact(summaries: Iterable[BadgeSummary]) -> int:
    """Return the calls if every badge were dated exactly."""
    return sum(one.calls_exact for one in summaries)


def used_results(results: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the results that occur, planned first."""
    order = [PlanResult.PLANNED, *(r for r in PlanResult if r != PlanResult.PLANNED)]
    return [str(r) for r in order if any(c.get(str(r)) for c in results.values())]
