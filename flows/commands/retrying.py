"""The command `retry`: awards that were refused are sent again.

Belongs here: cutting new requests of the ledger's own rows, and reserving them. Does
not belong here: sending and settling, which go as in any run (`flows.sending.sending`).

No definition is read: badge, reference and earn date are those of the refused request.
`unknown` awards are never retried: sending one again under a new id needs a proof that
the first did not arrive, and finding that is settling (`resume`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from flows.commands.chosen import in_ledger, person, wanted
from flows.pipeline import Work
from flows.platform.capillary import utc_now
from flows.platform.preflight import AwardedBadge
from flows.runs.report import Report
from flows.runs.run import Run, open_run
from flows.sending.reserve import ReservationAgain, reserve_again
from flows.sending.sending import (
    canaries_of,
    publish_reserved,
    refuse_without_room,
    send_reserved,
)
from transforms.awards.retrying import following_requests
from transforms.awards.selection import selected
from transforms.statuses import AwardStatus

RETRIED = (str(AwardStatus.BLOCKED),)
MAY_BE_RETRIED = (str(AwardStatus.BLOCKED), str(AwardStatus.FAILED))


@dataclass(frozen=True)
class _Badge:
    """A badge as the ledger's awards name it."""

    name: str
    badge_meta_id: str
    canary_customer_ids: tuple[int, ...] = ()


async def retry_awards(
    work: Work,
    asked: str,
    *,
    statuses: tuple[str, ...] = RETRIED,
    codes: tuple[int, ...] = (),
) -> Report:
    """Send a run's refused awards again, and with them all that is reserved.

    `statuses` are among MAY_BE_RETRIED. Where none of the run's awards is chosen,
    nothing is sent at all.
    """
    with open_run(
        work.job, work.settings, work.home, None, kind="retry", screen=work.screen
    ) as run:
        run.bind()
        found = in_ledger(run, asked)
        chosen = selected(
            found.awards,
            wanted(work.job, statuses=statuses, codes=codes),
            run_id=found.run_id,
        )
        run.told = {"of_run": found.run_id, "awards_retried": chosen.height}
        if not chosen.is_empty():
            refuse_without_room(run, chosen.height)
            canaries = await work.steps(
                "choose canaries", canaries_of, run, _by_badge(chosen)
            )
            _reserve(run, chosen, [one.canary_award_id for one in canaries.values()])
            await work.steps("send and settle", send_reserved, run, canaries)
            run.told["statuses"] = _statuses(run, chosen)
    return run.report


def _by_badge(chosen: pl.DataFrame) -> Iterator[tuple[AwardedBadge, pl.DataFrame]]:
    for (badge_meta_id,), awards in chosen.group_by(
        "badge_meta_id", maintain_order=True
    ):
        yield _Badge(awards["badge"][0], str(badge_meta_id)), awards


def _reserve(run: Run, chosen: pl.DataFrame, canaries: list[str]) -> None:
    requests = chosen.select(pl.col("request_id").unique())
    first = run.ledger.read_with("first_attempts", requests)
    requests, request_awards = following_requests(
        chosen.join(first, on="request_id", how="left"),
        batch_size=run.settings.capillary_batch_size,
        canaries=canaries,
    )
    again = ReservationAgain(chosen, requests, request_awards)
    reserve_again(run.ledger, run.run_id, again, utc_now(), actor=person())
    run.requests = requests.height
    publish_reserved(run)


def _statuses(run: Run, chosen: pl.DataFrame) -> dict[str, int]:
    """Return where the retried awards stand now."""
    awards = chosen.select("award_id")
    return dict(run.ledger.read_with("status_counts_of", awards).iter_rows())
