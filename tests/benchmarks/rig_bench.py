"""Sends many awards to a sandbox: through the ledger, and by a plain script."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson
import polars as pl

from flows.home import open_home
from flows.platform.capillary import Platform
from flows.platform.pacing import Pace
from flows.records.ledger import open_ledger
from flows.sandbox import Sandbox
from flows.sending import reserve
from flows.sending.canary import Canaries
from flows.sending.dispatch import Dispatch
from flows.sending.recorder import Recorder
from flows.sending.settle import Settling, Waits
from flows.sending.tracking import Rows
from flows.settings import settings
from transforms.awards.awards import award_id
from transforms.awards.batches import cut_requests

BADGE = "653de334b3cda7078c7c68eb"
AWARDS, BATCH, SENDERS = 50_000, 500, 8
DAY = datetime(2017, 5, 1, 16, tzinfo=UTC)
_INSTANT = pl.Datetime("us", "UTC")


async def send_all(folder: Path) -> int:
    """Reserve and send; return how many the ledger has as issued."""
    del folder
    with tempfile.TemporaryDirectory() as name, Sandbox.running() as sandbox:
        sandbox.add_badge(BADGE, "Bench")
        home = open_home(Path(name))
        chosen = settings(
            {
                "CAPILLARY_BASE_URL": sandbox.base_url,
                "CAPILLARY_USERNAME": sandbox.username,
                "CAPILLARY_PASSWORD": sandbox.password,
                "CAPILLARY_REQUESTS_PER_MINUTE": "0",
            },
            env_file=None,
        )
        ledger = open_ledger(home.ledger, now=datetime.now(tz=UTC))
        awards = _awards()
        requests, members = cut_requests(awards, batch_size=BATCH)
        wanted = reserve.Reservation(awards, requests, members)
        reserve.reserve(ledger, "bench", wanted, datetime.now(tz=UTC))
        async with Recorder(ledger) as recorder:
            settling = Settling(ledger, recorder, Rows("bench"), Waits(240, 900))
            sending = Dispatch(
                Platform(chosen, Pace(home.pace, 0)),
                settling,
                Canaries(settling, 1.0, is_on=False),
                SENDERS,
            )
            await sending.run(reserve.planned(ledger, timeout=120))
        issued = dict(ledger.read("status_counts", run_id="bench").iter_rows())
        ledger.close()
        return int(issued["issued"])


def _awards() -> pl.DataFrame:
    ids = [
        award_id(
            target="t",
            badge_meta_id=BADGE,
            series="",
            customer_id=customer_id,
            occurrence=1,
        )
        for customer_id in range(1, AWARDS + 1)
    ]
    return pl.DataFrame(
        {"award_id": ids, "customer_id": range(1, AWARDS + 1)}
    ).with_columns(
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


async def send_plainly(folder: Path) -> int:
    """Send the same number of customers; count the answers that are HTTP 200."""
    del folder
    with Sandbox.running() as sandbox:
        sandbox.add_badge(BADGE, "Bench")
        left = iter(range(0, AWARDS, BATCH))
        login = Platform(
            settings(
                {
                    "CAPILLARY_BASE_URL": sandbox.base_url,
                    "CAPILLARY_USERNAME": sandbox.username,
                    "CAPILLARY_PASSWORD": sandbox.password,
                },
                env_file=None,
            ),
            Pace(Path(tempfile.gettempdir()) / "bench-pace.json", 0),
        ).login.basic()

        async def sender() -> int:
            good = 0
            async with httpx.AsyncClient(base_url=sandbox.base_url) as client:
                for first in left:
                    body = {
                        "badgeMetaId": BADGE,
                        "customerIds": list(range(first + 1, first + BATCH + 1)),
                        "requestId": f"plain-{first}",
                        "earnEventDateISO": DAY.isoformat(),
                        "triggeredBy": {
                            "ownerType": "Historical_Import",
                            "referenceId": "retro",
                        },
                    }
                    answer = await client.post(
                        "/api_gateway/v1/badges/customer/earnBulk",
                        content=orjson.dumps(body),
                        headers={**login, "Content-Type": "application/json"},
                    )
                    good += answer.status_code == 200
            return good

        return sum(await asyncio.gather(*(sender() for _ in range(SENDERS))))
