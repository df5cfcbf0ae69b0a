"""Writes awards and requests into the ledger before anything is sent, and finds them.

Belongs here: reserving, withdrawing what was never sent, and loading requests as they
were reserved: from their own rows, never from a definition. Does not belong here: which
awards are planned (`flows.planning`) and sending (`flows.sending.dispatch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from flows.records.ledger import Ledger
from flows.sending.tracking import ACTOR, OpenAward, Tracked
from transforms.errors import LooksWrong
from transforms.platform.outcomes import STRANGERS, Result
from transforms.platform.requests import requests_from_frames
from transforms.statuses import WITHDRAWN, AwardStatus, Proof, RequestStatus

# What an attempt's result may be when the platform surely did nothing.
_DID_NOTHING = frozenset(
    {"not_connected", Result.NOT_PROCESSED, Result.LOGIN_REFUSED, Result.TOO_LARGE}
)
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


def unsettled(ledger: Ledger, *, timeout: float) -> list[Tracked]:
    """Return requests that went out and have not come to an end, as they stand."""
    return _tracked(ledger, ledger.read("open_requests"), timeout=timeout)


def planned(ledger: Ledger, *, timeout: float) -> list[Tracked]:
    """Return requests that are reserved and not sent, or surely not processed."""
    return _tracked(ledger, ledger.read("planned_requests"), timeout=timeout)


def _tracked(ledger: Ledger, rows: pl.DataFrame, *, timeout: float) -> list[Tracked]:
    if rows.is_empty():
        return []
    wanted = rows.select("request_id")
    members = ledger.read_with("members_of_requests", wanted)
    still = _open_awards(ledger.read_with("awards_of_requests", wanted))
    attempts = _by_request(ledger.read_with("attempts_of_requests", wanted))
    first = dict(ledger.read_with("first_attempts", wanted).iter_rows())
    made = []
    successions = rows["succession"].to_list()
    requests = requests_from_frames(rows, members)
    for request, succession in zip(requests, successions, strict=True):
        request_id = request.request_id
        tracked = Tracked(
            request=request,
            awards=still.pop(request_id, {}),
            succession=succession,
            first_attempt_at=first.get(request_id),
        )
        _remember(tracked, attempts.get(request_id, []), timeout)
        if tracked.awards:
            made.append(tracked)
    return made


def _open_awards(frame: pl.DataFrame) -> dict[str, dict[int, OpenAward]]:
    """Return request → customer → award; there may be millions, so nothing is twice."""
    found: dict[str, dict[int, OpenAward]] = {}
    columns = "request_id", "award_id", "customer_id", "occurrence", "status"
    for request_id, award_id, customer_id, occurrence, status in frame.select(
        columns
    ).iter_rows():
        award = OpenAward(award_id, customer_id, occurrence, AwardStatus(status))
        found.setdefault(request_id, {})[customer_id] = award
    return found


def _by_request(frame: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        grouped.setdefault(row["request_id"], []).append(row)
    return grouped


def _remember(tracked: Tracked, attempts: list[dict[str, Any]], timeout: float) -> None:
    """Put what earlier runs learnt of a request back into it.

    An attempt without a result was cut off by the end of its process: it may have
    gone on for as long as a call can take.
    """
    tracked.attempts = len(attempts)
    for attempt in attempts:
        result, ended_at = attempt["result"], attempt["ended_at"]
        tracked.last_ended_at = ended_at or (
            attempt["started_at"] + timedelta(seconds=timeout)
        )
        if result == Result.REPEATED:
            tracked.is_burnt = True
        if result == Result.TOO_LARGE:
            tracked.is_too_large = True
        if attempt["customers_missing"] and STRANGERS in (attempt["alarms"] or ""):
            tracked.lists_strangers = True
        if result not in _DID_NOTHING:
            tracked.is_ambiguous = True
