"""The page of a plan: what a person looks at before saying yes.

Belongs here: gathering what the page `plan.html` says of a plan. Does not belong here:
how it looks (`flows.templates`, `flows.pages.pages`), and each figure
(`transforms.reports.plan_summary`, `transforms.reports.months`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from markupsafe import Markup

from flows.pages.pages import begun_plot, page
from flows.planning import Plan
from transforms.awards.awards import PlanResult
from transforms.reports.months import odd_months
from transforms.reports.plan_summary import (
    BadgeSummary,
    calls_if_exact,
    guard_lines,
    used_results,
)
from transforms.reports.plots import months_plot

Drawn = Callable[[], Markup | None]


def begun_months(plan: Plan) -> Drawn:
    """Have the plan's plot drawn beside what goes on; return what waits for it."""
    return begun_plot(months_plot(plan.by_month), "Planned awards by month and badge")


def plan_html(
    plan: Plan,
    plan_id: str,
    rejected: pl.DataFrame,
    *,
    made_at: datetime,
    months: Drawn,
) -> str:
    """Return a plan's page; `rejected` as from `accepted_activity.rejected_rows`.

    `months` gives the plot of `begun_months`.
    """
    definition, summaries, by_month = plan.definition, plan.summaries, plan.by_month
    results = used_results(plan.results)
    return page(
        "plan.html",
        timezone=definition.timezone,
        plan_id=plan_id,
        plan=plan,
        definition=definition,
        made_at=made_at,
        verdict=_verdict(plan),
        awards=plan.planned.height,
        held=plan.count(PlanResult.HELD),
        customers=plan.planned["customer_id"].n_unique(),
        ends_at=made_at + timedelta(minutes=plan.minutes),
        exact=_exact(plan, summaries),
        looks=_looks(plan, by_month),
        guards=_guards(plan),
        badges=[_badge(one, by_month, definition.timezone) for one in summaries],
        results=results,
        months=months,
        bounds=_bounds(plan),
        rejected=_by_reason(rejected),
        drift=plan.drift.group_by("kind").len().sort("kind").to_dicts(),
    )


def _verdict(plan: Plan) -> dict[str, str]:
    if plan.refused_by:
        return {"tone": "bad", "word": "refused", "words": "A guard refuses this plan."}
    if plan.planned.is_empty():
        return {
            "tone": "good",
            "word": "nothing to do",
            "words": "Nothing is left to award.",
        }
    if plan.wants_approval:
        return {
            "tone": "warn",
            "word": "wants an approval",
            "words": "Nothing is sent before somebody has approved this plan.",
        }
    return {"tone": "good", "word": "ready", "words": "Nothing has been sent."}


def _exact(plan: Plan, summaries: Sequence[BadgeSummary]) -> dict[str, Any]:
    """Return what dating every badge exactly would cost."""
    calls = calls_if_exact(summaries)
    limit = plan.requests_per_minute
    seconds = calls / limit * 60 if limit else None
    return {"calls": calls, "seconds": seconds, "more": calls - plan.calls}


def _looks(plan: Plan, by_month: pl.DataFrame) -> list[dict[str, str]]:
    """Return what a person should look at, worst first."""
    looks = [{"tone": "bad", "words": str(fault)} for fault in plan.refused_by]
    looks += [{"tone": "warn", "words": text} for text in plan.warnings]
    looks += [{"tone": "warn", "words": str(odd)} for odd in odd_months(by_month)]
    return looks


def _guards(plan: Plan) -> list[Any]:
    if plan.figures is None:
        return []
    refused = {
        str(fault.column).removeprefix("guards."): fault.message
        for fault in plan.refused_by
    }
    return guard_lines(plan.definition.guards, plan.figures, refused)


def _badge(one: BadgeSummary, by_month: pl.DataFrame, timezone: str) -> dict[str, Any]:
    """Return one badge's part of the page."""
    months = by_month.filter(pl.col("badge") == one.badge.name)
    zone = ZoneInfo(timezone)
    samples = one.samples.select(
        "customer_id",
        "occurrence",
        "earn_day",
        "qualified_at",
        "measure",
        "threshold",
        "evidence_activity_id",
        "source",
    )
    return {
        "name": one.badge.name,
        "badge": one.badge,
        "facts": one.facts,
        "rule": one.rule,
        "results": one.results,
        "awards": one.awards,
        "customers": one.customers,
        "most": one.most_of_a_customer,
        "first_day": one.first_day,
        "last_day": one.last_day,
        "calls": one.calls,
        "calls_by_day": one.calls_by_day,
        "calls_exact": one.calls_exact,
        "canary": one.canary_customer_id,
        "months": months.to_dicts(),
        "samples": samples.to_dicts(),
        "starts_at": _local(one.facts.starts_at, zone),
        "expires_at": _local(one.facts.expires_at, zone),
    }


def _local(value: datetime | None, zone: ZoneInfo) -> str:
    return "open" if value is None else f"{value.astimezone(zone):%Y-%m-%d %H:%M}"


def _bounds(plan: Plan) -> str:
    """Return in words what of the definition was asked for."""
    asked = plan.selection
    told = []
    if asked.earned_from:
        told.append(f"earned on {asked.earned_from} or later")
    if asked.earned_until:
        told.append(f"earned before {asked.earned_until}")
    if asked.badges:
        told.append(f"only badge {', '.join(asked.badges)}")
    if asked.customer_ids is not None:
        told.append(f"only {len(asked.customer_ids):,} named customers")
    if asked.award_ids is not None:
        told.append(f"only {len(asked.award_ids):,} named awards")
    return "; ".join(told)


def _by_reason(rejected: pl.DataFrame) -> list[dict[str, Any]]:
    return (
        rejected.group_by("reason")
        .agg(
            rows=pl.len(),
            files=pl.col("path").n_unique(),
            path=pl.col("path").first(),
            row_number=pl.col("row_number").first(),
            value=pl.col("value").first(),
        )
        .sort(["rows", "reason"], descending=[True, False])
        .to_dicts()
    )
