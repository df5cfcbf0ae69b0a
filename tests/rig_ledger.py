"""Awards that are reserved and sent without a definition: straight into the ledger."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from click.testing import Result
from factories_imports import BADGE, Brand, bare_environment
from typer.testing import CliRunner

from flows.cli.main import app
from flows.platform.capillary import utc_now
from flows.records.ledger import TABLES, connect
from flows.runs.job import Job, Screen
from flows.runs.run import Run, open_run
from flows.sending.reserve import Reservation, reserve
from flows.sending.sending import publish_reserved, send_reserved
from flows.settings import settings
from transforms.awards.awards import award_id
from transforms.awards.batches import cut_requests

DAY = datetime(2017, 5, 1, 16, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def awards(
    customers: Iterable[int],
    *,
    badge: str = "regular",
    badge_meta_id: str = BADGE,
    earn_event_date: datetime = DAY,
    occurrence: int = 1,
    result: str = "planned",
) -> pl.DataFrame:
    """Return awards as a plan makes them."""
    ids = list(customers)
    made = [
        award_id(
            target="t",
            badge_meta_id=badge_meta_id,
            series="",
            customer_id=customer,
            occurrence=occurrence,
        )
        for customer in ids
    ]
    frame = pl.DataFrame(
        {"award_id": made, "customer_id": ids},
        schema={"award_id": pl.String, "customer_id": pl.Int64},
    )
    return frame.with_columns(
        import_name=pl.lit("visits"),
        badge=pl.lit(badge),
        badge_meta_id=pl.lit(badge_meta_id),
        badge_name=pl.lit(badge.title()),
        reference_id=pl.lit("retro"),
        series=pl.lit(""),
        occurrence=pl.lit(occurrence, pl.Int64),
        generation=pl.lit(1, pl.Int32),
        rule_kind=pl.lit("activity_count"),
        rule_digest=pl.lit("digest"),
        qualified_at=pl.lit(earn_event_date, INSTANT),
        earn_event_date=pl.lit(earn_event_date, INSTANT),
        earn_day=pl.lit(earn_event_date.date()),
        target=pl.lit("t"),
        result=pl.lit(result),
        held_earned_badge_id=pl.lit(None, pl.String),
    )


def reserved(run: Run, frame: pl.DataFrame) -> None:
    """Reserve awards in an open run, and publish that they are."""
    requests, members = cut_requests(
        frame.filter(pl.col("result") == "planned"),
        batch_size=run.settings.capillary_batch_size,
    )
    run.bind()
    reserve(run.ledger, run.run_id, Reservation(frame, requests, members), utc_now())
    publish_reserved(run)


def opened(shop: Brand, kind: str = "import", **job: Any) -> Any:
    """Open a run in a brand's home."""
    chosen = settings(shop.environ, env_file=None)
    return open_run(Job(**job), chosen, shop.home, None, kind=kind, screen=Screen())


def issue(shop: Brand, *frames: pl.DataFrame) -> str:
    """Reserve awards and send them in a run of their own; return its id."""

    async def sent() -> str:
        with opened(shop) as run:
            reserved(run, pl.concat(frames))
            await send_reserved(run)
        return str(run.run_id)

    return asyncio.run(sent())


def reserve_only(shop: Brand, *frames: pl.DataFrame) -> str:
    """Reserve awards in a run that sends nothing; return its id."""
    with opened(shop) as run:
        reserved(run, pl.concat(frames))
    return str(run.run_id)


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of every table of a ledger's file but those of its runs."""
    connection = connect(path)
    try:
        return {
            table: sorted(
                connection.sql(f"SELECT * FROM {table}").pl().rows(), key=repr
            )
            for table in TABLES
            if table != "runs"
        }
    finally:
        connection.close()


def revoked_in_sandbox(shop: Brand, badge_meta_id: str = BADGE) -> list[int]:
    """Return the customers whose earn is no longer active, in ascending order."""
    return sorted(
        earn.customer_id
        for earn in shop.sandbox.earns(badge_meta_id)
        if not earn.is_active
    )


def calls_of(shop: Brand, endpoint: str) -> int:
    """Return how many calls of an endpoint have arrived."""
    return sum(call.endpoint == endpoint for call in shop.sandbox.calls)


def killed(shop: Brand, *arguments: str, when: Callable[[], bool]) -> None:
    """Run the command line in a process of its own and kill it when it is time."""
    _signalled(shop, arguments, when, signal.SIGKILL)


def interrupted(shop: Brand, *arguments: str, when: Callable[[], bool]) -> int:
    """Run the command line and interrupt it as Ctrl-C does; return its exit status."""
    return _signalled(shop, arguments, when, signal.SIGINT)


def _signalled(
    shop: Brand, arguments: Iterable[str], when: Callable[[], bool], number: int
) -> int:
    with subprocess.Popen(
        [sys.executable, "-m", "flows", *arguments],
        env={**bare_environment(), **shop.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        while not when():
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
                raise AssertionError(process.stderr.read().decode())
        process.send_signal(number)
        return process.wait(30)


def typed(shop: Brand, *arguments: str, stdin: str = "") -> Result:
    """Run the command line in this process, which spares starting one."""
    environ = {**dict.fromkeys(set(os.environ) - bare_environment().keys())}
    return CliRunner().invoke(
        app, list(arguments), input=stdin, env={**environ, **shop.environ}
    )
