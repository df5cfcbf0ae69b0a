"""The flow `reconcile-badges`: compares the audit with the platform, weekly.

Needs what `import-badges` needs. It changes no award, and fails where anything differs:
then a person should look. Reading back costs one call per customer and badge, and holds
the home meanwhile: a sample keeps a weekly run short, an export costs no calls.
"""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.commands.reconciling import Wanted
from flows.commands.reconciling import reconcile_badges as compare
from flows.orchestration.runs import (
    A_DAY,
    Name,
    Parameters,
    PathText,
    WaitSeconds,
    asked_for,
    asked_job,
    carried_out,
)
from flows.pipeline import Work
from flows.runs.report import Report
from flows.settings import PROJECT


class ReconcileParameters(Parameters):
    """What is compared."""

    run: Name | None = Field(
        None, description="Only what this run awarded; left empty, all there is."
    )
    sample: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="Only so many customers, spread over all of them."
    )
    export_file: PathText | None = Field(
        None,
        description="The platform's export of earns, a file on the worker's machine; "
        "left empty, customers are read back, one call each.",
    )
    wait_seconds: WaitSeconds = A_DAY


def _run_name() -> str:
    asked = asked_for()
    what = f"run {asked['run']}" if asked.get("run") else "all runs"
    return f"{what}, {asked['sample']} customers" if asked.get("sample") else what


@flow(
    name="reconcile-badges",
    flow_run_name=_run_name,
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def reconcile_badges(parameters: ReconcileParameters | None = None) -> State[Any]:
    """Compare the audit with the platform; fail where they differ."""
    asked = parameters or ReconcileParameters()
    export = PROJECT / asked.export_file if asked.export_file else None

    async def body(work: Work) -> Report:
        wanted = Wanted(run=asked.run, sample=asked.sample, export=export)
        return await compare(work, wanted)

    job = asked_job(asked)
    return await carried_out("reconcile", job, body, is_open_failed=True)
