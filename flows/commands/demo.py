"""The command `demo`: the whole job on the sample activity, against the sandbox.

Belongs here: bringing up the sandbox, and what the demo shows. Does not belong here:
any part of the job itself: it is the same pipeline that a brand runs.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from flows.files.finding import read_definition
from flows.home import Home, open_home
from flows.pipeline import Work, import_badges
from flows.records.audit import queried
from flows.records.ledger import sql
from flows.runs.job import Job
from flows.runs.report import Report
from flows.sandbox import Sandbox
from flows.sandbox.preparing import badges_of
from flows.screens import terminal
from flows.settings import PROJECT, settings
from transforms.definition.definition import Definition
from transforms.errors import HomeRefused, RetrobadgeError

DEFINITION = PROJECT / "data" / "imports" / "grocery-2017.toml"
# Below the ports that a machine gives out by itself.
PORTS = range(18180, 18280)
# Questions people ask first, each answered by a query of `flows/sql`.
QUESTIONS = {
    "Who earned the most badges?": "demo_most_badges",
    "Why does that household have them, and did each one arrive?": "demo_why",
}


async def run_demo(*, port: int | None, as_json: bool) -> int:
    """Run the demo in a home of its own; return the exit status."""
    home = open_home(
        Path(os.environ.get("RETROBADGE_HOME") or PROJECT / "data" / "state" / "demo")
    )
    definition = read_definition(DEFINITION)
    with rehearsal(home, definition, port) as sandbox:
        # Whatever platform the environment names: the demo talks to its sandbox.
        chosen = settings(_environment(sandbox, home), env_file=None)
        job = Job(definition=DEFINITION, is_confirmed=True, trigger="demo")
        with terminal.Live(is_quiet=as_json) as live:
            report = await import_badges(Work(job, chosen, home, live))
    if as_json:
        terminal.print_json(report.as_json())
    else:
        _show(report, home)
    return report.exit_status


@contextmanager
def rehearsal(
    home: Home, definition: Definition, port: int | None
) -> Iterator[Sandbox]:
    """Run a sandbox that remembers what it issued in earlier demos of this home."""
    kept = home.root / "sandbox.json"
    memory = home.root / "sandbox.jsonl"
    chosen = port or _kept_port(kept) or _free_port()
    try:
        running = Sandbox.running(memory=memory, port=chosen)
        with running as sandbox:
            kept.write_text(orjson.dumps({"port": chosen}).decode())
            sandbox.seed(badges_of(definition))
            yield sandbox
    except OSError as error:
        raise _taken(chosen, home, error) from error


def _kept_port(kept: Path) -> int | None:
    """Return the port of earlier demos: a home belongs to one address."""
    if not kept.exists():
        return None
    return int(orjson.loads(kept.read_bytes())["port"])


def _free_port() -> int:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise HomeRefused.of(
        "no_port", f"no port from {PORTS.start} is free: name one with --port"
    )


def _taken(port: int, home: Home, error: OSError) -> RetrobadgeError:
    return HomeRefused.of(
        "port_taken",
        f"the sandbox can't listen on 127.0.0.1:{port} ({error.strerror}): end what "
        f"uses it, or remove {home.root} to begin a new demo",
    )


def _environment(sandbox: Sandbox, home: Home) -> dict[str, str]:
    return {
        "CAPILLARY_BASE_URL": sandbox.base_url,
        "CAPILLARY_USERNAME": sandbox.username,
        "CAPILLARY_PASSWORD": sandbox.password,
        "CAPILLARY_REQUESTS_PER_MINUTE": "0",
        "CAPILLARY_TIMEOUT_SECONDS": "10",
        "CAPILLARY_RESEND_AFTER_SECONDS": "20",
        "CAPILLARY_SETTLE_AFTER_SECONDS": "30",
        "RETROBADGE_HOME": str(home.root),
    }


def _show(report: Report, home: Home) -> None:
    out = sys.stdout.write
    out("\nPlayed against the sandbox on this machine: no platform was called.\n")
    terminal.show_table(
        "Households per badge",
        ["badge", "rule", "awards", "households", "first day", "last day"],
        queried(home.audit, sql("demo_households")).iter_rows(),
    )
    terminal.show_books(report)
    out(_calls(report, home))
    for question, name in QUESTIONS.items():
        query = sql(name).strip()
        out(f"\n{question}\n\n{query}\n")
        terminal.show_answer(queried(home.audit, query), "table")
    out(f'Ask your own: retrobadge --home {home.root} audit "SELECT …"\n')
    out(f"The audit lies in {home.audit}\n")
    if report.page is not None:
        out(f"A page with plots to look at in a browser: {report.page}\n")


def _calls(report: Report, home: Home) -> str:
    """Compare the calls that were made with the fewest that could have been."""
    if not report.counts["earn_calls"]:
        return "Nothing was left to award: no earnBulk call was made.\n"
    fewest = queried(home.audit, sql("demo_fewest_calls")).item()
    canaries = report.counts["requests"] - fewest
    return (
        f"{report.counts['earn_calls']:,} earnBulk calls; the fewest possible are "
        f"{fewest:,}, and {canaries:,} more are canaries, sent alone and read back. "
        f"{report.counts['calls']:,} calls in all.\n"
    )
