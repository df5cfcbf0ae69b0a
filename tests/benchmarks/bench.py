"""Measures the heavy stages, each against a baseline in the same run: `make bench`.

    bench.py --only accept,qualify --rows 10_000_000 --rounds 5
    bench.py --only growth --sizes 10_000_000,100_000_000 --data ~/activity
    bench.py --only ledger,dispatch-growth --awards 1_000_000,10_000_000 --rounds 1

Every figure is taken in a process of its own, so that time and peak memory are that
stage's alone; ours and the baseline take turns, and ratios are those of medians. Prints
what it writes to `tests/benchmarks/results.md`, where a section stays until it is
measured anew; how busy the machine was is said with each. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import bench_accept
import bench_dispatch
import bench_ledger
import bench_pace
import bench_plan
import bench_qualify
import made_activity
import results
from measuring import command_with_usage, compared, load, measured, median

SENDERS = 8
# More awards are reserved by several runs, and not compared with DuckDB.
MOST_AWARDS_A_RUN = 10_000_000


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, and where data is made."""

    rows: int
    rounds: int
    sizes: tuple[int, ...]
    planned_rows: int
    awards: tuple[int, ...]
    customers: int
    folder: Path
    data: Path

    def activity(self, rows: int, *, is_shuffled: bool = False) -> Path:
        """Return accepted activity of so many rows, made if it is not there yet."""
        path = self.data / f"{rows}{'-shuffled' if is_shuffled else ''}.parquet"
        if not path.exists():
            made_activity.write_accepted(path, rows, is_shuffled=is_shuffled)
        return path

    def home(self, name: str) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(prefix=name, dir=self.folder))


def qualify(asked: Asked) -> results.Section:
    """Measure every kind of rule against SQL, and the sum of them."""
    made = results.section(
        f"Qualify, {asked.rows:,} rows",
        "Every kind of rule; DuckDB answers the same question of the same Parquet "
        "file, and the answers are compared. The floor only reads the columns.",
    )
    path = asked.activity(asked.rows)
    found = []
    for case in bench_qualify.CASES:
        found.append(
            compared(
                case.name,
                partial(bench_qualify.ours, path, case.rule, asked.rows),
                partial(bench_qualify.duckdb, path, case.query),
                against="DuckDB",
                rounds=asked.rounds,
                goal=1.0,
            )
        )
        results.add(made, found[-1])
    ours, theirs = (
        [sum(getattr(getattr(one, side), name) for one in found) for name in _TIMES]
        for side in ("ours", "baseline")
    )
    made["facts"].append(
        f"All rules together: {ours[0]:.1f} s against {theirs[0]:.1f} s, ratio "
        f"**{ours[0] / theirs[0]:.2f}** (goal 0.8); of CPU {ours[1]:.1f} s against "
        f"{theirs[1]:.1f} s, ratio **{ours[1] / theirs[1]:.2f}**."
    )
    together = measured(partial(bench_qualify.all_at_once, path, asked.rows))
    made["facts"].append(
        f"As badges of one definition, which share the reading and the sort, ours take "
        f"{together.seconds:.1f} s, {together.cpu_seconds:.1f} s of CPU, "
        f"{together.peak_mb:,.0f} MB."
    )
    case = bench_qualify.CASES[0]
    shuffled = asked.activity(asked.rows, is_shuffled=True)
    one = compared(
        f"{case.name}, rows shuffled",
        partial(bench_qualify.ours, shuffled, case.rule, asked.rows),
        partial(bench_qualify.duckdb, shuffled, case.query),
        against="DuckDB",
        rounds=asked.rounds,
    )
    results.add(made, one)
    floor = measured(partial(bench_qualify.floor, path, case.rule))
    made["facts"].append(
        f"The floor, reading the columns of {case.name}: {floor.seconds:.2f} s, "
        f"{floor.cpu_seconds:.2f} s of CPU."
    )
    return made


