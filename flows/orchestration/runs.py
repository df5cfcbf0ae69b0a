"""What all flows share: their parameters, their steps as tasks, and how a run ends.

Belongs here: what of a run becomes Prefect's. Does not belong here: what a flow does
(`flows.pipeline` and its like), and what is shown of it
(`flows.orchestration.watching`).

A flow run is kept and shown by a server that is not ours to guard. So no secret, no
customer and no text that a file or the platform wrote may become a parameter, a result,
an artifact, a log line or the message of a state: steps close over what they work with,
and of an error that is not ours only its class and place are told.

Retries are off everywhere: they live in dispatch, where it is known whether an attempt
did something.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.home import open_home
from flows.orchestration.cluster_tasks import as_cluster_tasks
from flows.orchestration.watching import Watch, emit_outcome, show_plan, show_summary
from flows.orchestration.words import error_line, fault_line, report_line, step_name
from flows.pipeline import Work
from flows.planning import Plan
from flows.runs.job import Job
from flows.runs.report import Report
from flows.settings import PROJECT, settings
from transforms.errors import (
    RetrobadgeError,
    StoppedPartWay,
    Unbalanced,
)

A_DAY = 86_400.0

# What flows are asked for, as fields of their forms: each form has them in the order in
# which a person wants to fill them in.
Name = Annotated[str, Field(min_length=1, max_length=200)]
PathText = Annotated[str, Field(min_length=1, max_length=1000)]
DefinitionFile = Annotated[
    PathText,
    Field(
        description="The import definition, a TOML file on the worker's machine; a "
        "relative path starts at the project."
    ),
]
Day = Annotated[date, Field(ge=date(1900, 1, 1))]
Badges = Annotated[
    list[Name],
    Field(max_length=1000, description="Only these badges, by name in the definition."),
]
CustomersFile = Annotated[
    PathText | None,
    Field(
        description="Only the customers in this CSV on the worker's machine (header: "
        "customer_id)."
    ),
]
AwardsFile = Annotated[
    PathText | None,
    Field(
        description="Only the awards in this CSV on the worker's machine (header: "
        "award_id)."
    ),
]
AsOf = Annotated[
    AwareDatetime | None,
    Field(description="The instant taken for now; left empty, it is now."),
]
StopAt = Annotated[
    AwareDatetime | None,
    Field(
        description="Send nothing after this instant; the next run does what is left."
    ),
]
WaitSeconds = Annotated[
    float,
    Field(
        ge=0,
        le=7 * A_DAY,
        description="How long to wait while another run works in the home.",
    ),
]


class Parameters(BaseModel):
    """What a flow is asked for; a name that it doesn't know is refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass
class Outcome:
    """What came of a flow run, for whoever started it in this process."""

    report: Report | None = None
    error: BaseException | None = None


def asked_job(asked: Parameters, **more: Any) -> Job:
    """Return what a flow was asked for as the pipeline wants it."""
    known = {field.name for field in fields(Job)}
    told = asked.model_dump(include=known)
    told["badges"] = tuple(told.get("badges", ()))
    for name in ("customers_file", "awards_file", "definition"):
        if told.get(name) is not None:
            told[name] = PROJECT / Path(told[name]).expanduser()
    trigger = f"flow run {flow_run.id}"
    return Job(**{**told, "trigger": trigger, "is_confirmed": True, **more})


def subject_of(definition: str) -> str:
    """Return the short name of what a flow run is about."""
    return Path(definition).stem


def asked_for() -> dict[str, Any]:
    """Return what this flow run is asked for, for its name."""
    told = flow_run.parameters.get("parameters") or {}
    return told.model_dump() if isinstance(told, BaseModel) else told


def run_name() -> str:
    """Return a name that says what is imported, and for which dates."""
    asked = asked_for()
    name = subject_of(asked["definition"])
    bounds = [
        f"{word} {asked[key]}"
        for word, key in (("from", "earned_from"), ("until", "earned_until"))
        if asked.get(key)
    ]
    if bounds:
        return f"{name} {' '.join(bounds)}"
    as_of = asked.get("as_of") or f"{flow_run.scheduled_start_time:%Y-%m-%d %H:%MZ}"
    return f"{name} as of {as_of}"


