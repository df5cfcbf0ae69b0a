"""Measures a year of nights: each brings a file, and a run that reads what is new.

    .venv/bin/python tests/benchmarks/nights.py --nights 365 --rows 2000

Every night adds a day's file; every thirtieth also exports an old day again, with one
row changed. The runs are those of the pipeline, one after the other in one home and
against the sandbox, so the start of a process (two to three seconds) is not in them.
Prints a table of medians per month, for docs/operations.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from made_activity import accepted, csv_of

from flows.home import open_home
from flows.pipeline import Work, import_badges
from flows.records.audit import queried
from flows.runs.job import Job
from flows.sandbox import Sandbox
from flows.settings import settings

BADGE = "653de334b3cda7078c7c68eb"
START = datetime(2017, 1, 1, tzinfo=UTC)
AGAIN = 30
DEFINITION = f"""
name = "nights"
timezone = "UTC"

[activity]
files = ["days/*.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid" }}

[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "bench"
repeat = true
where = "amount > 0"
rule = {{ kind = "activity_count", at_least = 5, per = "month" }}
"""


@dataclass(frozen=True)
class Night:
    """What one night took."""

    seconds: float
    cpu_seconds: float
    rows_new: int
    rows_read_now: int
    rows: int
    awards: int
    earn_calls: int
    calls: int


def measured(folder: Path, *, nights: int, rows: int) -> list[Night]:
    """Live through so many nights; return what each took."""
    days = folder / "days"
    days.mkdir()
    (folder / "nights.toml").write_text(DEFINITION)
    activity = csv_of(accepted(365 * rows, customers=max(365 * rows // 60, 1)))
    home = open_home(folder / "home")
    found = []
    with Sandbox.running() as sandbox:
        sandbox.add_badge(BADGE, "Regular", reference_id="bench")
        chosen = settings(
            {
                "CAPILLARY_BASE_URL": sandbox.base_url,
                "CAPILLARY_USERNAME": sandbox.username,
                "CAPILLARY_PASSWORD": sandbox.password,
                "CAPILLARY_REQUESTS_PER_MINUTE": "0",
                "RETROBADGE_HOME": str(home.root),
            },
            env_file=None,
        )
        for night in range(nights):
            new = written(days, activity, night, rows)
            job = Job(
                definition=folder / "nights.toml",
                as_of=START + timedelta(days=night + 1, hours=4),
                is_confirmed=True,
            )
            began, began_cpu = time.perf_counter(), time.process_time()
            report = asyncio.run(import_badges(Work(job, chosen, home)))
            seconds = time.perf_counter() - began
            cpu_seconds = time.process_time() - began_cpu
            if report.exit_status:
                raise SystemExit(f"night {night}: {report.as_json()}")
            read_now = home_rows_read_now(home.audit, report.run_id)
            counts = report.counts
            found.append(
                Night(
                    seconds,
                    cpu_seconds,
                    new,
                    read_now,
                    counts["rows_read"],
                    counts["awards_planned"],
                    counts["earn_calls"],
                    counts["calls"],
                )
            )
            show_progress(night, found[-1])
    return found


def written(days: Path, activity: pl.DataFrame, night: int, rows: int) -> int:
    """Write the day's file, and now and then an old one again; return their rows."""
    day = activity.slice(night * rows, rows)
    day.write_csv(days / f"{night:03d}.csv")
    if night % AGAIN or not night:
        return day.height
    old = pl.read_csv(days / f"{night // 2:03d}.csv", infer_schema=False)
    corrected = old.with_columns(
        paid=pl.when(pl.int_range(pl.len()) == night)
        .then(pl.lit("1.00"))
        .otherwise("paid")
    )
    corrected.write_csv(days / f"{night // 2:03d}.csv")
    return day.height + old.height


def home_rows_read_now(audit: Path, run_id: str | None) -> int:
    """Return how many rows a run read, as its audit has it."""
    query = f"SELECT rows_read_now FROM runs WHERE run_id = '{run_id}'"
    return int(queried(audit, query).item())


def show_progress(number: int, night: Night) -> None:
    """Say on stderr how far it is."""
    if number % 10 == 0:
        sys.stderr.write(
            f"night {number}: {night.seconds:.2f} s, {night.cpu_seconds:.2f} s of CPU\n"
        )


def table(nights: list[Night]) -> str:
    """Return the medians of every thirty nights as a table."""
    lines = [
        "| nights | rows in all | rows read now | awards | calls | seconds | of CPU |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for first in range(0, len(nights), 30):
        month = nights[first : first + 30]

        def median(name: str, month: list[Night] = month) -> float:
            return statistics.median(getattr(night, name) for night in month)

        lines.append(
            f"| {first + 1} to {first + len(month)} | {month[-1].rows:,} | "
            f"{median('rows_read_now'):,.0f} | {median('awards'):,.0f} | "
            f"{median('calls'):,.0f} | {median('seconds'):.2f} | "
            f"{median('cpu_seconds'):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--rows", type=int, default=2_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nights-") as folder:
        nights = measured(Path(folder), nights=asked.nights, rows=asked.rows)
    sys.stdout.write(f"{table(nights)}\n")
    wrong = [
        n for n, night in enumerate(nights) if night.rows_read_now != night.rows_new
    ]
    read, there = (
        sum(getattr(n, k) for n in nights) for k in ("rows_read_now", "rows")
    )
    sys.stdout.write(
        f"\n{len(nights)} nights read {read:,} rows; without keeping what was accepted "
        f"they would have read {there:,}. Nights that read more than was new: "
        f"{len(wrong)}.\n"
    )


if __name__ == "__main__":
    main()
