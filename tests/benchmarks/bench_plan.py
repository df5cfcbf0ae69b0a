"""Plans: the whole command on the sample year, and the planning of many rows.

Belongs here: `retrobadge plan` as a person runs it, its start included, when every file
is known already; and planning two badges over accepted rows against two bare queries,
which neither look for awards that are there already nor make one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from bench_qualify import AS_OF, CASES, definition_of

ROOT = Path(__file__).parent.parent.parent
DEFINITION = ROOT / "data" / "imports" / "grocery-2017.toml"
_CASES = {case.name: case for case in CASES}
PLANNED = (_CASES["activity_count"], _CASES["total_amount within"])


@contextmanager
def sandbox() -> Iterator[dict[str, str]]:
    """Run a sandbox with the sample's badges; give the settings that lead to it."""
    retrobadge = str(Path(sys.executable).with_name("retrobadge"))
    told = [retrobadge, "sandbox", "--port", "0", "--badges", str(DEFINITION)]
    with subprocess.Popen(
        told, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            if process.stdout is None:
                raise AssertionError
            found: dict[str, str] = {}
            while "CAPILLARY_PASSWORD" not in found:
                line = process.stdout.readline().decode()
                if not line:
                    raise SystemExit("the sandbox did not start")
                if match := re.fullmatch(r"(CAPILLARY_\w+)=(.*)\n", line):
                    found[match[1]] = match[2]
            yield {**found, "CAPILLARY_REQUESTS_PER_MINUTE": "0"}
        finally:
            process.terminate()
            process.communicate()


def plan_command(home: Path) -> list[str]:
    """Return the command that plans the sample."""
    retrobadge = str(Path(sys.executable).with_name("retrobadge"))
    return [retrobadge, "plan", str(DEFINITION), "--home", str(home), "--json"]


def ours(path: Path, rows: int) -> Any:
    """Plan two badges over accepted rows; nothing is in the ledger yet."""
    from flows.files.activity_files import AcceptedFile  # noqa: PLC0415
    from flows.planning import Selection, made_plan  # noqa: PLC0415
    from flows.records.audit import NOTHING_KNOWN  # noqa: PLC0415
    from transforms.platform.badges import BadgeFacts  # noqa: PLC0415

    definition = definition_of(*(case.rule for case in PLANNED))
    file = AcceptedFile(
        source=definition.sources[0].name,
        path="activity.csv",
        file_order=0,
        fingerprint="f",
        content="c",
        settings="s",
        rows_read=rows,
        rows_accepted=rows,
        rows_anonymous=0,
        rows_unmapped=0,
        rows_excluded=0,
        rows_rejected=0,
        rows_duplicate=0,
        is_read_now=False,
        accepted_path=path,
        rejected_path=path,
    )
    plan = made_plan(
        definition,
        [file],
        {
            one.name: BadgeFacts(badge_meta_id=one.badge_meta_id)
            for one in definition.badges
        },
        Selection(as_of=AS_OF),
        known_awards=lambda *_: pl.DataFrame(schema=NOTHING_KNOWN),
        held=None,
        target="t",
        batch_size=100,
        requests_per_minute=90,
    )
    return partial(int, plan.planned.height)


def duckdb(path: Path) -> int:
    """Ask the two bare queries."""
    import duckdb as database  # noqa: PLC0415

    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        connection.read_parquet(str(path)).create_view("activity")
        return sum(connection.sql(case.query).pl().height for case in PLANNED)


def kept(path: Path, source: Path) -> None:
    """Write accepted rows as accept keeps them: without source and file."""
    pl.scan_parquet(source).drop("source", "file_order").sink_parquet(
        path, compression_level=1, maintain_order=True
    )
