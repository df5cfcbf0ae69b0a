"""Measures the heavy stages against a baseline in the same run: `make bench`.

Every figure is taken in a process of its own, so that time and peak memory are that
stage's alone; ours and the baseline take turns, and the ratio is that of the medians.
Prints a table and writes it to `tests/benchmarks/results.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

RESULTS = Path(__file__).parent / "results.md"
AS_OF = "2018-06-01T00:00:00+00:00"
BADGE = "653de334b3cda7078c7c68eb"


def qualify(folder: Path, rule: str) -> int:
    """Qualify the whole activity by one rule."""
    from datetime import datetime  # noqa: PLC0415

    import polars as pl  # noqa: PLC0415

    from transforms.rules.qualifications import qualifications, required_columns  # noqa: PLC0415

    badge = _badge(rule)
    wanted = required_columns(badge)
    activity = pl.scan_parquet(folder / "activity.parquet").select(
        name for name in _columns(folder) if name in wanted
    )
    met = qualifications(
        activity,
        badge,
        timezone="UTC",
        as_of=datetime.fromisoformat(AS_OF),
        amount_decimals=2,
    )
    return met.height


def _columns(folder: Path) -> list[str]:
    import polars as pl  # noqa: PLC0415

    return pl.scan_parquet(folder / "activity.parquet").collect_schema().names()


def _badge(rule: str) -> Any:
    from transforms.definition.definition import parse_definition  # noqa: PLC0415

    text = f"""
name = "bench"
timezone = "UTC"
[activity]
files = ["x.csv"]
columns = {{ customer_id = "c", activity_id = "b", occurred_at = "t", amount = "a", \
store = "s", type = "k" }}
[badges.one]
badge_meta_id = "{BADGE}"
reference_id = "r"
rule = {rule}
"""
    return parse_definition(text, path="bench.toml").badges[0]


def in_duckdb(folder: Path, query: str) -> int:
    """Answer the same question with the best SQL, two threads as ours has."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = connection.read_parquet(str(folder / "activity.parquet"))
        source.create_view("activity")
        return len(connection.sql(query).to_arrow_table())


RULES = {
    "activity_count, the 20th": (
        '{ kind = "activity_count", at_least = 20 }',
        """SELECT customer_id, occurred_at, activity_id FROM activity QUALIFY
        row_number() OVER (PARTITION BY customer_id ORDER BY occurred_at, activity_id)
        = 20""",
    ),
    "total_amount, 500 within 30 d": (
        '{ kind = "total_amount", at_least = 500, within = "30d" }',
        """SELECT customer_id, min(us) FROM (
            SELECT customer_id, us, sum(amount) OVER (
                PARTITION BY customer_id ORDER BY us
                RANGE BETWEEN 2591999999999 PRECEDING AND CURRENT ROW) AS running
            FROM (SELECT customer_id, amount, epoch_us(occurred_at) AS us FROM activity)
        ) WHERE running >= 50000 GROUP BY customer_id""",
    ),
    "distinct_count, 15 stores": (
        '{ kind = "distinct_count", of = "store", at_least = 15 }',
        """SELECT customer_id, first_at FROM (
            SELECT customer_id, store, min(occurred_at) AS first_at
            FROM activity GROUP BY ALL
        ) QUALIFY
        row_number() OVER (PARTITION BY customer_id ORDER BY first_at) = 15""",
    ),
}


def accept(folder: Path) -> int:
    """Accept a CSV: typed, checked, bad rows set aside, written as Parquet."""
    from flows.files.activity_files import accept_file, find_files  # noqa: PLC0415
    from transforms.definition.definition import parse_definition  # noqa: PLC0415

    definition = parse_definition(
        f"""
name = "bench"
timezone = "UTC"
[activity]
files = ["activity.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid", store = "store", type = "kind" }}
[badges.one]
badge_meta_id = "{BADGE}"
reference_id = "r"
rule = {{ kind = "activity_count", at_least = 1 }}
""",
        path=str(folder / "bench.toml"),
    )
    with tempfile.TemporaryDirectory() as home:
        (found,) = find_files(definition)
        return accept_file(found, definition, Path(home)).rows_accepted


