"""A small brand: a definition, a file of visits, a home, and a sandbox to send to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from flows.home import Home, open_home
from flows.pipeline import Work, import_badges
from flows.records.audit import queried
from flows.runs.job import Job
from flows.runs.report import Report
from flows.sandbox import Sandbox, Switches
from flows.settings import settings

BADGE = "653de334b3cda7078c7c68eb"
DEFINITION = f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid" }}

[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {{ kind = "activity_count", at_least = 2 }}
"""


def visits(
    customers: Iterable[int], *, each: int = 2, day: int = 1, bill: str = "b"
) -> str:
    """Return a CSV in which every customer visits so often, a day after the other."""
    rows = [
        f"{customer},{bill}{customer}-{n},2017-05-{day + n:02d}T12:00:00,9.99"
        for customer in customers
        for n in range(each)
    ]
    return "\n".join(["who,bill,at,paid", *rows, ""])


@dataclass
class Brand:
    """One brand's folder, its home, and the sandbox its settings name."""

    folder: Path
    home: Home
    sandbox: Sandbox
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def definition(self) -> Path:
        """Return the import definition."""
        return self.folder / "visits.toml"

    def write(self, **files: str) -> None:
        """Write activity files: name without its ending → text."""
        for name, text in files.items():
            (self.folder / f"{name}.csv").write_text(text)

    def define(self, text: str = DEFINITION, **replaced: str) -> None:
        """Write the definition, with some of its words replaced."""
        for word, other in replaced.items():
            text = text.replace(word, other)
        self.definition.write_text(text)

    def work(self, **job: Any) -> Work:
        """Return a run's work, confirmed unless it says otherwise."""
        asked = {"definition": self.definition, "is_confirmed": True, **job}
        return Work(Job(**asked), settings(self.environ, env_file=None), self.home)

    def run(self, **job: Any) -> Report:
        """Run an import in this process."""
        return asyncio.run(import_badges(self.work(**job)))

    def command(
        self, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            env={**bare_environment(), **self.environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            input=stdin,
        )

    def ask(self, query: str) -> pl.DataFrame:
        """Ask the audit."""
        return queried(self.home.audit, query)

    def statuses(self) -> dict[str, int]:
        """Return how many awards stand where."""
        found = self.ask("SELECT status, count(*) FROM audit GROUP BY status")
        return dict(found.iter_rows())


@contextmanager
def brand(
    folder: Path,
    *,
    switches: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[Brand]:
    """Run a sandbox with one badge and give a brand that sends to it."""
    place = folder / "brand"
    place.mkdir()
    with Sandbox.running(switches=Switches(**(switches or {})), port=port) as sandbox:
        sandbox.add_badge(BADGE, "Regular", reference_id="retro")
        made = Brand(place, open_home(folder / "home"), sandbox)
        made.environ = {
            "CAPILLARY_BASE_URL": sandbox.base_url,
            "CAPILLARY_USERNAME": sandbox.username,
            "CAPILLARY_PASSWORD": sandbox.password,
            "CAPILLARY_REQUESTS_PER_MINUTE": "0",
            "CAPILLARY_BATCH_SIZE": "5",
            "CAPILLARY_TIMEOUT_SECONDS": "0.5",
            "CAPILLARY_RESEND_AFTER_SECONDS": "1",
            "CAPILLARY_SETTLE_AFTER_SECONDS": "1.5",
            "RETROBADGE_HOME": str(made.home.root),
            **(environ or {}),
        }
        made.define()
        yield made


def bare_environment() -> dict[str, str]:
    """Return this process's environment without any setting of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CAPILLARY_", "RETROBADGE_", "PREFECT_"))
    }
