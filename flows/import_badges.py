"""The flow `import-badges`: the pipeline as a Prefect flow run.

Needs a Prefect server and the settings in the worker's environment; no secret is ever
a parameter. Retries are off: they live in dispatch, where it is known whether an
attempt did something.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from flows.home import open_home
from flows.pipeline import Work
from flows.pipeline import import_badges as run_pipeline
from flows.runs import Job, Report
from flows.settings import PROJECT, settings
from transforms.errors import LooksWrong, StoppedPartWay


class ImportParameters(BaseModel):
    """What one import is asked for; days are local to the definition."""

    model_config = ConfigDict(extra="forbid")

    definition: Annotated[str, Field(min_length=1, description="The TOML file.")]
    earned_from: date | None = Field(None, description="Earned on this day or later.")
    earned_until: date | None = Field(None, description="Earned before this day.")
    badges: list[str] = Field([], max_length=1000, description="Only these badges.")
    customers_file: str | None = Field(None, description="Header: customer_id.")
    awards_file: str | None = Field(None, description="Header: award_id.")
    as_of: datetime | None = Field(None, description="The instant taken for now.")
    stop_at: datetime | None = Field(None, description="Send nothing after this.")
    wait_seconds: float = Field(
        86_400, ge=0, le=604_800, description="Wait so long for another run to end."
    )


def run_name() -> str:
    """Return a name that says what is imported, and for which days."""
    from prefect.runtime import flow_run  # noqa: PLC0415

    asked = flow_run.parameters["parameters"]
    get = asked.get if isinstance(asked, dict) else lambda name: getattr(asked, name)
    name = Path(str(get("definition"))).stem
    bounds = [str(day) for day in (get("earned_from"), get("earned_until")) if day]
    return " ".join([name, *([" to ".join(bounds)] if bounds else [])])


@flow(
    name="import-badges",
    flow_run_name=run_name,
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def import_badges(parameters: ImportParameters) -> dict[str, Any]:
    """Import the badges of one definition; fail when the books do not balance."""
    work = _work(_job(parameters))
    report = await run_pipeline(work)
    _fail_unless_recorded(report)
    return report.as_json()


async def import_here(work: Work) -> Report:
    """Run an import of the command line as a flow run of the configured server."""
    work.steps = as_tasks

    @flow(name="import-badges", retries=0, persist_result=False)
    async def import_once() -> Report:
        return await run_pipeline(work)

    return await import_once()


async def as_tasks(name: str, function: Callable[..., Any], *values: Any) -> Any:
    """Run a step as a task, which knows nothing but its name.

    What a step works with is closed over: Prefect neither hashes nor stores it.
    """

    @task(name=name, retries=0, cache_policy=NO_CACHE, persist_result=False)
    async def step() -> Any:
        result = function(*values)
        return await result if hasattr(result, "__await__") else result

    return await step()


def _job(parameters: ImportParameters) -> Job:
    asked = parameters
    return Job(
        definition=PROJECT / asked.definition,
        earned_from=asked.earned_from,
        earned_until=asked.earned_until,
        badges=tuple(asked.badges),
        customers_file=Path(asked.customers_file) if asked.customers_file else None,
        awards_file=Path(asked.awards_file) if asked.awards_file else None,
        as_of=asked.as_of,
        stop_at=asked.stop_at,
        is_confirmed=True,
        trigger="deployment",
        wait_seconds=asked.wait_seconds,
    )


def _work(job: Job) -> Work:
    os.umask(0o077)
    chosen = settings(os.environ, env_file=PROJECT / ".env")
    return Work(job, chosen, open_home(chosen.retrobadge_home), steps=as_tasks)


def _fail_unless_recorded(report: Report) -> None:
    """Fail the flow run in one line where a person must look, or it must run again."""
    if report.exit_status == LooksWrong.exit_status:
        raise LooksWrong(*report.errors)
    if report.exit_status == StoppedPartWay.exit_status:
        raise StoppedPartWay.of(
            "stopped",
            f"run {report.run_id} stopped: {report.stopped_by or 'see audit'}",
        )