def convert(folder: Path) -> None:
    """Convert the same CSV to the same Parquet with Polars alone, unchecked."""
    import polars as pl  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as home:
        pl.scan_csv(
            folder / "activity.csv",
            schema={
                "who": pl.Int64,
                "bill": pl.String,
                "at": pl.String,
                "paid": pl.Float64,
                "store": pl.String,
                "kind": pl.String,
            },
        ).with_columns(
            pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").alias("at"),
            (pl.col("paid") * 100).round().cast(pl.Int64).alias("paid"),
        ).sink_parquet(Path(home) / "out.parquet")


def dispatch(folder: Path) -> int:
    """Send reserved awards with the whole ledger on our side."""
    from rig_bench import send_all  # noqa: PLC0415

    return asyncio.run(send_all(folder))


def plain_httpx(folder: Path) -> int:
    """Send as many with a plain asyncio script that keeps nothing but a count."""
    from rig_bench import send_plainly  # noqa: PLC0415

    return asyncio.run(send_plainly(folder))


def measured(function: Callable[..., Any], *values: Any) -> tuple[float, float]:
    """Return seconds and peak MB of one call in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_measure, args=(queue, function, values))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{function.__name__} failed")
    return queue.get()  # type: ignore[no-any-return]


def _measure(queue: Any, function: Callable[..., Any], values: tuple[Any, ...]) -> None:
    # What a process imports once is no part of a stage.
    import duckdb  # noqa: F401, PLC0415
    import rig_bench  # noqa: F401, PLC0415

    import flows.files.activity_files  # noqa: F401, PLC0415

    started = time.perf_counter()
    function(*values)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    queue.put((seconds, peak))


def row(name: str, ours: Any, baseline: Any, against: str, rounds: int) -> str:
    """Return a line of the table: medians of some rounds taken in turn."""
    pairs = [(measured(*ours), measured(*baseline)) for _ in range(rounds)]
    mine = statistics.median(pair[0][0] for pair in pairs)
    theirs = statistics.median(pair[1][0] for pair in pairs)
    peaks = [max(pair[side][1] for pair in pairs) for side in (0, 1)]
    told = (
        f"| {name} | {mine:.2f} s, {peaks[0]:.0f} MB | {against}: {theirs:.2f} s, "
        f"{peaks[1]:.0f} MB | {mine / theirs:.2f} |"
    )
    print(told, flush=True)  # noqa: T201  a benchmark prints
    return told


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    from made_activity import accepted, csv_of  # noqa: PLC0415

    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = accepted(asked.rows, customers=max(asked.rows // 50, 1))
        made.write_parquet(folder / "activity.parquet")
        csv_of(made).write_csv(folder / "activity.csv")
        del made
        for kind, (rule, query) in RULES.items():
            ours, theirs = (qualify, folder, rule), (in_duckdb, folder, query)
            lines.append(row(kind, ours, theirs, "DuckDB", asked.rounds))
        ours, theirs = (accept, folder), (convert, folder)
        lines.append(
            row("accept a CSV", ours, theirs, "Polars, unchecked", asked.rounds)
        )
        ours, theirs = (dispatch, folder), (plain_httpx, folder)
        lines.append(
            row(
                "send 50,000 awards, 500 a call",
                ours,
                theirs,
                "plain httpx",
                asked.rounds,
            )
        )
    head = (
        f"{asked.rows:,} rows, medians of {asked.rounds}, on {platform.machine()} with "
        f"Python {platform.python_version()}; both sides in the same run.\n\n"
        "| stage | Retrobadge | baseline | ratio |\n|---|---|---|---|\n"
    )
    RESULTS.write_text("# Benchmarks\n\n" + head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
