"""Requests as the two frames that the ledger keeps, and as requests again.

Belongs here: both ways between the frames and the requests. Does not belong here: what
a request is, its id and its body (`requests`).
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import polars as pl

from transforms.platform.requests import (
    REQUEST_AWARDS_SCHEMA,
    REQUESTS_SCHEMA,
    Request,
    StoredAwards,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def frames_of(requests: Iterable[Request]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return requests as REQUESTS_SCHEMA and REQUEST_AWARDS_SCHEMA, in their order."""
    columns: dict[str, list[Any]] = {name: [] for name in REQUESTS_SCHEMA}
    members: dict[str, list[Any]] = {name: [] for name in REQUEST_AWARDS_SCHEMA}
    for request in requests:
        for name, values in columns.items():
            values.append(getattr(request, name))
        for award in request.awards:
            members["request_id"].append(request.request_id)
            members["award_id"].append(award.award_id)
            members["customer_id"].append(award.customer_id)
            members["position"].append(award.position)
    return (
        pl.DataFrame(columns, schema=REQUESTS_SCHEMA),
        pl.DataFrame(members, schema=REQUEST_AWARDS_SCHEMA),
    )


def requests_from_frames(
    requests: pl.DataFrame, request_awards: pl.DataFrame
) -> list[Request]:
    """Return the requests of two such frames, in the order of the first.

    Further columns are left alone. Nothing is computed anew: id, date and body are
    what was written down.
    """
    return [request for request, _ in stored_requests(requests, request_awards)]


def stored_requests(
    requests: pl.DataFrame, request_awards: pl.DataFrame
) -> Iterator[tuple[Request, StoredAwards]]:
    """Return the same, each with its awards' rows in the second frame."""
    members = request_awards
    if not _is_in_order(members):
        members = members.sort("request_id", "position")
    held = members.select(
        pl.col("request_id").rle().struct.rename_fields(["count", "request_id"])
    ).unnest("request_id")
    firsts = held["count"].cum_sum() - held["count"]
    places = dict(
        zip(held["request_id"], zip(firsts, held["count"], strict=True), strict=True)
    )
    kept = members.drop("request_id")  # what each row says of it, its place says too
    names = [field.name for field in fields(Request) if field.name != "awards"]
    for row in requests.select(names).iter_rows(named=True):
        awards = StoredAwards(kept, *places.get(row["request_id"], (0, 0)))
        yield Request(**row, awards=awards), awards


def _is_in_order(members: pl.DataFrame) -> bool:
    """Tell whether rows of one request stand together and in the order of sending."""
    holder, place = pl.col("request_id"), pl.col("position")
    is_next = (holder > holder.shift()) | (
        (holder == holder.shift()) & (place > place.shift())
    )
    return bool(members.select(is_next.all()).item())
