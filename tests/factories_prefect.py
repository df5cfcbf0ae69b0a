"""A Prefect server and a worker in processes of their own, in a folder of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson

PROJECT = Path(__file__).resolve().parent.parent
POOL = "local"
SECRET_BLOCK = "capillary-password"
# How long a thing may take on a machine that is busy with other things.
PATIENCE = 150.0
# What the server does besides, and these tests have no use for: its database is one
# file, and on a busy machine its writers hold each other up, for a minute at a time.
UNUSED = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TASK_RUN_RECORDER",
)
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


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

    def start(
        self, name: str, *arguments: str, **environ: str
    ) -> subprocess.Popen[bytes]:
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

    def worker(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start a worker whose flow runs have these settings."""
        return self.start("worker", "worker", "start", "--pool", POOL, **environ)

    def run(self, *arguments: str) -> str:
        """Run a command of this Python to its end; return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environ,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, path: str, body: Any = None) -> Any:
        """Call the server's API: with a body it is a POST, else a GET."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"}
        asked = Request(f"{self.url}/{path}", data=data, headers=headers)  # noqa: S310 - loopback
        never = threading.Event()
        for _ in range(50):
            try:
                with urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310 - loopback
                    return orjson.loads(answer.read() or b"null")
            except HTTPError as error:
                if error.code != 503:  # its database is busy, and did nothing
                    raise
            never.wait(0.2)
        raise AssertionError(f"the server is too busy for {path}")

    def keep_secret(self, value: str) -> None:
        """Make the Secret block that docs/work-pool.json names."""
        kind = self.call("block_types/slug/secret")["id"]
        wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        body = {
            "name": SECRET_BLOCK,
            "data": {"value": value},
            "block_type_id": kind,
            "block_schema_id": self.call("block_schemas/filter", wanted)[0]["id"],
        }
        self.call("block_documents/", body)

    def ask(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of a deployment; return the flow run's id."""
        found = self.call(f"deployments/name/{deployment}")
        body = {
            "state": {"type": "SCHEDULED"},
            "parameters": {"parameters": parameters},
        }
        return self.call(f"deployments/{found['id']}/create_flow_run", body)["id"]

    def flow_run(self, run_id: str) -> dict[str, Any]:
        """Return a flow run as the server has it."""
        return self.call(f"flow_runs/{run_id}")

    def ended(self, run_id: str, *names: str) -> tuple[str, str]:
        """Return type and message of a state that is final, or has one of the names."""

        def look() -> dict[str, Any] | None:
            state = self.flow_run(run_id)["state"]
            is_there = state["type"] in FINAL or state["name"] in names
            return state if is_there else None

        state = until(look, f"the end of a run; see {self.folder}")
        return state["type"], state["message"] or ""

    def answer(self, run_id: str, **answer: str) -> str:
        """Answer a suspended run's form; return `ACCEPT` or `REJECT`."""

        def answered() -> str | None:
            told = self.call(f"flow_runs/{run_id}/resume", {"run_input": answer})
            # A run is suspended a moment before its form is there.
            is_early = "schema not found" in str(told["details"].get("reason"))
            return None if is_early else told["status"]

        return until(answered, "the form")

    def artifacts(self, run_id: str) -> dict[str, str]:
        """Return the artifacts of a flow run, by key."""
        body = {"flow_runs": {"id": {"any_": [run_id]}}}
        found = self.call("artifacts/filter", body)
        return {one["key"]: str(one["data"]) for one in found}

    def events(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the payloads of the events whose names begin so."""
        body = {"filter": {"event": {"prefix": [prefix]}}}
        found = self.call("events/filter", body)["events"]
        return {one["event"]: one["payload"] for one in found}

    def task_runs(self) -> set[str]:
        """Return the names of all task runs, by the events that tell of them."""
        body = {"filter": {"event": {"prefix": ["prefect.task-run."]}}}
        page = self.call("events/filter", body)
        found = page["events"]
        while following := page["next_page"]:
            page = self.call(following.partition("/api/")[2])
            found += page["events"]
        return {one["resource"]["prefect.resource.name"] for one in found}

    def told(self) -> bytes:
        """Return all that server and workers have kept or printed."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in files)

    def stop(self) -> None:
        """End every process that was started here, and what it has started."""
        for process in reversed(self.processes):
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children with SIGKILL, as a machine that dies would."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=PATIENCE)


def until(asked: Callable[[], Any], what: str) -> Any:
    """Return the first answer that is true; fail when there is none in time."""
    give_up_at = time.monotonic() + PATIENCE
    never = threading.Event()
    while time.monotonic() < give_up_at:
        with suppress(URLError, ConnectionError):
            if answer := asked():
                return answer
        never.wait(0.2)
    raise AssertionError(f"waited {PATIENCE:.0f} seconds for {what}")


@contextmanager
def orchestra(folder: Path, *, secret: str) -> Iterator[Orchestra]:
    """Run a Prefect server with the project's deployments, and nothing else in it."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Orchestra(folder, port, {})
    made.environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": made.url,
        "PREFECT_SERVER_UI_API_URL": made.url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in UNUSED},
    }
    try:
        made.start("server", "server", "start", "--port", str(port))
        until(lambda: made.call("health"), "the server")
        made.keep_secret(secret)
        template = orjson.loads((PROJECT / "docs" / "work-pool.json").read_bytes())
        pool = {"name": POOL, "type": "process", "base_job_template": template}
        made.call("work_pools/", pool)
        made.run("-m", "prefect", "--no-prompt", "deploy", "--all")
        yield made
    finally:
        made.stop()


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve a webhook on loopback; gives its address and what it was told."""
    told: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            told.append(orjson.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alarm", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
