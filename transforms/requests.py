"""Cuts planned awards into requests: who goes together, under which id, as which bytes.

Belongs here: the cut, request ids, bodies, and the requests that follow from others
(halves, split-offs, successors). Does not belong here: which awards are planned
(`awards`), and when a request is sent, split or followed (`flows`).

One badge, one date and one id serve all customers of a call (contract 1.2), and how
many a call may hold is documented nowhere. A request is self-contained: what it sends
can be said again, byte for byte, without the definition that it came from.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import polars as pl

from transforms.earn_dates import INSTANT, earn_date_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

SCHEME = "retrobadge/request/1"
OWNER_TYPE = "Historical_Import"
_REQUEST_ID_LENGTH = 32
_GROUP = ["badge", "badge_meta_id", "reference_id", "earn_event_date"]
_ORDER = ["customer_id", "occurrence", "award_id"]

REQUESTS_SCHEMA = pl.Schema(
    {
        "request_id": pl.String,
        "badge": pl.String,
        "badge_meta_id": pl.String,
        "reference_id": pl.String,
        "owner_type": pl.String,
        "earn_event_date": INSTANT,
        "date_text": pl.String,
        "customers": pl.Int64,
        "is_canary": pl.Boolean,
        "parent_request_id": pl.String,
        "predecessor_request_id": pl.String,
        "after_request_id": pl.String,
        "scheme": pl.String,
        "body_head": pl.String,
        "body_tail": pl.String,
    }
)
REQUEST_AWARDS_SCHEMA = pl.Schema(
    {
        "request_id": pl.String,
        "award_id": pl.String,
        "customer_id": pl.Int64,
        "position": pl.Int64,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestAward:
    """An award in a request; `position` counts from 0 in the order of sending."""

    award_id: str
    customer_id: int
    position: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One earnBulk call, whole: its body is head, comma-joined customer ids, tail.

    `parent_request_id` names the request it was cut out of, `predecessor_request_id`
    the one whose id is burnt and whose work it takes over, `after_request_id` the one
    that must have come to an end first, for they share a customer.
    """

    request_id: str
    badge: str
    badge_meta_id: str
    reference_id: str
    owner_type: str
    earn_event_date: datetime
    date_text: str
    is_canary: bool
    parent_request_id: str | None
    predecessor_request_id: str | None
    after_request_id: str | None
    scheme: str
    body_head: str
    body_tail: str
    awards: tuple[RequestAward, ...]

    @property
    def customers(self) -> int:
        """Return how many customers it sends."""
        return len(self.awards)

    @property
    def customer_ids(self) -> tuple[int, ...]:
        """Return its customers in the order of sending."""
        return tuple(award.customer_id for award in self.awards)