_TIMES = ("seconds", "cpu_seconds")


def growth(asked: Asked) -> results.Section:
    """Measure two rules over growing activity: what memory does."""
    made = results.section(
        "Qualify, as activity grows",
        "A partition holds up to 25 million rows, or 100 million where a rule looks at "
        "instants alone; more rows are more partitions, one after the other, so memory "
        "stays where it is.",
    )
    named = {case.name: case for case in bench_qualify.CASES}
    for rows in asked.sizes:
        path = asked.activity(rows)
        for name in ("activity_count", "total_amount within"):
            case = named[name]
            for side, call in (
                ("Retrobadge", partial(bench_qualify.ours, path, case.rule, rows)),
                ("DuckDB", partial(bench_qualify.duckdb, path, case.query)),
            ):
                results.grown(made, f"{name}, {side}", rows, measured(call))
        if asked.data == asked.folder and rows != asked.rows:
            path.unlink()
    return made


def accept(asked: Asked) -> results.Section:
    """Measure the acceptance of a CSV, the first time and the second."""
    made = results.section(
        f"Accept, {asked.rows:,} rows of CSV",
        "From CSV to checked Parquet with the rejected rows set aside. Polars alone "
        "converts the same file to the same columns, and checks nothing.",
    )
    for name, every in (("clean", 0), ("0.1 % bad", 1_000), ("10 % bad", 10)):
        file = f"{asked.rows}-{every}.csv"
        made_activity.write_csv(
            asked.folder / file, asked.activity(asked.rows), bad_every=every
        )
        one = compared(
            f"accept, {name}",
            partial(bench_accept.ours, asked.folder, file),
            partial(bench_accept.baseline, asked.folder, file),
            against="Polars, unchecked",
            rounds=asked.rounds,
            goal=1.5,
        )
        results.add(made, one)
    file = f"{asked.rows}-0.csv"
    time.sleep(11)  # a file touched just now is always read
    first = measured(partial(bench_accept.first, asked.folder, file))
    again = measured(partial(bench_accept.again, asked.folder, file))
    made["facts"].append(
        f"The second time: {again.seconds * 1000:.1f} ms after {first.seconds:.1f} s, "
        f"{again.seconds / first.seconds:.2%} (goal 1 %)."
    )
    return made


def accept_growth(asked: Asked) -> results.Section:
    """Measure the acceptance of growing files: what memory does."""
    made = results.section(
        "Accept, as files grow",
        "A clean CSV of so many rows. It is read in blocks, so that memory follows it "
        "by what tells duplicates apart: eight bytes a row.",
    )
    for rows in asked.sizes:
        accepted, file = asked.activity(rows), f"{rows}.csv"
        made_activity.write_csv(asked.folder / file, accepted)
        if asked.data == asked.folder and rows != asked.rows:
            accepted.unlink()
        for side, call in (
            ("Retrobadge", bench_accept.ours),
            ("Polars, unchecked", bench_accept.baseline),
        ):
            took = measured(partial(call, asked.folder, file))
            results.grown(made, f"accept, {side}", rows, took)
        (asked.folder / file).unlink()
    return made


def plan(asked: Asked) -> results.Section:
    """Measure the whole command, and planning over many rows."""
    made = results.section(
        "Plan",
        f"`retrobadge plan` on the sample year, and two badges over "
        f"{asked.planned_rows:,} accepted rows against two bare queries.",
    )
    home = asked.home("plan-")
    with bench_plan.sandbox() as settings:
        command = bench_plan.plan_command(home)
        first = command_with_usage(command, settings)
        taken = [command_with_usage(command, settings) for _ in range(asked.rounds)]
    known = median(taken)
    made["facts"].append(
        f"The sample's year, every file known: {known.seconds:.2f} s, of CPU "
        f"{known.cpu_seconds:.2f} s (goal 1.5 s); the first time "
        f"{first.seconds:.2f} s, of CPU {first.cpu_seconds:.2f} s."
    )
    kept = asked.folder / "kept.parquet"
    bench_plan.kept(kept, asked.activity(asked.planned_rows))
    one = compared(
        "two badges planned",
        partial(bench_plan.ours, kept, asked.planned_rows),
        partial(bench_plan.duckdb, kept),
        against="DuckDB, two bare queries",
        rounds=asked.rounds,
        goal=1.0,
    )
    results.add(made, one)
    return made


