"""The flow `resume-badges`: settles what is open, and sends what is reserved.

Needs what `import-badges` needs, but no definition: a request's row holds all that
sending it takes. Nothing new is planned.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.orchestration.runs import (
    A_DAY,
    Parameters,
    StopAt,
    WaitSeconds,
    asked_job,
    carried_out,
)
from flows.pipeline import resume_badges as run_pipeline


class ResumeParameters(Parameters):
    """What one resume is asked for."""

    stop_at: StopAt = None
    wait_seconds: WaitSeconds = A_DAY


@flow(
    name="resume-badges",
    flow_run_name="settle and send what is left",
    retries=0,
    persist_result=False,
    validate_parameters=True,
)
async def resume_badges(parameters: ResumeParameters | None = None) -> State[Any]:
    """Settle earlier runs, and send what they reserved, byte for byte."""
    asked = parameters or ResumeParameters()
    return await carried_out("resume", asked_job(asked), run_pipeline)