def cut_requests(
    planned: pl.DataFrame, *, batch_size: int, canaries: Collection[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return requests and their awards: the fewest calls, plus one for each canary.

    `planned`: award_id, customer_id, occurrence, earn_event_date, badge,
    badge_meta_id, reference_id; one row per award. `canaries`: award ids that get a
    request of their own. Awards of one badge and date are taken in the order of
    customer and occurrence and cut at `batch_size`; two awards of one customer never
    share a request. Frames as REQUESTS_SCHEMA and REQUEST_AWARDS_SCHEMA, in the order
    of badge, date, canaries first. Neither depends on the order of `planned`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    numbered = _numbered(planned, batch_size, canaries)
    cut = [*_GROUP, "is_canary", "number"]
    grouped = numbered.group_by(cut, maintain_order=True).agg(
        "award_id", "customer_id", pl.col("doubles").first()
    )
    grouped = grouped.with_columns(date_text=earn_date_text(pl.col("earn_event_date")))
    made = list(_made(grouped.iter_rows(named=True)))
    return frames_of(made)


def _numbered(
    planned: pl.DataFrame, batch_size: int, canaries: Collection[str]
) -> pl.DataFrame:
    """Add is_canary, the number of the request in its group, and `doubles`.

    Without a customer twice the cut is by runs; with one, by turns over as many
    requests as needed: a customer's awards lie side by side and are no more than the
    requests, so that no two of them meet.
    """
    ids = pl.Series(values=list(canaries), dtype=pl.String)
    group = [*_GROUP, "is_canary"]
    nth = pl.int_range(pl.len()).over(group)
    return (
        planned.select(*_GROUP, *_ORDER)
        .with_columns(is_canary=pl.col("award_id").is_in(ids.implode()))
        .sort(*_GROUP, ~pl.col("is_canary"), *_ORDER)
        .with_columns(nth=nth, calls=_calls(batch_size, group), doubles=_doubles(group))
        .with_columns(
            number=pl.when("is_canary")
            .then("nth")
            .when(pl.col("doubles") > 1)
            .then(pl.col("nth") % pl.col("calls"))
            .otherwise(pl.col("nth") // batch_size)
        )
        .sort(*group[:-1], ~pl.col("is_canary"), "number", *_ORDER)
    )


def _doubles(group: Sequence[str]) -> pl.Expr:
    """Return the most awards of one customer in a group."""
    return pl.len().over(*group, "customer_id").max().over(group).cast(pl.Int64)


def _calls(batch_size: int, group: Sequence[str]) -> pl.Expr:
    enough = (pl.len().over(group).cast(pl.Int64) + (batch_size - 1)) // batch_size
    return pl.max_horizontal(enough, _doubles(group))


def fewest_calls(planned: pl.DataFrame, batch_size: int) -> int:
    """Return the fewest calls for these awards, canaries not counted.

    The sum over (badge, date) of the larger of awards / batch size, rounded up, and
    the most awards of one customer. Columns as for `cut_requests`.
    """
    if planned.is_empty():
        return 0
    grouped = (
        planned.group_by(*_GROUP, "customer_id")
        .len()
        .group_by(_GROUP)
        .agg(awards=pl.col("len").sum(), doubles=pl.col("len").max())
    )
    enough = -(-pl.col("awards").cast(pl.Int64) // batch_size)
    calls = pl.max_horizontal(enough, pl.col("doubles").cast(pl.Int64))
    return int(grouped.select(calls.sum()).item())


def minutes_at_limit(calls: int, per_minute: int) -> float:
    """Return how many minutes the calls take at the limit; 0 without pacing."""
    return calls / per_minute if per_minute else 0.0


def _made(rows: Iterable[dict[str, Any]]) -> Iterator[Request]:
    for _, group in groupby(rows, key=itemgetter(*_GROUP, "is_canary")):
        batches = list(group)
        requests = [_request_of_row(row) for row in batches]
        has_doubles = batches[0]["doubles"] > 1 and not batches[0]["is_canary"]
        yield from _chained(requests) if has_doubles else requests


def _request_of_row(row: dict[str, Any]) -> Request:
    return _request(
        zip(row["award_id"], row["customer_id"], strict=True),
        **{name: row[name] for name in (*_GROUP, "date_text", "is_canary")},
    )


def _chained(requests: Sequence[Request]) -> list[Request]:
    """Queue the requests of one badge and date that share customers, by and by.

    Earns are read back one to one by badge and date: two requests of one customer must
    never be out together. Those that share nobody stay free to overtake each other.
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
            leader[queue_of(number)] = queue_of(
                first_with.setdefault(customer_id, number)
            )
    last: dict[int, str] = {}
    chained = []
    for number, request in enumerate(requests):
        queue = queue_of(number)
        chained.append(replace(request, after_request_id=last.get(queue)))
        last[queue] = request.request_id
    return chained


def _request(
    awards: Iterable[tuple[str, int]],
    *,
    badge: str,
    badge_meta_id: str,
    reference_id: str,
    earn_event_date: datetime,
    date_text: str,
    owner_type: str = OWNER_TYPE,
    is_canary: bool = False,
    parent_request_id: str | None = None,
    predecessor_request_id: str | None = None,
    after_request_id: str | None = None,
) -> Request:
    members = tuple(
        RequestAward(award_id=award_id, customer_id=customer_id, position=position)
        for position, (award_id, customer_id) in enumerate(awards)
    )
    made_id = request_id(
        (award.award_id for award in members),
        badge_meta_id=badge_meta_id,
        reference_id=reference_id,
        date_text=date_text,
        owner_type=owner_type,
        predecessor_request_id=predecessor_request_id,
    )
    head, tail = _body_parts(
        made_id, badge_meta_id, reference_id, owner_type, date_text=date_text
    )
    return Request(
        request_id=made_id,
        badge=badge,
        badge_meta_id=badge_meta_id,
        reference_id=reference_id,
        owner_type=owner_type,
        earn_event_date=earn_event_date,
        date_text=date_text,
        is_canary=is_canary,
        parent_request_id=parent_request_id,
        predecessor_request_id=predecessor_request_id,
        after_request_id=after_request_id,
        scheme=SCHEME,
        body_head=head,
        body_tail=tail,
        awards=members,
    )


def request_id(
    award_ids: Iterable[str],
    *,
    badge_meta_id: str,
    reference_id: str,
    date_text: str,
    owner_type: str = OWNER_TYPE,
    predecessor_request_id: str | None = None,
) -> str:
    """Return a request's id: 32 hex digits of a hash of what it says.

    The same badge, reference, owner, date and awards give the same id in any run and
    any order, so that the platform refuses a repeat (809, contract 5.4).
    """
    said = [SCHEME, badge_meta_id, reference_id, owner_type, date_text]
    said += [",".join(sorted(award_ids)), predecessor_request_id or ""]
    digest = hashlib.sha256("\x1f".join(said).encode())
    return digest.hexdigest()[:_REQUEST_ID_LENGTH]


def _body_parts(
    request_id: str,
    badge_meta_id: str,
    reference_id: str,
    owner_type: str,
    *,
    date_text: str,
) -> tuple[str, str]:
    """Return what stands before and after the customer ids.

    The date goes out under both of its names: which one is read is a conflict of the
    documentation (contract 1.2), and both say the same instant.
    """
    head = f'{{"badgeMetaId":{json.dumps(badge_meta_id)},"customerIds":['
    rest = {
        "requestId": request_id,
        "earnEventDate": date_text,
        "earnEventDateISO": date_text,
        "triggeredBy": {"ownerType": owner_type, "referenceId": reference_id},
    }
    return head, f"],{json.dumps(rest, separators=(',', ':'))[1:]}"


def body(request: Request, customer_ids: Iterable[int] | None = None) -> bytes:
    """Return the JSON to send; with `customer_ids`, for these of its customers only.

    Raises ValueError for a customer who is not in the request, and for none at all.
    """
    asked = request.customer_ids if customer_ids is None else tuple(customer_ids)
    if strangers := set(asked) - set(request.customer_ids):
        raise ValueError(f"not in request {request.request_id}: {sorted(strangers)}")
    if not asked:
        raise ValueError(f"no customer left to send in request {request.request_id}")
    listed = ",".join(map(str, asked))
    return f"{request.body_head}{listed}{request.body_tail}".encode()


def successor(
    request: Request, awards: Iterable[RequestAward] | None = None
) -> Request:
    """Return the request that takes over these awards under a new id.

    Only for awards that are shown not to have arrived: the old id is burnt.
    """
    return _follower(
        request,
        _of_request(request, awards),
        is_canary=request.is_canary,
        predecessor_request_id=request.request_id,
    )


def split(
    request: Request, awards: Iterable[RequestAward] | None = None
) -> tuple[Request, Request]:
    """Return two halves of a request that was too large, or of `awards` of it."""
    left = _of_request(request, awards)
    if len(left) < 2:  # noqa: PLR2004
        raise ValueError(f"request {request.request_id}: one customer can't be halved")
    middle = (len(left) + 1) // 2
    first, second = (_child(request, half) for half in (left[:middle], left[middle:]))
    return first, second


def split_off(
    request: Request, awards: Iterable[RequestAward], *, is_canary: bool = True
) -> tuple[Request, Request]:
    """Return a request of these awards and one of the others: the next canary."""
    chosen = _of_request(request, awards)
    taken = {award.award_id for award in chosen}
    others = [award for award in request.awards if award.award_id not in taken]
    if not chosen or not others:
        raise ValueError(f"request {request.request_id}: nothing to split off")
    return _child(request, chosen, is_canary=is_canary), _child(request, others)


def _child(
    request: Request, awards: Sequence[RequestAward], *, is_canary: bool = False
) -> Request:
    return _follower(
        request,
        awards,
        is_canary=is_canary,
        parent_request_id=request.request_id,
        predecessor_request_id=request.predecessor_request_id,
        after_request_id=request.after_request_id,
    )


def _follower(
    request: Request,
    awards: Sequence[RequestAward],
    *,
    is_canary: bool,
    predecessor_request_id: str | None,
    parent_request_id: str | None = None,
    after_request_id: str | None = None,
) -> Request:
    return _request(
        ((award.award_id, award.customer_id) for award in awards),
        badge=request.badge,
        badge_meta_id=request.badge_meta_id,
        reference_id=request.reference_id,
        owner_type=request.owner_type,
        earn_event_date=request.earn_event_date,
        date_text=request.date_text,
        is_canary=is_canary,
        parent_request_id=parent_request_id,
        predecessor_request_id=predecessor_request_id,
        after_request_id=after_request_id,
    )


def _of_request(
    request: Request, awards: Iterable[RequestAward] | None
) -> list[RequestAward]:
    """Return the chosen awards in the order of sending; ValueError for strangers."""
    if awards is None:
        return list(request.awards)
    chosen = {award.award_id for award in awards}
    if strangers := chosen - {award.award_id for award in request.awards}:
        raise ValueError(f"not in request {request.request_id}: {sorted(strangers)}")
    return [award for award in request.awards if award.award_id in chosen]


def frames_of(requests: Iterable[Request]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return requests as the two frames that the ledger keeps."""
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
    members = request_awards.sort("request_id", "position").group_by(
        "request_id", maintain_order=True
    )
    awards = {
        row["request_id"]: tuple(
            RequestAward(award_id=award_id, customer_id=customer_id, position=position)
            for award_id, customer_id, position in zip(
                row["award_id"], row["customer_id"], row["position"], strict=True
            )
        )
        for row in members.agg("award_id", "customer_id", "position").iter_rows(
            named=True
        )
    }
    names = [name for name in REQUESTS_SCHEMA if name != "customers"]
    return [
        Request(**row, awards=awards[row["request_id"]])
        for row in requests.select(names).iter_rows(named=True)
    ]
