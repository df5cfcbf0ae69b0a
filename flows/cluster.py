"""Runs tasks that compute on a Dask cluster: `RETROBADGE_DASK`.

Belongs here: connecting, making sure that the workers are fit, sending calls out and
collecting what came of them. Does not belong here: what is computed
(`flows.files.activity_files`, `flows.qualifying`), and Prefect's way of running the
same calls (`flows.orchestration.cluster_tasks`).

What travels is a function's name and small values: paths, counts, the definition. Rows
stay in files that both sides see. No call of the platform, no login and nothing of the
ledger leaves the process of the run.

Dask is loaded when a cluster is asked for. A task never raises on a worker, whose log
would then quote what the task was given: it returns its error.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pickle
import platform
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import polars as pl

from transforms.errors import Fault, RetrobadgeError, SettingsRefused

LOCAL: Final = "local"
_MOST_LOCAL_WORKERS: Final = 4
_WORKERS_WITHIN_SECONDS: Final = 30.0
_PROJECT: Final = Path(__file__).resolve().parent.parent

Told = Callable[[int], None]


class Each(Protocol):
    """Runs one function on each of many sets of values, perhaps at the same time."""

    async def __call__(
        self,
        name: str,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        told: Told,
    ) -> list[Any]:
        """Return the results in the order of the calls; `told` hears how many ended.

        Raises what the first call that failed raised.
        """


Cluster = Callable[[str, Path], AbstractAsyncContextManager[Each]]


@dataclass(frozen=True)
class Ended:
    """What came of a task on a worker: a value, or the error with its traceback."""

    value: Any = None
    error: Exception | None = None
    trace: str = ""


@asynccontextmanager
async def on_cluster(address: str, folder: Path) -> AsyncIterator[Each]:
    """Give what runs calls on a cluster; `folder` must be one for all machines.

    `address` is a scheduler's, or `local` for a cluster of this machine that ends with
    the run. Raises SettingsRefused for one that can't be used.
    """
    with connected(address, folder) as client:

        def submitted(
            name: str, function: Callable[..., Any], values: tuple[Any, ...]
        ) -> Any:
            key = f"{name.replace(' ', '-')}-{uuid4().hex}"
            return client.submit(ended, function, values, key=key, pure=False)

        async def each(
            name: str,
            function: Callable[..., Any],
            calls: Sequence[tuple[Any, ...]],
            told: Told,
        ) -> list[Any]:
            futures = [submitted(name, function, values) for values in calls]
            return values_of(await collected(client, futures, name, told))

        yield each


def ended(function: Callable[..., Any], values: tuple[Any, ...]) -> Ended:
    """Call a function where the task runs; return what came of it."""
    try:
        return Ended(value=function(*values))
    except Exception as error:  # noqa: BLE001 - raised again where the run is
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - made just before
        except Exception:  # noqa: BLE001 - whatever can't travel, is told in words
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return Ended(error=error, trace=trace)


def values_of(results: Sequence[Ended]) -> list[Any]:
    """Return the values, or raise the first error as it was raised on its worker."""
    for result in results:
        if result.error is not None:
            if not isinstance(result.error, RetrobadgeError):
                result.error.add_note(f"on a worker:\n{result.trace}")
            raise result.error
    return [result.value for result in results]


@contextmanager
def connected(address: str, folder: Path) -> Iterator[Any]:
    """Give a client of the cluster, in which all workers are fit."""
    with opened(address) as place:
        from distributed import Client  # noqa: PLC0415

        def made() -> Client:
            return Client(  # type: ignore[no-untyped-call]
                place, set_as_default=False
            )

        with fit_client(made, address, folder) as client:
            yield client


def fit_client(make: Callable[[], Any], address: str, folder: Path) -> Any:
    """Return the client that is made, once its workers are known to be fit."""
    try:
        client = make()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from None
    try:
        _refuse_unfit(client, address, folder)
    except SettingsRefused:
        client.close()
        raise
    return client


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """Give an address to connect to, or a cluster of this machine while it is used."""
    try:
        import dask  # noqa: PLC0415
        import distributed  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsRefused.of(
            "dask_missing",
            "Dask is not installed: `make setup` installs it; else install the group "
            "`dask` of pyproject.toml",
            column="RETROBADGE_DASK",
        ) from None
    if address != LOCAL:
        yield address
        return
    # Its ports are on loopback; without certificates anybody here could use them.
    with (
        dask.config.set({"distributed.scheduler.http.routes": []}),
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=min(_MOST_LOCAL_WORKERS, os.cpu_count() or 1),
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            security=True,
        ) as cluster,
    ):
        yield cluster


async def collected(
    client: Any, futures: Sequence[Any], name: str, told: Told
) -> list[Any]:
    """Return the results of Dask's futures, waited for outside the event loop."""
    loop = asyncio.get_running_loop()

    def waited() -> list[Any]:
        from distributed import as_completed  # noqa: PLC0415

        try:
            ending = as_completed(  # type: ignore[no-untyped-call]
                futures, loop=client.loop
            )
            for count, _ in enumerate(ending, start=1):
                loop.call_soon_threadsafe(told, count)
            return list(client.gather(list(futures)))
        # A lost scheduler is a cancelled future, which must not look like Ctrl-C.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            raise _lost(name, error) from None

    return await asyncio.to_thread(waited)