def dispatch(asked: Asked) -> results.Section:
    """Measure the sending through the ledger, and by a plain script."""
    made = results.section(
        f"Dispatch, {asked.customers:,} customers, {SENDERS} senders",
        "Every customer's outcome decided and in the ledger, against a script that "
        "posts the same and counts HTTP 200. The goal is 0.9 of the script's pace: a "
        "ratio of 1.11.",
    )
    for batch in (100, 500):
        for latency in (0.0, 0.05, 0.5):
            sending = bench_dispatch.Sending(asked.customers, batch, SENDERS, latency)
            with bench_dispatch.server(latency) as port:
                one = compared(
                    f"{batch} a call, {latency * 1000:.0f} ms",
                    partial(bench_dispatch.sent, asked.folder, sending, port),
                    partial(bench_dispatch.sent_plainly, sending, port),
                    against="plain httpx",
                    rounds=1 if latency > 0.1 else asked.rounds,
                    goal=1.11,
                )
            results.add(made, one)
    for senders, latency in ((8, 0.05), (8, 0.4), (32, 1.0)):
        share, most = bench_pace.paced(senders, latency)
        made["facts"].append(
            f"At most {bench_pace.LIMIT:,} calls a minute, {senders} senders, "
            f"{latency * 1000:.0f} ms: {share:.1%} of them used, {most:,} in the "
            "fullest sliding minute (a simulated clock)."
        )
    return made


def dispatch_growth(asked: Asked) -> results.Section:
    """Measure the sending of growing numbers of awards that are reserved."""
    made = results.section(
        "Dispatch, as awards grow",
        f"So many customers in calls of 100 by {SENDERS} senders, against a server "
        "that answers at once: what they take where nothing hides it. They are "
        "reserved before, in a process of its own.",
    )
    for count in asked.awards:
        home = asked.home("dispatch-")
        sending = bench_dispatch.Sending(count, 100, SENDERS, 0.0)
        measured(partial(bench_dispatch.reserved, home, sending))
        with bench_dispatch.server(0.0) as port:
            ours = measured(partial(bench_dispatch.send_all, home, sending, port))
            plain = measured(partial(bench_dispatch.send_plainly, sending, port))
        results.grown(made, "dispatch, Retrobadge", count, ours)
        results.grown(made, "dispatch, plain httpx", count, plain)
        shutil.rmtree(home)
    return made


def ledger(asked: Asked) -> results.Section:
    """Measure reserving, publishing, and planning beside all that was awarded."""
    made = results.section(
        f"Ledger, {' and '.join(f'{count:,}' for count in asked.awards)} awards",
        "Requests cut, awards and requests reserved in one transaction, against DuckDB "
        "inserting the same rows; then all outcomes published. A night awards a "
        "hundredth more, and publishes three times. A plan qualifies all of them "
        f"again, {bench_ledger.AWARDS_A_PART:,} at a time at most.",
    )
    for count in asked.awards:
        _ledger_of(asked, count, made)
    return made


def _ledger_of(asked: Asked, count: int, made: results.Section) -> None:
    home = asked.home("ledger-")
    if count <= MOST_AWARDS_A_RUN:
        _reserved(asked, count, home, made)
        bench_ledger.settled(home)
    else:
        took = measured(partial(bench_ledger.reserved_in_runs, home, count))
        results.grown(made, "reserved in runs, and settled", count, took)
    _published_and_planned(home, count, made)
    shutil.rmtree(home)


