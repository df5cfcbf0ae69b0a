"""Runs calls on a Dask cluster as tasks of the flow run, by Prefect's task runner.

Belongs here: what of `flows.cluster` is done otherwise where Prefect is told of each
task. Does not belong here: steps that stay in this process
(`flows.orchestration.runs`).

With each task Prefect sends its own context to the worker: the flow, the parameters of
the flow run, and how to reach the server. So a flow that uses this closes over nothing:
what a run works with, its login above all, never leaves its process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.cluster import (
    LOCAL,
    Each,
    Ended,
    Told,
    collected,
    ended,
    fit_client,
    opened,
    values_of,
)
from flows.orchestration.words import error_line, step_name
from transforms.errors import SettingsRefused


class Call:
    """A function and its values, as one thing that Prefect doesn't look into."""

    def __init__(self, function: Callable[..., Any], values: tuple[Any, ...]) -> None:
        self.function = function
        self.values = values


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def on_worker(call: Call) -> State[Any]:
    """Call a function on a worker; of a failure the server learns one line."""
    came = ended(call.function, call.values)
    if came.error is not None:
        return Failed(message=error_line(came.error), data=came)
    return Completed(data=came)


@asynccontextmanager
async def as_cluster_tasks(address: str, folder: Path) -> AsyncIterator[Each]:
    """Give what runs calls as tasks on the workers; see `flows.cluster.on_cluster`."""
    with opened(address) as place:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415

        chosen = {"cluster" if address == LOCAL else "address": place}
        runner = DaskTaskRunner(**chosen)
        with runner:
            client = fit_client(lambda: runner.client, address, folder)

            async def each(
                name: str,
                function: Callable[..., Any],
                calls: Sequence[tuple[Any, ...]],
                told: Told,
            ) -> list[Any]:
                step = on_worker.with_options(name=name)
                futures = [
                    runner.submit(
                        step.with_options(task_run_name=step_name(name, values)),
                        parameters={"call": Call(function, values)},
                    ).wrapped_future
                    for values in calls
                ]
                states = await collected(client, futures, name, told)
                return values_of([_ended(state, name) for state in states])

            yield each


def _ended(state: State[Any], name: str) -> Ended:
    """Return what came of a task; one that Prefect itself ended has no result."""
    came = getattr(state.data, "result", None)
    if isinstance(came, Ended):
        return came
    error = SettingsRefused.of(
        "dask_task",
        f"a worker could not run a task of '{name}' ({state.name}): it must reach "
        "Prefect's server at PREFECT_API_URL; its log says more",
        column="RETROBADGE_DASK",
    )
    return Ended(error=error)
