"""Asks a person for the approval that a guard wants, in Prefect's UI.

Belongs here: the form, the suspension, and what follows from the answer. Does not
belong here: what an approval is worth, what of a plan has moved
(`flows.plans.approving`).

A flow run that waits for a person is suspended: no process, no lock, no place in a
queue. When it is answered it starts again from the top, finds the plan that it was
suspended for in the home, by the name of its suspension, and carries out exactly that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.home import Home
from flows.pipeline import Work, import_badges, plan_badges
from flows.plans.approving import APPROVED, approve, job_of
from flows.plans.folder import SavedPlan, found_plan
from flows.platform.capillary import utc_now
from flows.records.audit import asked
from flows.runs.report import Report
from transforms.errors import PlanRefused

WAIT_SECONDS = 24 * 3600
_DECLINED = "declined"


class Decision(RunInput):
    """The form that is answered. What is written into it is kept in the audit."""

    decision: Literal["approve", "decline"] = Field(
        description="Approve: exactly this plan is sent. Decline: nothing is sent."
    )
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")] = Field(
        description="Who decides; it stays in the audit."
    )
    note: Annotated[str, Field(max_length=2000)] = Field(
        "", description="Why; it stays in the audit."
    )


async def with_approval(work: Work) -> Report | State[Any]:
    """Import; where a guard wants an approval, ask for it and do what was approved."""
    saved = _suspended_for(work.home)
    if saved is None:
        try:
            return await import_badges(work)
        except PlanRefused as refusal:
            if refusal.faults[0].code != "approval_wanted" or not _can_suspend():
                raise
        # The run that wanted it has given the lock back, and withdrawn what earlier
        # ones never sent: this plan is what the next one will find.
        plan, folder = await plan_badges(work)
        if plan.refused_by:
            raise PlanRefused(*plan.refused_by)
        saved = found_plan(work.home, folder.name)
        work.screen.stage("waiting for an approval", None)
    if saved.wants_approval and not _is_approved(work.home, saved):
        answer = await _answer(work, saved)
        if answer.decision == "decline":
            told = f"declined by {answer.name}: nothing was sent"
            return Completed(message=told)
    job = job_of(saved, work.job)
    return await import_badges(replace(work, job=job, wanted=saved))


def _suspended_for(home: Home) -> SavedPlan | None:
    """Return the plan that this flow run was suspended for, if it was."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    keys = context.flow_run.empirical_policy.pause_keys or set()
    known = sorted(one.name for one in home.plans.iterdir() if _key(one.name) in keys)
    return found_plan(home, known[-1]) if known else None


def _key(plan_id: str) -> str:
    """Return a plan's id as Prefect takes it for the name of a suspension."""
    return plan_id.lower()


def _can_suspend() -> bool:
    """Tell whether this is a deployment's run: no other can be started again."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run is not None and run.deployment_id is not None


def _is_approved(home: Home, saved: SavedPlan) -> bool:
    name = "newest_approval"
    found = asked(home.audit, name, plan_digest=saved.digest)[name]
    return not found.is_empty() and found["decision"].item() == APPROVED


async def _answer(work: Work, saved: SavedPlan) -> Decision:
    """Suspend until a person answers; return the answer once it is recorded."""
    told = (
        f"{saved.awards_planned:,} awards want an approval. The plan is an artifact of "
        f"this flow run, and lies in the home as {saved.plan_id}. Without an answer "
        "within 24 hours this run ends, and nothing is sent."
    )
    answer = await asuspend_flow_run(
        wait_for_input=Decision.with_initial_data(description=told),
        timeout=WAIT_SECONDS,
        key=_key(saved.plan_id),
    )
    get_run_logger().info("answered: %s", answer.decision)
    await work.steps("record the decision", _record, work, saved, answer)
    return answer


def _record(work: Work, saved: SavedPlan, answer: Decision) -> None:
    approve(
        work.home,
        saved,
        by_name=answer.name,
        note=answer.note or None,
        decision=APPROVED if answer.decision == "approve" else _DECLINED,
        now=utc_now(),
        wait_seconds=work.job.wait_seconds,
    )