def _reserved(asked: Asked, count: int, home: Path, made: results.Section) -> None:
    awards = asked.folder / f"awards-{count}.parquet"
    bench_ledger.made_awards(count).write_parquet(awards)
    path, plain = home / "ledger.duckdb", home / "plain.duckdb"
    ours, theirs = [], []
    for _ in range(asked.rounds):
        path.unlink(missing_ok=True)
        ours.append(measured(partial(bench_ledger.reserved, home, awards)))
        plain.unlink(missing_ok=True)
        theirs.append(measured(partial(bench_ledger.inserted, home, path)))
    plain.unlink()
    name = f"{count:,} awards cut and reserved"
    one = results.once(name, median(ours), median(theirs), "DuckDB", 2.0)
    results.add(made, one)
    awards.unlink()


def _published_and_planned(home: Path, count: int, made: results.Section) -> None:
    anew = measured(partial(bench_ledger.published, home))
    run = measured(partial(bench_ledger.planned_again, home, count, "ledger"))
    plan = measured(partial(bench_ledger.planned_again, home, count, "audit"))
    more = count // 100
    night = measured(partial(bench_ledger.published_a_night, home, more))
    for told, took in (
        ("all outcomes published anew", anew),
        ("a night's three publications", night),
        ("a run that qualifies all again, planning", run),
        ("a plan that qualifies all again", plan),
    ):
        results.grown(made, told, count, took)
    shares = [
        f"of the {_hours(awarded):,.1f} h that {awarded:,} awards take, that is "
        f"{took.seconds / 3600 / _hours(awarded):.2%}"
        for awarded, took in ((count, anew), (more, night))
    ]
    size = (home / "audit.duckdb").stat().st_size / 1e6
    made["facts"].append(
        f"Published beside {count:,} awards, at 90 calls a minute: anew "
        f"{anew.seconds:.1f} s, {shares[0]}; in a night {night.seconds:.1f} s, "
        f"{shares[1]} (goal 5 %). The audit has {size:,.0f} MB."
    )


def _hours(awards: int) -> float:
    """Return how long sending takes at 90 calls a minute."""
    return -(-awards // bench_ledger.BATCH) / 90 / 60


SECTIONS: dict[str, Callable[[Asked], results.Section]] = {
    "accept": accept,
    "accept-growth": accept_growth,
    "qualify": qualify,
    "growth": growth,
    "plan": plan,
    "dispatch": dispatch,
    "dispatch-growth": dispatch_growth,
    "ledger": ledger,
}


def main() -> None:
    """Measure what is asked for, and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default="1_000_000,3_000_000,10_000_000")
    parser.add_argument("--planned-rows", type=int, default=4_000_000)
    parser.add_argument("--awards", default="1_000_000")
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where data is made, and removed")
    parser.add_argument("--data", type=Path, help="where made activity is kept")
    told = parser.parse_args()
    # Hundreds of processes import the same; none of that is measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    names = told.only.split(",")
    if strangers := sorted(set(names) - SECTIONS.keys()):
        parser.error(f"no such section: {', '.join(strangers)}")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=told.folder) as folder:
        asked = Asked(
            rows=told.rows,
            rounds=told.rounds,
            sizes=tuple(int(size) for size in told.sizes.split(",")),
            planned_rows=told.planned_rows,
            awards=tuple(int(count) for count in told.awards.split(",")),
            customers=told.customers,
            folder=Path(folder),
            data=told.data or Path(folder),
        )
        for name in names:
            before, begun = load(), time.perf_counter()
            measured_now = SECTIONS[name](asked)
            measured_now["when"] = (
                f"Taken {datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC in "
                f"{time.perf_counter() - begun:.0f} s, {asked.rounds} rounds; load "
                f"before {before}, after {load()}."
            )
            results.write({name: measured_now})
            print(results.tables(measured_now), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
