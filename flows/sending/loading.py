"""Finds the requests that are to be sent or settled, as the ledger has them.

Belongs here: requests loaded from their own rows, never from a definition, with what
earlier runs learnt of them. Does not belong here: reserving them
(`flows.sending.reserve`) and what is next to be done (`flows.sending.dispatch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from flows.records.ledger import Ledger
from flows.sending.tracking import OpenAward, Tracked
from transforms.platform.outcomes import STRANGERS, Result
from transforms.platform.request_frames import stored_requests
from transforms.platform.requests import StoredAwards
from transforms.statuses import AwardStatus

# What an attempt's result may be when the platform surely did nothing.
_DID_NOTHING = frozenset(
    {"not_connected", Result.NOT_PROCESSED, Result.LOGIN_REFUSED, Result.TOO_LARGE}
)
_OPENED = ("award_id", "customer_id", "occurrence", "status")
_STATUSES = {str(status): status for status in AwardStatus}


def planned(ledger: Ledger, *, timeout: float) -> list[Tracked]:
    """Return requests that are reserved and not sent, or surely not processed."""
    return _tracked(ledger, ledger.read("planned_requests"), timeout=timeout)


def unsettled(ledger: Ledger, *, timeout: float) -> list[Tracked]:
    """Return requests that went out and have not come to an end, as they stand."""
    return _tracked(ledger, ledger.read("open_requests"), timeout=timeout)


def _tracked(ledger: Ledger, rows: pl.DataFrame, *, timeout: float) -> list[Tracked]:
    if rows.is_empty():
        return []
    wanted = rows.select("request_id")
    members = ledger.read_with("members_of_requests", wanted).with_columns(
        pl.col("status").cast(pl.Enum(list(_STATUSES)))
    )
    still = _open_counts(members)
    attempts = _by_request(ledger.read_with("attempts_of_requests", wanted))
    first = dict(ledger.read_with("first_attempts", wanted).iter_rows())
    successions = rows["succession"].to_list()
    requests = stored_requests(rows, members)
    made = []
    for (request, stored), succession in zip(requests, successions, strict=True):
        request_id = request.request_id
        if not (count := still.get(request_id, 0)):
            continue
        tracked = Tracked(
            request=request,
            held=_Held(stored, count),
            succession=succession,
            first_attempt_at=first.get(request_id),
        )
        _remember(tracked, attempts.get(request_id, []), timeout)
        made.append(tracked)
    return made


@dataclass(frozen=True, slots=True)
class _Held:
    """The open awards among a request's rows, `count` of them."""

    stored: StoredAwards
    count: int

    def __len__(self) -> int:
        return self.count

    def customers(self) -> list[int]:
        return self._rows()["customer_id"].to_list()

    def opened(self) -> dict[int, OpenAward]:
        rows = self._rows()
        columns = (rows[name].to_list() for name in _OPENED)
        return {
            customer_id: OpenAward(award_id, customer_id, occurrence, _STATUSES[status])
            for award_id, customer_id, occurrence, status in zip(*columns, strict=True)
        }

    def _rows(self) -> pl.DataFrame:
        rows = self.stored.rows
        is_whole = self.count == len(self.stored)
        return rows if is_whole else rows.filter(pl.col("status").is_not_null())


def _open_counts(members: pl.DataFrame) -> dict[str, int]:
    return dict(
        members.filter(pl.col("status").is_not_null())
        .group_by("request_id")
        .len()
        .iter_rows()
    )


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
