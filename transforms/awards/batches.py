"""Cuts planned awards into requests: who goes together, and in which order.

Belongs here: the cut, and what it costs in calls and minutes. Does not belong here:
ids and bytes of a request (`requests`), and which awards are planned (`awards`).

One badge, one date and one id serve all customers of a call (contract 1.2); how many
customers a call may hold is documented nowhere, hence a setting.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import polars as pl

from transforms.awards.earn_dates import earn_date_text
from transforms.platform.requests import Request, frames_of, new_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_GROUP = ["badge", "badge_meta_id", "reference_id", "earn_event_date"]
_ORDER = ["customer_id", "occurrence", "award_id"]


def cut_requests(
    planned: pl.DataFrame, *, batch_size: int, canaries: Collection[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return requests and their awards: the fewest calls, plus one for each canary.

    `planned`: award_id, customer_id, occurrence, earn_event_date, badge,
    badge_meta_id, reference_id; one row per award. `canaries`: award ids that get a
    request of their own. Awards of one badge and date are taken in the order of
    customer and occurrence and cut at `batch_size`; two awards of one customer never
    share a request. Frames as `requests.REQUESTS_SCHEMA` and `REQUEST_AWARDS_SCHEMA`,
    in the order of badge and date, canaries first. Nothing depends on the order of
    `planned`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    batches = (
        _numbered(planned, batch_size, canaries)
        .group_by(*_GROUP, "is_canary", "number", maintain_order=True)
        .agg("award_id", "customer_id", pl.col("doubles").first())
        .with_columns(date_text=earn_date_text(pl.col("earn_event_date")))
    )
    return frames_of(_made(batches.iter_rows(named=True)))


def _numbered(
    planned: pl.DataFrame, batch_size: int, canaries: Collection[str]
) -> pl.DataFrame:
    """Add is_canary, `doubles`, and the number of the request in its group.

    Without a customer twice the cut is by runs; with one, by turns over as many
    requests as are needed: a customer's awards lie side by side and are no more than
    the requests, so that no two of them meet.
    """
    ids = pl.Series(values=list(canaries), dtype=pl.String).implode()
    group = [*_GROUP, "is_canary"]
    order = [*map(pl.col, _GROUP), ~pl.col("is_canary")]
    ordered = (
        planned.select(*_GROUP, *_ORDER)
        .with_columns(is_canary=pl.col("award_id").is_in(ids))
        .sort([*order, *map(pl.col, _ORDER)])
        .with_columns(
            nth=pl.int_range(pl.len()).over(group),
            awards=pl.len().over(group),
            doubles=pl.len().over(*group, "customer_id").max().over(group),
        )
    )
    by_turns = pl.col("nth") % _calls(batch_size)
    by_runs = pl.col("nth") // batch_size
    number = pl.when(pl.col("doubles") > 1).then(by_turns).otherwise(by_runs)
    return ordered.with_columns(
        number=pl.when("is_canary").then("nth").otherwise(number)
    ).sort([*order, pl.col("number"), *map(pl.col, _ORDER)])


def _calls(batch_size: int) -> pl.Expr:
    """Return the fewest calls for a group with these `awards` and `doubles`."""
    awards, doubles = (pl.col(name).cast(pl.Int64) for name in ("awards", "doubles"))
    return pl.max_horizontal((awards + (batch_size - 1)) // batch_size, doubles)


def fewest_calls(planned: pl.DataFrame, batch_size: int) -> int:
    """Return the fewest calls for these awards, canaries not counted.

    The sum over (badge, date) of the larger of awards / batch size, rounded up, and
    the most awards of one customer. Columns as for `cut_requests`.
    """
    groups = (
        planned.group_by(*_GROUP, "customer_id")
        .agg(awards=pl.len())
        .group_by(_GROUP)
        .agg(pl.col("awards").sum(), doubles=pl.col("awards").max())
    )
    return int(groups.select(_calls(batch_size).sum()).item() or 0)


def minutes_at_limit(calls: int, per_minute: int) -> float:
    """Return how many minutes the calls take at the limit; 0 without pacing."""
    return calls / per_minute if per_minute else 0.0


def _made(batches: Iterable[dict[str, Any]]) -> Iterator[Request]:
    for _, group in groupby(batches, key=itemgetter(*_GROUP, "is_canary")):
        rows = list(group)
        requests = [_request(row) for row in rows]
        is_chained = rows[0]["doubles"] > 1 and not rows[0]["is_canary"]
        yield from _chained(requests) if is_chained else requests


def _request(row: dict[str, Any]) -> Request:
    return new_request(
        zip(row["award_id"], row["customer_id"], strict=True),
        **{name: row[name] for name in (*_GROUP, "date_text", "is_canary")},
    )


def _chained(requests: Sequence[Request]) -> list[Request]:
    """Queue the requests of one badge and date that share customers, by and by.

    Earns are read back by badge and date: two requests of one customer must never be
    out together. Requests that share nobody stay free to overtake each other.
    """
    leader = list(range(len(requests)))

    def queue_of(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    first_with: dict[int, int] = {}
    for number, request in enumerate(requests):
        for customer_id in request.customer_ids:
            first = first_with.setdefault(customer_id, number)
            leader[queue_of(number)] = queue_of(first)
    last: dict[int, str] = {}
    chained = []
    for number, request in enumerate(requests):
        queue = queue_of(number)
        chained.append(replace(request, after_request_id=last.get(queue)))
        last[queue] = request.request_id
    return chained
