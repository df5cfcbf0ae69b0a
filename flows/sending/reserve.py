"""Writes awards and requests into the ledger before anything is sent.

Belongs here: reserving, and withdrawing what was never sent. Does not belong here:
which awards are planned (`flows.planning`), loading what is reserved
(`flows.sending.loading`) and sending it (`flows.sending.dispatch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from flows.records.ledger import Ledger
from flows.sending.tracking import ACTOR
from transforms.errors import LooksWrong
from transforms.statuses import WITHDRAWN, AwardStatus, Proof, RequestStatus

_UTC = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Reservation:
    """What one transaction reserves.

    `awards`: the columns of the ledger's table of that name without planned_run_id and
    planned_at, plus `result` (planned or held) and `held_earned_badge_id`. `requests`
    and `request_awards`: as `transforms.platform.requests` cuts them.
    """

    awards: pl.DataFrame
    requests: pl.DataFrame
    request_awards: pl.DataFrame


def reserve(ledger: Ledger, run_id: str, wanted: Reservation, now: datetime) -> None:
    """Write awards, requests and their first events in one transaction.

    A request that comes out as one that was withdrawn, or split before anything was
    sent, is taken up again; one that is still live under its id is a defect.
    """
    stamp = pl.lit(now, dtype=_UTC)
    awards = wanted.awards.with_columns(
        planned_run_id=pl.lit(run_id), planned_at=stamp
    ).drop("result", "held_earned_badge_id")
    ledger.append(
        {
            "awards": awards,
            "award_events": _first_events(wanted, run_id, stamp),
            **_request_rows(
                ledger, run_id, wanted.requests, wanted.request_awards, stamp
            ),
        }
    )


@dataclass(frozen=True)
class ReservationAgain:
    """What one transaction reserves anew of awards that the ledger has.

    `awards`: award_id and, as they stand, status and error_code. `requests` and
    `request_awards`: as `transforms.awards.retrying` cuts them.
    """

    awards: pl.DataFrame
    requests: pl.DataFrame
    request_awards: pl.DataFrame


def reserve_again(
    ledger: Ledger, run_id: str, wanted: ReservationAgain, now: datetime, *, actor: str
) -> None:
    """Write new requests of refused awards, and that they are planned again."""
    stamp = pl.lit(now, dtype=_UTC)
    code = pl.col("error_code")
    was = pl.concat_str(pl.lit("retried: was "), "status")
    refused = wanted.awards.select("award_id", "status", "error_code")
    events = refused.join(wanted.request_awards, on="award_id").select(
        "award_id",
        changed_at=stamp,
        from_status="status",
        to_status=pl.lit(str(AwardStatus.PLANNED)),
        run_id=pl.lit(run_id),
        request_id="request_id",
        actor=pl.lit(actor),
        reason=pl.when(code.is_null())
        .then(was)
        .otherwise(pl.concat_str(was, pl.lit(" by code "), code)),
    )
    requests = _request_rows(
        ledger, run_id, wanted.requests, wanted.request_awards, stamp
    )
    ledger.append({"award_events": events, **requests})


def _request_rows(
    ledger: Ledger,
    run_id: str,
    requests: pl.DataFrame,
    request_awards: pl.DataFrame,
    stamp: pl.Expr,
) -> dict[str, pl.DataFrame]:
    """Return the rows of requests; of one that the ledger has, only its new event."""
    known = _not_live(ledger, requests)
    is_new = ~pl.col("request_id").is_in(known.implode())
    return {
        "requests": requests.filter(is_new).with_columns(
            run_id=pl.lit(run_id), succession=pl.lit(0, pl.Int32), reserved_at=stamp
        ),
        "request_awards": request_awards.filter(is_new),
        "request_events": requests.select(
            "request_id",
            changed_at=stamp,
            status=pl.lit(str(RequestStatus.PLANNED)),
            run_id=pl.lit(run_id),
        ),
    }


def _not_live(ledger: Ledger, requests: pl.DataFrame) -> pl.Series:
    """Return which ids the ledger has already, and may have again."""
    known = ledger.read_with("requests_by_id", requests.select("request_id"))
    gone = [str(RequestStatus.SPLIT), str(RequestStatus.WITHDRAWN)]
    live = known.filter(~pl.col("status").is_in(gone))
    if not live.is_empty():
        raise LooksWrong.of(
            "request_live",
            f"{live.height} requests are live under ids that would be reserved again, "
            f"{live['request_id'][0]} among them: nothing was sent; this is a defect",
        )
    return known["request_id"]


def _first_events(wanted: Reservation, run_id: str, stamp: pl.Expr) -> pl.DataFrame:
    """Return the first event of every award: of planned ones, in their requests' order.

    Each planned award is in one request, so their requests say all that is needed.
    """
    held = wanted.awards.filter(pl.col("result") == "held")
    planned = wanted.awards.height - held.height
    if wanted.request_awards.height != planned:
        raise LooksWrong.of(
            "awards_not_cut",
            f"{planned} awards are planned and {wanted.request_awards.height} are in "
            "requests: nothing was sent; this is a defect",
        )
    nothing = pl.lit(None, pl.String)
    told = {"changed_at": stamp, "run_id": pl.lit(run_id), "actor": pl.lit(ACTOR)}
    first = wanted.request_awards.select(
        "award_id",
        **told,
        to_status=pl.lit(str(AwardStatus.PLANNED)),
        request_id="request_id",
        reason=nothing,
        proof=nothing,
        earned_badge_id=nothing,
    )
    if held.is_empty():
        return first
    covered = held.select(
        "award_id",
        **told,
        to_status=pl.lit(str(AwardStatus.ALREADY_EARNED)),
        request_id=nothing,
        reason=pl.lit("held before, by the brand's list"),
        proof=pl.lit(str(Proof.HELD)),
        earned_badge_id="held_earned_badge_id",
    )
    return pl.concat([first, covered], rechunk=False)


def withdraw_never_sent(ledger: Ledger, run_id: str, now: datetime) -> int:
    """Take back what earlier runs reserved and never sent; return how many awards.

    Their rows leave the ledger, their events stay. The present plan takes those that it
    still wants, as new awards of the same ids.
    """
    awards = ledger.read("never_sent_awards")
    if awards.is_empty():
        return 0
    stamp = pl.lit(now, dtype=_UTC)
    told = pl.lit("never sent, and planned anew")
    ledger.append(
        {
            "award_events": awards.select(
                "award_id",
                "request_id",
                changed_at=stamp,
                from_status=pl.lit(str(AwardStatus.PLANNED)),
                to_status=pl.lit(WITHDRAWN),
                run_id=pl.lit(run_id),
                actor=pl.lit(ACTOR),
                reason=told,
            ),
            "request_events": awards.select(pl.col("request_id").unique()).select(
                "request_id",
                changed_at=stamp,
                status=pl.lit(str(RequestStatus.WITHDRAWN)),
                run_id=pl.lit(run_id),
                reason=told,
            ),
        },
        statements=(
            "count_withdrawn",
            "delete_withdrawn_awards",
            "delete_withdrawn_members",
            "delete_withdrawn_requests",
        ),
        about={"withdrawn": awards},
    )
    return awards.height