def _lost(name: str, error: BaseException) -> SettingsRefused:
    return SettingsRefused.of(
        "dask_lost",
        f"the cluster lost a task of '{name}' ({type(error).__name__}): look at the "
        "logs of scheduler and workers (a worker that is killed often had too little "
        "memory), then run again; nothing was sent",
        column="RETROBADGE_DASK",
    )


def _unreachable(address: str, error: Exception) -> SettingsRefused:
    return SettingsRefused.of(
        "dask_unreachable",
        f"no Dask scheduler can be used at {address} ({type(error).__name__}): start "
        "it, mend the address, or remove RETROBADGE_DASK to use one machine",
        column="RETROBADGE_DASK",
    )


# -- workers that are fit -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a worker is and sees."""

    host: str
    is_folder_seen: bool
    versions: dict[str, str]


def _refuse_unfit(client: Any, address: str, folder: Path) -> None:
    """Refuse workers that don't see the folder, or that would compute otherwise.

    Raises SettingsRefused naming each of them.
    """
    try:
        client.wait_for_workers(1, timeout=_WORKERS_WITHIN_SECONDS)
    except TimeoutError:
        raise SettingsRefused.of(
            "dask_without_workers",
            f"no worker is connected to the scheduler at {address}: start one with "
            "`dask worker` in the project's folder",
            column="RETROBADGE_DASK",
        ) from None
    token = folder / f".{uuid4().hex}.token"
    token.touch(mode=0o600)
    try:
        looks = client.run(look, token, on_error="return")
    finally:
        token.unlink(missing_ok=True)
    ours = versions()
    faults = [
        fault
        for worker, found in looks.items()
        for fault in _unfit(str(worker), found, folder, ours)
    ]
    if faults:
        raise SettingsRefused(*faults)


def look(token: Path) -> Look:
    """Return what is to be known of the worker that this runs on."""
    return Look(
        host=socket.gethostname(), is_folder_seen=token.is_file(), versions=versions()
    )


def _unfit(
    worker: str, found: Any, folder: Path, ours: dict[str, str]
) -> Iterator[Fault]:
    if not isinstance(found, Look):
        message = (
            f"the worker {worker} can't run this project ({type(found).__name__}): "
            "start it in the project's folder, with the project's environment"
        )
        yield Fault(code="dask_worker", message=message, column="RETROBADGE_DASK")
        return
    if not found.is_folder_seen:
        message = (
            f"the worker {worker} on {found.host} doesn't see this file system: mount "
            "the home's accepted/ there under the same path"
        )
        yield Fault(
            code="dask_unshared",
            message=message,
            file=str(folder),
            column="RETROBADGE_DASK",
        )
    for name, version in ours.items():
        if found.versions.get(name) != version:
            message = (
                f"the worker {worker} on {found.host} has {name} "
                f"{found.versions.get(name)}, and this run {version}: install the same "
                "project there, and start the worker again"
            )
            yield Fault(code="dask_worker", message=message, column="RETROBADGE_DASK")


@cache
def versions() -> dict[str, str]:
    """Return what decides what comes out of a task: code, Polars, Python."""
    code = hashlib.sha256()
    for part in ("flows", "transforms"):
        for path in sorted((_PROJECT / part).rglob("*.py")):
            code.update(str(path.relative_to(_PROJECT)).encode())
            code.update(path.read_bytes())
    return {
        "code": code.hexdigest()[:12],
        "Polars": pl.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }
