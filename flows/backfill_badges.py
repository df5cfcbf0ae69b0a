"""The flow `backfill-badges`: an import of a span of earn dates, on demand.

Needs what `import-badges` needs. The bounds choose awards by earn date; activity before
them still counts. It waits its turn at the home's lock like any run, says in its plan
what it leaves outside the bounds, and can be told when to stop (`stop_at`): asked for
again with the same bounds, it goes on, for what is done is in the ledger.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.files.finding import read_definition
from flows.orchestration.approval import with_approval
from flows.orchestration.runs import (
    A_DAY,
    AsOf,
    AwardsFile,
    Badges,
    CustomersFile,
    Day,
    DefinitionFile,
    Parameters,
    StopAt,
    WaitSeconds,
    asked_job,
    carried_out,
    run_name,
    subject_of,
)
from flows.pipeline import Work
from flows.platform.capillary import utc_now
from flows.runs.report import Report
from transforms.errors import Fault, PlanRefused


class BackfillParameters(Parameters):
    """What one backfill is asked for; days are local to the definition."""

    definition: DefinitionFile
    earned_from: Day = Field(description="Awards earned on this day or later.")
    earned_until: Day = Field(
        description="Awards earned before this day; tomorrow at the latest."
    )
    badges: Badges = Field([])
    customers_file: CustomersFile = None
    awards_file: AwardsFile = None
    as_of: AsOf = None
    stop_at: StopAt = None
    wait_seconds: WaitSeconds = A_DAY


@flow(
    name="backfill-badges",
    flow_run_name=run_name,
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def backfill_badges(parameters: BackfillParameters) -> State[Any]:
    """Import what was earned inside the bounds; refuse bounds that can't be meant."""

    async def body(work: Work) -> Report | State[Any]:
        definition = await work.steps(
            "read definition", read_definition, work.job.definition
        )
        zone = ZoneInfo(definition.timezone)
        now = work.job.as_of or utc_now()
        faults = bound_faults(
            parameters.earned_from, parameters.earned_until, now, zone
        )
        if faults:
            raise PlanRefused(*faults)
        return await with_approval(work)

    subject = subject_of(parameters.definition)
    return await carried_out(subject, asked_job(parameters), body)


def bound_faults(
    earned_from: date, earned_until: date, now: datetime, zone: ZoneInfo
) -> list[Fault]:
    """Return what is wrong with a backfill's bounds, days of the definition's zone."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    if earned_from >= earned_until:
        message = (
            f"{earned_from} does not lie before {earned_until}, which is exclusive: "
            "exchange them, or widen the span"
        )
        return [
            Fault(code="bounds_reversed", message=message, column="earned_from"),
        ]
    if earned_until > tomorrow:
        message = (
            f"{earned_until} lies in the future: the last day to fill is today in "
            f"{zone.key}, so {tomorrow} at the latest"
        )
        return [Fault(code="bounds_future", message=message, column="earned_until")]
    return []
