"""Sends many awards to a fast server: through the ledger, and by a plain script.

Belongs here: what `make bench` measures of dispatch. Both sides speak to a server in a
process of its own, whose latency is set; both have one client per sender. The plain
script records nothing and counts what was answered by HTTP 200; ours decides about
every customer and has it in the ledger before it ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import polars as pl
from measuring import Own

from flows.home import open_home
from flows.platform.capillary import Platform
from flows.platform.pacing import Pace
from flows.records.ledger import open_ledger
from flows.sending import reserve
from flows.sending.canary import Canaries
from flows.sending.dispatch import Dispatch
from flows.sending.loading import planned
from flows.sending.recorder import Recorder
from flows.sending.settle import Settling, Waits
from flows.sending.tracking import Rows
from flows.settings import Settings, settings
from transforms.awards.awards import award_id
from transforms.awards.batches import cut_requests

BADGE = "653de334b3cda7078c7c68eb"
DAY = datetime(2017, 5, 1, 16, tzinfo=UTC)
PATH = "/api_gateway/v1/badges/customer/earnBulk"
_INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Sending:
    """So many customers in calls of so many, by so many senders, at this latency."""

    customers: int
    batch: int
    senders: int
    latency: float


def reserved(folder: Path, sending: Sending) -> None:
    """Reserve the awards in a new home: what comes before the part that is measured."""
    home = open_home(folder)
    ledger = open_ledger(home.ledger, now=datetime.now(tz=UTC))
    awards = _awards(sending.customers)
    requests, members = cut_requests(awards, batch_size=sending.batch)
    wanted = reserve.Reservation(awards, requests, members)
    reserve.reserve(ledger, "bench", wanted, datetime.now(tz=UTC))
    ledger.close()


def sent(folder: Path, sending: Sending, port: int) -> Own:
    """Send what is reserved just now, in a home of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        reserved(Path(home), sending)
        begun_cpu = time.process_time()
        seconds = send_all(Path(home), sending, port)
        return Own(seconds, time.process_time() - begun_cpu)


def sent_plainly(sending: Sending, port: int) -> Own:
    """Send as many by the plain script."""
    begun_cpu = time.process_time()
    seconds = send_plainly(sending, port)
    return Own(seconds, time.process_time() - begun_cpu)


def send_all(folder: Path, sending: Sending, port: int) -> float:
    """Send what is reserved; return the seconds until the ledger has every outcome."""
    return asyncio.run(_send_all(folder, sending, port))


async def _send_all(folder: Path, sending: Sending, port: int) -> float:
    home = open_home(folder)
    begun = time.perf_counter()
    ledger = open_ledger(home.ledger, now=datetime.now(tz=UTC))
    async with Recorder(ledger) as recorder:
        settling = Settling(ledger, recorder, Rows("bench"), Waits(240, 900))
        dispatch = Dispatch(
            Platform(_settings(port), Pace(home.pace, 0)),
            settling,
            Canaries(settling, 1.0, is_on=False),
            sending.senders,
        )
        await dispatch.run(planned(ledger, timeout=120))
    seconds = time.perf_counter() - begun
    issued = dict(ledger.read("status_counts", run_id="bench").iter_rows())
    ledger.close()
    if issued.get("issued") != sending.customers:
        raise SystemExit(f"not everything was issued: {issued}")
    return seconds


def send_plainly(sending: Sending, port: int) -> float:
    """Send as many customers by a plain script; return the seconds it took."""
    return asyncio.run(_send_plainly(sending, port))


async def _send_plainly(sending: Sending, port: int) -> float:
    login = Platform(_settings(port), Pace(Path("unused"), 0)).login.basic()
    headers = {**login, "Content-Type": "application/json"}
    left = iter(range(0, sending.customers, sending.batch))

    async def sender() -> int:
        good = 0
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            for first in left:
                body = {
                    "badgeMetaId": BADGE,
                    "customerIds": list(range(first + 1, first + sending.batch + 1)),
                    "requestId": f"plain-{first}",
                    "earnEventDateISO": DAY.isoformat(),
                    "triggeredBy": {
                        "ownerType": "Historical_Import",
                        "referenceId": "retro",
                    },
                }
                answer = await client.post(
                    PATH, content=orjson.dumps(body), headers=headers
                )
                good += answer.status_code == 200
        return good

    begun = time.perf_counter()
    good = sum(await asyncio.gather(*(sender() for _ in range(sending.senders))))
    seconds = time.perf_counter() - begun
    if good != sending.customers // sending.batch:
        raise SystemExit(f"only {good} calls were answered well")
    return seconds


@contextmanager
def server(latency: float) -> Iterator[int]:
    """Run the fast server in a process of its own; give its port."""
    command = [sys.executable, str(Path(__file__).with_name("fast_server.py"))]
    with subprocess.Popen([*command, str(latency)], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None:
                raise AssertionError
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _settings(port: int) -> Settings:
    return settings(
        {
            "CAPILLARY_BASE_URL": f"http://127.0.0.1:{port}",
            "CAPILLARY_USERNAME": "bench",
            "CAPILLARY_PASSWORD": "bench",
            "CAPILLARY_REQUESTS_PER_MINUTE": "0",
        },
        env_file=None,
    )


def _awards(count: int) -> pl.DataFrame:
    ids = [
        award_id(
            target="t",
            badge_meta_id=BADGE,
            series="",
            customer_id=customer_id,
            occurrence=1,
        )
        for customer_id in range(1, count + 1)
    ]
    return pl.DataFrame({"award_id": ids, "customer_id": range(1, count + 1)}).select(
        pl.all(),
        import_name=pl.lit("bench"),
        badge=pl.lit("bench"),
        badge_meta_id=pl.lit(BADGE),
        badge_name=pl.lit("Bench"),
        reference_id=pl.lit("retro"),
        series=pl.lit(""),
        occurrence=pl.lit(1, pl.Int64),
        generation=pl.lit(1, pl.Int32),
        rule_kind=pl.lit("activity_count"),
        rule_digest=pl.lit("bench"),
        qualified_at=pl.lit(DAY, _INSTANT),
        earn_event_date=pl.lit(DAY, _INSTANT),
        earn_day=pl.lit(DAY.date()),
        target=pl.lit("t"),
        result=pl.lit("planned"),
        held_earned_badge_id=pl.lit(None, pl.String),
    )
