"""Cuts planned awards into requests: who goes together, and in which order.

Belongs here: the cut, and what it costs in calls and minutes. Does not belong here:
ids and bytes of a request (`requests`), and which awards are planned (`awards`).

One badge, one date and one id serve all customers of a call (contract 1.2); how many
customers a call may hold is documented nowhere, hence a setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from transforms.awards.earn_dates import earn_date_text
from transforms.platform.requests import (
    REQUEST_AWARDS_SCHEMA,
    REQUESTS_SCHEMA,
    new_requests,
)

if TYPE_CHECKING:
    from collections.abc import Collection

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
    groups = planned.select(_GROUP).unique().sort(_GROUP).with_row_index("group")
    awards = _numbered(_ordered(planned, groups, canaries), batch_size)
    batches = (
        awards.group_by("request", maintain_order=True)
        .agg(
            pl.col("group", "is_canary").first(),
            customers=pl.len().cast(pl.Int64),
            award_ids=pl.col("award_id").sort().str.join(","),
        )
        .join(groups, on="group", how="left", maintain_order="left")
        .with_columns(date_text=earn_date_text(pl.col("earn_event_date")))
    )
    ids = new_requests(batches)
    after = _queued(awards, ids["request_id"])
    members = awards.select(
        request_id=ids["request_id"].gather(awards["request"]),
        award_id="award_id",
        customer_id="customer_id",
        position=pl.int_range(pl.len(), dtype=pl.Int64).over("request"),
    )
    return (
        ids.with_columns(after).select(list(REQUESTS_SCHEMA)),
        members.select(list(REQUEST_AWARDS_SCHEMA)),
    )


def _ordered(
    planned: pl.DataFrame, groups: pl.DataFrame, canaries: Collection[str]
) -> pl.DataFrame:
    """Return group, is_canary, `part` (both of them, counted) and _ORDER, in order.

    Groups are numbered because numbers sort many times faster than texts.
    """
    ids = pl.Series(values=list(canaries), dtype=pl.String).implode()
    return (
        planned.select(*_GROUP, *_ORDER)
        .join(groups, on=_GROUP, how="left")
        .drop(_GROUP)
        .with_columns(is_canary=pl.col("award_id").is_in(ids))
        .sort(pl.col("group"), ~pl.col("is_canary"), *_ORDER)
        .with_columns(part=pl.struct("group", "is_canary").rle_id())
    )


def _numbered(ordered: pl.DataFrame, batch_size: int) -> pl.DataFrame:
    """Add `doubles` (most awards of one customer in the part) and `request`, counted.

    Without a customer twice the cut is by runs; with one, by turns over as many
    requests as are needed: a customer's awards lie side by side and are no more than
    the requests, so that no two of them meet.
    """
    counted = ordered.with_columns(
        nth=pl.int_range(pl.len(), dtype=pl.Int64).over("part"),
        awards=pl.len().over("part"),
        doubles=pl.lit(1, pl.UInt32),
    )
    has_doubles = _has_neighbours(ordered, "part")
    if has_doubles:
        theirs = pl.len().over("part", "customer_id")
        counted = counted.with_columns(doubles=theirs.max().over("part"))
    by_turns = pl.col("nth") % _calls(batch_size)
    by_runs = pl.col("nth") // batch_size
    number = pl.when(pl.col("doubles") > 1).then(by_turns).otherwise(by_runs)
    numbered = counted.with_columns(
        number=pl.when("is_canary").then("nth").otherwise(number)
    )
    if has_doubles:
        numbered = numbered.sort("part", "number", *_ORDER)
    cut = numbered.with_columns(request=pl.struct("part", "number").rle_id())
    if has_doubles and _has_neighbours(cut, "request"):
        raise ValueError("two awards of one customer in a request")
    return cut.drop("nth", "awards", "number")


def _has_neighbours(frame: pl.DataFrame, within: str) -> bool:
    """Whether a customer stands twice, side by side, within the same."""
    same = [pl.col(name) == pl.col(name).shift() for name in (within, "customer_id")]
    return bool(frame.select(pl.all_horizontal(same).any()).item())


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


def _queued(awards: pl.DataFrame, ids: pl.Series) -> pl.Series:
    """Return after_request_id: requests that share customers queue, by and by.

    Earns are read back by badge and date: two requests of one customer must never be
    out together. Requests that share nobody stay free to overtake each other.
    """
    theirs = ["part", "customer_id"]
    pairs = (
        awards.filter(~pl.col("is_canary"), pl.col("doubles") > 1)
        .select("request", first=pl.col("request").min().over(theirs))
        .filter(pl.col("request") != pl.col("first"))
        .unique()
    )
    after: list[str | None] = [None] * len(ids)
    last: dict[int, int] = {}
    for request, queue in _queues(pairs.rows()).items():
        if queue in last:
            after[request] = ids[last[queue]]
        last[queue] = request
    return pl.Series("after_request_id", after, dtype=pl.String)


def _queues(pairs: Collection[tuple[int, int]]) -> dict[int, int]:
    """Return the queue of each request in the pairs, by the order of requests."""
    leader = {request: request for pair in pairs for request in pair}

    def queue_of(request: int) -> int:
        while leader[request] != request:
            leader[request] = leader[leader[request]]
            request = leader[request]
        return request

    for one, other in pairs:
        leader[queue_of(one)] = queue_of(other)
    return {request: queue_of(request) for request in sorted(leader)}
