"""The flow `import-badges`: the pipeline as a Prefect flow run, nightly or on demand.

Needs a Prefect server, and the settings in the environment of the worker (or in `.env`
of the project there); no secret is ever a parameter.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL
from pydantic import Field

from flows.orchestration.approval import with_approval
from flows.orchestration.runs import (
    A_DAY,
    AsOf,
    AwardsFile,
    Badges,
    CustomersFile,
    Day,
    DefinitionFile,
    Outcome,
    Parameters,
    StopAt,
    WaitSeconds,
    asked_job,
    carried_out,
    run_name,
    subject_of,
)
from flows.pipeline import Work
from flows.pipeline import import_badges as run_pipeline
from flows.runs.report import Report
from transforms.errors import SettingsRefused

# A flow goes to the workers of a cluster with its tasks; what holds a login must not.
_IN_HAND: ContextVar[tuple[Work, Outcome]] = ContextVar("in_hand")


class ImportParameters(Parameters):
    """What one import is asked for; days are local to the definition."""

    definition: DefinitionFile
    earned_from: Day | None = Field(
        None, description="Only awards earned on this day or later."
    )
    earned_until: Day | None = Field(
        None, description="Only awards earned before this day."
    )
    badges: Badges = Field([])
    customers_file: CustomersFile = None
    awards_file: AwardsFile = None
    as_of: AsOf = None
    stop_at: StopAt = None
    wait_seconds: WaitSeconds = A_DAY


@flow(
    name="import-badges",
    flow_run_name=run_name,
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def import_badges(parameters: ImportParameters) -> State[Any]:
    """Import the badges of one definition; fail when the books do not balance."""
    subject = subject_of(parameters.definition)
    return await carried_out(subject, asked_job(parameters), with_approval)


@flow(name="import-badges", flow_run_name=run_name, retries=0, persist_result=False)
async def import_once(parameters: dict[str, Any]) -> State[Any]:
    """Do the work of the command line that this process has in hand."""
    work, outcome = in_hand()
    subject = subject_of(parameters["definition"])
    return await carried_out(
        subject, work.job, run_pipeline, work=work, outcome=outcome
    )


def in_hand() -> tuple[Work, Outcome]:
    """Return what the command line is at, which no flow may close over."""
    return _IN_HAND.get()


async def import_here(work: Work) -> Report:
    """Run an import of the command line as a flow run of the configured server.

    The report comes back, and errors are raised as they were, for the command's exit
    status follows from them. Raises SettingsRefused where no server answers.
    """
    await _refuse_without_server()
    outcome = Outcome()
    job = work.job
    _IN_HAND.set((work, outcome))
    # For people to see what was asked for; the work is asked for by `job`.
    asked = {
        "definition": str(job.definition),
        "earned_from": job.earned_from,
        "earned_until": job.earned_until,
        "badges": list(job.badges),
        "customers_file": str(job.customers_file) if job.customers_file else None,
        "awards_file": str(job.awards_file) if job.awards_file else None,
        "as_of": job.as_of,
        "stop_at": job.stop_at,
    }
    await import_once(asked, return_state=True)
    if outcome.error is not None:
        raise outcome.error
    if outcome.report is None:
        raise AssertionError("the flow run ended before its work began")
    return outcome.report


async def _refuse_without_server() -> None:
    async with get_client() as client:
        if await client.api_healthcheck() is None:
            return
    raise SettingsRefused.of(
        "no_prefect_server",
        f"no Prefect server answers at {PREFECT_API_URL.value()}: start it, or unset "
        "PREFECT_API_URL to run without one",
        column="PREFECT_API_URL",
    )
