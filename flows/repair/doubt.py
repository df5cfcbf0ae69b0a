"""What a ledger that was made anew can't know, and how it says so.

Belongs here: which calls may have gone out unknown to its source, and the rows by which
they are settled like any other whose answer was lost. Does not belong here: making the
ledger (`flows.repair.rebuilding`), and settling (`flows.sending.settle`).

A run publishes what it reserved before it sends any of it. So what may be missing in
the audit of a run that died are calls, never awards.
"""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta

import polars as pl

from flows.home import Home
from flows.records.ledger import Ledger
from flows.sending.settle import ID_REMEMBERED
from flows.sending.tracking import ACTOR
from transforms.errors import HomeRefused
from transforms.platform.undo import revocation_id
from transforms.statuses import AwardStatus, RequestStatus

_UTC = pl.Datetime("us", "UTC")
_MAYBE_SENT = "the ledger was lost: this may have been sent without being known here"


def doubt(
    ledger: Ledger,
    run_id: str,
    now: datetime,
    *,
    home: Home,
    timeout: float,
    is_audited: bool,
) -> int:
    """Take for sent what may have been sent; return how many awards that are.

    Nothing is doubted where the source was published after its newest run had ended.
    Otherwise the ledger gets a new uuid too: it is no longer the one that was lost.
    Raises `HomeRefused` while a call may still be on its way.
    """
    is_unfinished = bool(ledger.read("is_run_unfinished").item())
    if is_audited and not is_unfinished:
        return 0
    planned = ledger.read("maybe_sent_requests")
    asked_for = ledger.read("maybe_revoked_awards")
    is_open = bool(ledger.read("open_award_count").item())
    if is_open or not (planned.is_empty() and asked_for.is_empty()):
        _refuse_too_early(home, timeout)
    # So long ago that absence has to be proved before anything is sent again.
    long_ago = now - ID_REMEMBERED - timedelta(seconds=1)
    requests = planned.group_by("request_id", maintain_order=True).agg(
        pl.col("reserved_at").first(), customers=pl.len().cast(pl.Int64)
    )
    calls = pl.concat([requests, _revocations(asked_for, now)])
    ledger.append(
        {
            **_lost_attempts(calls, run_id, long_ago),
            **_unknown(planned, requests, run_id, now),
        },
        statements=["new_ledger_uuid"],
        about={"renamed": pl.DataFrame({"ledger_uuid": [uuid.uuid4().hex]})},
    )
    return planned.height


def _refuse_too_early(home: Home, timeout: float) -> None:
    """Refuse while a call of the process that died may still be on its way."""
    if not home.pace.exists():
        return
    since, rest = time.time() - home.pace.stat().st_mtime, 2 * timeout
    if 0 <= since < rest:
        raise HomeRefused.of(
            "platform_just_called",
            f"the platform was called {since:.0f} s ago, and what was sent then may "
            f"still be arriving: try again in {rest - since:.0f} s",
            file=str(home.pace),
        )


def _revocations(asked_for: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return revocations that were asked for as calls that may have been made."""
    ids = [revocation_id(award_id) for award_id in asked_for["award_id"]]
    return pl.DataFrame({"request_id": ids}, {"request_id": pl.String}).with_columns(
        reserved_at=pl.lit(now, dtype=_UTC), customers=pl.lit(1, dtype=pl.Int64)
    )


def _lost_attempts(
    calls: pl.DataFrame, run_id: str, long_ago: datetime
) -> dict[str, pl.DataFrame]:
    """Return an attempt for each call, of which nothing is known but that it may be."""
    ended = pl.lit(long_ago, dtype=_UTC)
    attempts = calls.select(
        "request_id",
        "customers",
        attempt_id=pl.concat_str(pl.lit(f"lost-{run_id}-"), "request_id"),
        run_id=pl.lit(run_id),
        started_at=pl.min_horizontal(pl.col("reserved_at"), ended),
    )
    nobody = pl.lit(0, dtype=pl.Int64)
    results = attempts.select(
        "attempt_id",
        ended_at=ended,
        seconds=pl.lit(0.0),
        result=pl.lit("lost"),
        customers_listed_well=nobody,
        customers_listed_failed=nobody,
        customers_missing=nobody,
        error_message=pl.lit(_MAYBE_SENT),
    )
    return {"attempts": attempts, "attempt_results": results}


def _unknown(
    planned: pl.DataFrame, requests: pl.DataFrame, run_id: str, now: datetime
) -> dict[str, pl.DataFrame]:
    """Return the events by which what seemed planned is to be settled first."""
    stamp = pl.lit(now, dtype=_UTC)
    return {
        "award_events": planned.select(
            "award_id",
            "request_id",
            changed_at=stamp,
            from_status="status",
            to_status=pl.lit(str(AwardStatus.UNKNOWN)),
            run_id=pl.lit(run_id),
            actor=pl.lit(ACTOR),
            reason=pl.lit(_MAYBE_SENT),
        ),
        "request_events": requests.select(
            "request_id",
            changed_at=stamp,
            status=pl.lit(str(RequestStatus.UNKNOWN)),
            run_id=pl.lit(run_id),
            reason=pl.lit(_MAYBE_SENT),
        ),
    }
