"""The flow `revoke-badges`: takes back what a run issued, one call per award.

Needs what `import-badges` needs. Unless it is confirmed it only says what it would take
back, and calls nothing.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.commands.undo import Preview, preview, revoke_awards
from flows.orchestration.runs import (
    A_DAY,
    AwardsFile,
    Badges,
    CustomersFile,
    Name,
    Parameters,
    WaitSeconds,
    asked_for,
    asked_job,
    carried_out,
)
from flows.pipeline import Work
from flows.runs.report import Report
from transforms.statuses import AwardStatus


class RevokeParameters(Parameters):
    """Whose badges are taken back."""

    run: Name = Field(
        description="A run's id, or the beginning of one; `retrobadge runs` lists them."
    )
    is_confirmed: bool = Field(
        default=False,
        description="Take them back. Left out, this run only says how many.",
    )
    badges: Badges = Field([])
    customers_file: CustomersFile = None
    awards_file: AwardsFile = None
    wait_seconds: WaitSeconds = A_DAY


def _run_name() -> str:
    asked = asked_for()
    verb = "revoke" if asked.get("is_confirmed") else "preview of revoking"
    return f"{verb} {asked['run']}"


@flow(
    name="revoke-badges",
    flow_run_name=_run_name,
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def revoke_badges(parameters: RevokeParameters) -> State[Any]:
    """Take back what a run issued, or say what would be taken back."""

    async def body(work: Work) -> Report | State[Any]:
        if parameters.is_confirmed:
            return await revoke_awards(work, parameters.run)
        found = await work.steps("preview", _preview, work, parameters.run)
        return Completed(message=_told(found))

    job = asked_job(parameters, is_confirmed=parameters.is_confirmed)
    return await carried_out(f"revoke {parameters.run}", job, body)


def _preview(work: Work, run: str) -> Preview:
    return preview(work.home, work.settings, work.job, run, taken=AwardStatus.ISSUED)


def _told(found: Preview) -> str:
    badges = ", ".join(f"{badge} {count:,}" for badge, count in found.badges.items())
    minutes = f", {found.minutes:.0f} minutes" if found.minutes >= 1 else ""
    without = f"; {found.without_id:,} have no id to name" if found.without_id else ""
    return (
        f"would take back {found.awards:,} awards of run {found.run_id} "
        f"({badges or 'none'}) in {found.calls:,} calls{minutes}{without}: nothing was "
        "called; run again with is_confirmed"
    )
