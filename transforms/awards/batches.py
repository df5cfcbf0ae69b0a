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

_BADGE = ["badge", "badge_meta_id", "reference_id"]
_GROUP = [*_BADGE, "earn_event_date"]
_ORDER = ["customer_id", "occurrence", "award_id"]
_PART = ["badge_number", "earn_event_date", "is_canary"]
# What awards are sorted by, as numbers, before their ids.
_NUMBERS = ["badge_number", "date_number", "is_other", "customer_id", "occurrence"]
_MOST_INT64 = 2**63 - 1


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
    badges, badge_of = _badges(planned)
    awards = _numbered(_ordered(planned, badge_of, canaries), batch_size)
    batches = (
        awards.group_by("request", maintain_order=True)
        .agg(
            pl.col(_PART).first(),
            customers=pl.len().cast(pl.Int64),
            award_ids=pl.col("award_id").sort().str.join(","),
        )
        .join(badges, on="badge_number", how="left", maintain_order="left")
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


def _badges(planned: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Return the badges in order, with `badge_number`, and the number of each award's.

    Awards of one badge mostly lie together: only the first of a stretch is looked up.
    """
    stretch = planned.select(pl.struct(_BADGE).rle_id()).to_series()
    is_first = (stretch != stretch.shift()).fill_null(value=True)
    firsts = planned.select(_BADGE).filter(is_first)
    badges = firsts.unique().sort(_BADGE).with_row_index("badge_number")
    numbers = firsts.join(badges, on=_BADGE, how="left", maintain_order="left")
    return badges, numbers["badge_number"].gather(stretch)


def _ordered(
    planned: pl.DataFrame, badge_of: pl.Series, canaries: Collection[str]
) -> pl.DataFrame:
    """Return _ORDER, _PART and `part`, which counts the latter, in order."""
    ids = pl.Series(values=list(canaries), dtype=pl.String).implode()
    dates = planned["earn_event_date"].to_physical()
    awards = planned.select(
        *_ORDER,
        "earn_event_date",
        badge_number=badge_of,
        date_number=dates.unique().sort().search_sorted(dates),
        is_canary=pl.col("award_id").is_in(ids),
    ).with_columns(is_other=~pl.col("is_canary"))
    in_order = _sorted(awards.rechunk()).drop("date_number", "is_other")
    return in_order.with_columns(part=pl.struct(_PART).rle_id())


def _sorted(awards: pl.DataFrame) -> pl.DataFrame:
    """Sort by _NUMBERS, and awards for which these are the same by their ids.

    As one number, if 64 bits hold it, they sort ten times faster than column by column;
    ids are slower still, and looked at only if all else is the same.
    """
    key, size = pl.lit(0, pl.Int64), 1
    ends = awards.select(
        least=pl.concat_list(pl.col(_NUMBERS).min().cast(pl.Int64)),
        most=pl.concat_list(pl.col(_NUMBERS).max().cast(pl.Int64)),
    )
    for name, least, most in zip(_NUMBERS, *ends.row(0), strict=True):
        length = (most or 0) - (least or 0) + 1
        key, size = key * length + (pl.col(name).cast(pl.Int64) - least), size * length
    if size > _MOST_INT64:
        return awards.sort(*_NUMBERS, "award_id")
    in_order = awards.with_columns(key=key).sort("key")
    if in_order.select((pl.col("key") == pl.col("key").shift()).any()).item():
        in_order = in_order.sort("key", "award_id")
    return in_order.drop("key")


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
        numbered = numbered.sort("part", "number", maintain_order=True)
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