async def carried_out(
    subject: str,
    job: Job,
    body: Callable[[Work], Awaitable[Report | State[Any]]],
    *,
    work: Work | None = None,
    outcome: Outcome | None = None,
    is_open_failed: bool = False,
) -> State[Any]:
    """Do a flow's work and return the state in which its flow run ends.

    Settings and home are those of the environment unless `work` brings them. What came
    of it is also put into `outcome`, the error as it was raised. A body that has no
    report returns the state itself. With `is_open_failed` a run that leaves something
    open (exit status 3 of the command) has failed.
    """
    outcome = outcome if outcome is not None else Outcome()
    watch = Watch(subject, work.screen if work else None)
    with watch.shown():
        try:
            ready = _opened(job, watch) if work is None else replace(work, screen=watch)
            ready.steps, ready.cluster = as_tasks, as_cluster_tasks
            ended = await body(ready)
            if isinstance(ended, State):
                watch.end()
                return ended
            outcome.report = ended
        except RetrobadgeError as error:
            outcome.error = error
            outcome.report = error.report
        except Exception as error:  # noqa: BLE001 - its text may hold a row
            outcome.error = error
            if work is None:
                traceback.print_exception(error, file=sys.stderr)
        watch.end()
    if outcome.report is not None:
        await show_summary(subject, outcome.report)
        emit_outcome(subject, outcome.report)
    return _ended(outcome, is_open_failed=is_open_failed)


def _opened(job: Job, watch: Watch) -> Work:
    os.umask(0o077)
    chosen = settings(os.environ, env_file=PROJECT / ".env")
    return Work(job, chosen, open_home(chosen.retrobadge_home), screen=watch)


async def as_tasks(name: str, function: Callable[..., Any], *values: Any) -> Any:
    """Run a step as a task, which knows nothing but its name.

    What a step works with and what it returns stays in this process: Prefect neither
    hashes nor stores it, and of a failure it learns one line.
    """
    done: list[Any] = []
    failed: list[Exception] = []

    @task(name=name, retries=0, cache_policy=NO_CACHE, persist_result=False)
    async def step() -> State[Any] | None:
        try:
            result = function(*values)
            done.append(await result if isinstance(result, Awaitable) else result)
        except Exception as error:  # noqa: BLE001 - raised again, outside the task
            failed.append(error)
            return Failed(message=error_line(error))
        if isinstance(done[0], Plan):
            await show_plan(done[0])
        return None

    named = step.with_options(task_run_name=step_name(name, values))
    state = await cast("Awaitable[State[Any]]", named(return_state=True))
    if failed:
        raise failed[0]
    if not done:
        await state.aresult()
    return done[0]


def _ended(outcome: Outcome, *, is_open_failed: bool) -> State[Any]:
    """Return the state that says in one line how a run ended.

    A flow run fails where a person must look, or it must run again. One that was to
    stop at an hour, and one that left awards open, have done what they were asked to,
    and say so. States keep Prefect's own names: automations go by them.
    """
    report, error = outcome.report, outcome.error
    if report is None or not (error is None or isinstance(error, StoppedPartWay)):
        return _failed(error or AssertionError("no report and no error"))
    if not report.is_balanced:
        return _failed(Unbalanced(*report.errors))
    if error is not None and report.stopped_by != "--stop-at":
        return _failed(error)
    return _finished(report, is_open_failed=is_open_failed)


def _finished(report: Report, *, is_open_failed: bool) -> State[Any]:
    told, data = report_line(report), report.as_json()
    if report.stopped_by == "--stop-at":
        left = f"stopped at the hour asked for, the next run goes on: {told}"
        return Completed(message=left, data=data)
    if report.exit_status == StoppedPartWay.exit_status:
        why = report.stopped_by or "requests are left"
        return Failed(message=f"stopped part-way ({why}), run again: {told}")
    if report.exit_status == 3 and is_open_failed:
        return Failed(message=f"look: {told}")
    return Completed(message=told, data=data)


def _failed(error: BaseException) -> State[Any]:
    for one in getattr(error, "faults", ()):
        get_run_logger().error("%s", fault_line(error, one))
    words = {1: "refused: ", 4: "stopped part-way: ", 5: "look: "}
    word = words.get(getattr(error, "exit_status", 0), "")
    return Failed(message=f"{word}{error_line(error)}")
