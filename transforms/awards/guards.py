"""Holds a plan against the definition's guards: what refuses it, what wants approval.

Belongs here: `[guards]`, and what makes a rule the same rule. Does not belong here:
what the platform refuses (`badges`), and asking a person (`flows`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from transforms.awards.awards import PlanResult
from transforms.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transforms.definition.definition import Badge, Guards
    from transforms.platform.badges import BadgeFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFigures:
    """What guards look at. Counts over all badges of a plan.

    `awards` are planned ones, `calls` those that issue them, `asked_for` all
    qualifications but those outside the bounds or not selected.
    """

    awards: int
    most_awards_of_a_customer: int
    calls: int
    asked_for: int
    out_of_window: int


class Verdict(NamedTuple):
    """What the guards say of a plan."""

    refused_by: tuple[Fault, ...]
    wants_approval: bool


def plan_figures(
    planned: pl.DataFrame, counts: Mapping[str, int], *, calls: int
) -> PlanFigures:
    """Return the figures of a plan: `planned` awards, and how many of each result.

    `planned`: customer_id. `counts`: PlanResult → qualifications.
    """
    of_customer = planned.group_by("customer_id").len()["len"].max()
    not_asked = (PlanResult.OUTSIDE_BOUNDS, PlanResult.NOT_SELECTED)
    return PlanFigures(
        awards=planned.height,
        most_awards_of_a_customer=of_customer if isinstance(of_customer, int) else 0,
        calls=calls,
        asked_for=sum(n for name, n in counts.items() if name not in not_asked),
        out_of_window=counts.get(PlanResult.OUT_OF_WINDOW, 0),
    )


def guard_faults(
    guards: Guards, figures: PlanFigures, awarded: Mapping[str, BadgeFacts]
) -> Verdict:
    """Return which guards refuse the plan, and whether one wants approval.

    `awarded`: the facts of the badges that the plan awards, by name; a badge without
    planned awards can't do harm.
    """
    faults = [
        *_bound_faults(guards, figures),
        *_window_faults(guards, figures),
        *_badge_faults(guards, awarded),
    ]
    limit = guards.approve_above
    return Verdict(
        refused_by=tuple(faults),
        wants_approval=limit is not None and figures.awards > limit,
    )


def _bound_faults(guards: Guards, figures: PlanFigures) -> Iterator[Fault]:
    bounds = (
        ("max_awards", figures.awards, "awards are planned"),
        (
            "max_awards_per_customer",
            figures.most_awards_of_a_customer,
            "awards are planned for one customer",
        ),
        ("max_calls", figures.calls, "calls are needed"),
    )
    for name, count, told in bounds:
        limit = getattr(guards, name)
        if limit is not None and count > limit:
            message = (
                f"{count} {told}, {limit} are allowed: look at the plan, then raise "
                f"{name} or narrow what is asked for"
            )
            yield _fault(name, message)


def _window_faults(guards: Guards, figures: PlanFigures) -> Iterator[Fault]:
    limit = guards.max_out_of_window_share
    # Awards of the ledger count in: the same few that can't be dated come up in every
    # run, and must not weigh more the fewer new awards there are.
    if limit is None or figures.out_of_window <= limit * Decimal(figures.asked_for):
        return
    message = (
        f"{figures.out_of_window} of {figures.asked_for} qualifications fall outside "
        f"their badge's window, a share of {limit} is allowed: check the badges' "
        "windows and the definition's timezone, or raise max_out_of_window_share"
    )
    yield _fault("max_out_of_window_share", message)


def _badge_faults(guards: Guards, awarded: Mapping[str, BadgeFacts]) -> Iterator[Fault]:
    for name, facts in awarded.items():
        if facts.is_expiry_relative and not guards.allow_relative_expiry:
            message = (
                f"badge {name} expires {facts.expiry_text}, so old achievements become "
                "active now: set allow_relative_expiry = true if that is wanted"
            )
            yield _fault("allow_relative_expiry", message)
        if facts.has_rolling_limit and not guards.allow_rolling_limit:
            message = (
                f"badge {name} has a rolling limit, which counts on the day of sending "
                f"and not on the earn date ({'; '.join(facts.limits)}): set "
                "allow_rolling_limit = true if the awards fit into it"
            )
            yield _fault("allow_rolling_limit", message)


def newest_owners(known: pl.DataFrame) -> pl.DataFrame:
    """Return what `take_over_faults` looks at, of any part of the known awards."""
    names = ("import_name", "rule_digest", "planned_at")
    return known.select(name for name in names if name in known.columns).unique()


def take_over_faults(
    guards: Guards, badge: Badge, known: pl.DataFrame, *, import_name: str
) -> list[Fault]:
    """Return what stands against adding to awards that others made.

    `known`: the ledger's awards of this (badge_meta_id, series), with import_name and
    rule_digest. With planned_at the awards planned last decide: who took over once,
    and added to them, is the owner. Without it every award does.
    """
    if guards.take_over or known.is_empty():
        return []
    if "planned_at" in known.columns:
        known = known.filter(pl.col("planned_at") == pl.col("planned_at").max())
    place = f"badge {badge.name} ({badge.badge_meta_id}, series {badge.series!r})"
    wanted = (
        "give the badge another `series` if its awards are to count apart, or set "
        "take_over = true to add to them"
    )
    others = sorted(set(known["import_name"].to_list()) - {import_name})
    if others:
        named = ", ".join(map(repr, others))
        message = f"{place} was awarded by import {named} before: {wanted}"
        return [_fault("take_over", message)]
    if set(known["rule_digest"].to_list()) - {rule_digest(badge)}:
        message = f"{place} was awarded by another rule before: {wanted}"
        return [_fault("take_over", message)]
    return []


def _fault(guard: str, message: str) -> Fault:
    return Fault(code=f"guard_{guard}", message=message, column=f"guards.{guard}")


def rule_digest(badge: Badge) -> str:
    """Return the SHA-256 of what decides who earns a badge and how often.

    Dates, bounds, precision and `hold` are not part of it, nor are keys left at their
    defaults, nor the way a number is written: 50 and 50.00 are one threshold.
    """
    told = badge.model_dump(
        include={
            "rule",
            "where",
            "repeat",
            "max_occurrences",
            "counted_from",
            "counted_until",
        },
        exclude_defaults=True,
    )
    text = json.dumps(_plain(told), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value with its numbers and dates as one text each."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Decimal):
        return format(Decimal(value).normalize(), "f")
    return str(value)
