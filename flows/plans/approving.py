"""Records that a plan may be carried out, and refuses one that may not, or has moved.

Belongs here: `approve`, and what `apply` demands of a plan. Does not belong here: what
has moved (`transforms.reports.plan_parts`), keeping plans (`flows.plans.folder`), and
carrying one out (`flows.pipeline`).

An approval is given for a digest: the awards with their dates, the files, the
definition, the badges as the platform had them, and the platform. It stands for that
plan alone, however often it is made anew, and for nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import polars as pl

from flows.home import Home
from flows.planning import Plan
from flows.plans.folder import SavedPlan
from flows.records.backups import back_up
from flows.records.belonging import check_ledger
from flows.records.ledger import open_ledger
from flows.records.publishing import publish
from flows.runs.job import Job
from flows.runs.run import Run
from transforms.errors import Fault, PlanRefused
from transforms.reports.plan_parts import moved_faults

APPROVED = "approved"


def approve(
    home: Home,
    saved: SavedPlan,
    *,
    by_name: str,
    note: str | None,
    now: datetime,
    wait_seconds: float = 0.0,
    decision: str = APPROVED,
) -> None:
    """Record an approval in the ledger, or another decision, and publish it.

    Raises PlanRefused for a plan that a guard refuses: an approval passes no guard but
    `approve_above`.
    """
    if not by_name.strip():
        raise PlanRefused.of("approval_nameless", "say with --by who approves the plan")
    if saved.is_refused:
        raise PlanRefused.of(
            "plan_refused",
            f"plan {saved.plan_id} is refused by a guard, and an approval passes none: "
            "see plan.html, change what refuses it, and plan again",
            file=str(saved.folder),
        )
    with home.lock(wait_seconds=wait_seconds, holder=f"approve {saved.plan_id}"):
        check_ledger(home)
        ledger = open_ledger(home.ledger, now=now)
        try:
            row = {
                "plan_digest": saved.digest,
                "decision": decision,
                "by_name": by_name.strip(),
                "note": note,
                "decided_at": now,
            }
            ledger.write_rows("approvals", [row])
            publish(ledger, home.audit, now)
            back_up(ledger, home.backups, now)
        finally:
            ledger.close()


def job_of(saved: SavedPlan, job: Job) -> Job:
    """Return the job that makes a saved plan anew: as it was asked for, at its time."""
    return replace(
        job,
        definition=saved.definition,
        earned_from=saved.earned_from,
        earned_until=saved.earned_until,
        badges=saved.badges,
        customers_file=saved.customers_file,
        awards_file=saved.awards_file,
        as_of=saved.as_of,
        is_confirmed=True,
    )


def refuse_moved(run: Run, saved: SavedPlan, plan: Plan) -> None:
    """Refuse unless the plan made now is the saved one; say what has moved."""
    if plan.digest == saved.digest:
        return
    made = pl.concat(
        run.known_awards(badge.badge_meta_id, badge.series)["award_id"]
        for badge in plan.definition.badges
    )
    faults = moved_faults(saved.parts, plan.parts, made) or [
        Fault(
            code="plan_moved",
            message=f"plan {saved.plan_id} does not come out the same any more "
            f"(digest {saved.digest[:16]} then, {plan.digest[:16]} now): plan again",
            file=str(saved.folder),
        )
    ]
    raise PlanRefused(*faults)


def refuse_unapproved(run: Run, plan: Plan, saved: SavedPlan | None) -> None:
    """Refuse a plan above `approve_above` that nobody has approved."""
    awards = f"{plan.planned.height:,} awards want an approval (approve_above is "
    awards += f"{plan.definition.guards.approve_above})"
    if saved is None:
        raise PlanRefused.of(
            "approval_wanted",
            f"{awards}: make a plan with `retrobadge plan`, have it looked at, then "
            "`retrobadge approve PLAN --by NAME` and `retrobadge apply PLAN`",
            column="guards.approve_above",
        )
    found = run.ledger.read("newest_approval", plan_digest=plan.digest)
    if found.is_empty() or found["decision"].item() != APPROVED:
        raise PlanRefused.of(
            "not_approved",
            f"{awards}, and nobody has approved plan {saved.plan_id}: "
            f"`retrobadge approve {saved.plan_id} --by NAME`",
            column="guards.approve_above",
        )
