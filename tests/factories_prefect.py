"""A Prefect server and a worker in processes of their own, in a folder of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import orjson

PROJECT = Path(__file__).resolve().parent.parent
POOL = "local"
# How long a thing may take on a machine that is busy with other things.
PATIENCE = 90.0


@dataclass
class Orchestra:
    """A running server, and workers that are started and killed by a test."""

    folder: Path
    port: int
    environ: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the address of the API."""
        return f"http://127.0.0.1:{self.port}/api"

    def start(self, name: str, *arguments: str, **environ: str) -> subprocess.Popen:
        """Start `prefect …` in a session of its own; its output is a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                env={**self.environ, **environ},
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, **environ: str) -> subprocess.Popen:
        """Start a worker whose flow runs have these settings."""
        return self.start("worker", "worker", "start", "--pool", POOL, **environ)

    def prefect(self, *arguments: str) -> str:
        """Run a command of Prefect to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env=self.environ,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        """Call the server's API."""
        request = Request(  # noqa: S310 - loopback
            f"{self.url}/{path}",
            data=None if method == "GET" else orjson.dumps(body or {}),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return orjson.loads(answer.read() or b"null")

    def ask(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of a deployment; return the flow run's id."""
        found = self.call(f"deployments/name/{deployment}", method="GET")
        body = {
            "state": {"type": "SCHEDULED"},
            "parameters": {"parameters": parameters},
        }
        return self.call(f"deployments/{found['id']}/create_flow_run", body)["id"]

    def state(self, run_id: str) -> dict[str, Any]:
        """Return the state of a flow run."""
        return self.call(f"flow_runs/{run_id}", method="GET")["state"]

    def ended(self, run_id: str, *names: str) -> dict[str, Any]:
        """Return a flow run's state as soon as it is final, or has one of the names."""
        final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        return until(
            lambda: (
                (state := self.state(run_id))
                and (state["type"] in final or state["name"] in names)
                and state
            ),
            f"the end of {run_id}",
        )

    def artifacts(self, run_id: str) -> dict[str, str]:
        """Return the artifacts of a flow run, the newest of each key."""
        body = {
            "flow_runs": {"id": {"any_": [run_id]}},
            "sort": "CREATED_DESC" if False else "ID_DESC",
        }
        found = self.call("artifacts/filter", body)
        return {one["key"]: str(one["data"]) for one in found}

    def stop(self) -> None:
        """End every process that was started here, and what it has started."""
        for process in reversed(self.processes):
            kill_group(process)


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process and its children with SIGKILL, as a machine that dies would."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=PATIENCE)


def until(asked: Any, what: str, *, seconds: float = PATIENCE) -> Any:
    """Return the first answer that is true; fail when there is none in time."""
    give_up_at = time.monotonic() + seconds
    pause = socket.socketpair()[0]
    pause.settimeout(0.2)
    while time.monotonic() < give_up_at:
        try:
            if answer := asked():
                return answer
        except (URLError, ConnectionError):
            pass
        try:
            pause.recv(1)
        except TimeoutError:
            continue
    raise AssertionError(f"waited {seconds:.0f} seconds for {what}")


@contextmanager
def orchestra(folder: Path, **environ: str) -> Iterator[Orchestra]:
    """Run a Prefect server with nothing in it, and nothing that leaves the machine."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Orchestra(
        folder,
        port,
        {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "DO_NOT_TRACK": "1",
            **environ,
        },
    )
    try:
        made.start("server", "server", "start", "--port", str(port))
        until(lambda: made.call("health", method="GET"), "the server")
        made.prefect("work-pool", "create", POOL, "--type", "process")
        made.prefect("deploy", "--all")
        yield made
    finally:
        made.stop()
