"""The request: one earnBulk call, whole, with its id, its bytes and what follows it.

Belongs here: request ids, bodies, the requests that are cut out of others or take over
from them, and many of them made at once. Does not belong here: which awards go together
(`batches`), how they are read from the ledger's frames (`request_frames`), and when a
request is sent, split or followed (`flows`).

A request is self-contained: what it sends can be said again, byte for byte, without
the definition that it came from, even if that was edited since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import polars as pl

from transforms.local_time import INSTANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

SCHEME = "retrobadge/request/1"
OWNER_TYPE = "Historical_Import"
_REQUEST_ID_LENGTH = 32
_SEPARATOR = "\x1f"
_NOT_PLAIN = r"[^ !#-\[\]-~]"  # what JSON may write otherwise
# What stands before, between and after the texts of a body.
_BODY_HEAD = ('{"badgeMetaId":', ',"customerIds":[')
_BODY_TAIL = (
    '],"requestId":',
    ',"earnEventDate":',
    ',"earnEventDateISO":',
    ',"triggeredBy":{"ownerType":',
    ',"referenceId":',
    "}}",
)

REQUESTS_SCHEMA = pl.Schema(
    {
        "request_id": pl.String(),
        "badge": pl.String(),
        "badge_meta_id": pl.String(),
        "reference_id": pl.String(),
        "owner_type": pl.String(),
        "earn_event_date": INSTANT,
        "date_text": pl.String(),
        "customers": pl.Int64(),
        "is_canary": pl.Boolean(),
        "parent_request_id": pl.String(),
        "predecessor_request_id": pl.String(),
        "after_request_id": pl.String(),
        "scheme": pl.String(),
        "body_head": pl.String(),
        "body_tail": pl.String(),
    }
)
REQUEST_AWARDS_SCHEMA = pl.Schema(
    {
        "request_id": pl.String(),
        "award_id": pl.String(),
        "customer_id": pl.Int64(),
        "position": pl.Int64(),
    }
)


class RequestAward(NamedTuple):
    """An award in a request; `position` counts from 0 in the order of sending.

    A tuple: there may be millions.
    """

    award_id: str
    customer_id: int
    position: int


class StoredAwards(Sequence[RequestAward]):
    """The awards of one request, which stay rows of a frame until somebody asks.

    Requests that wait to be sent may hold millions of them: as rows they take a tenth
    of the memory. `rows` has them with all columns of the frame.
    """

    __slots__ = ("_all", "_count", "_first")

    def __init__(self, all_rows: pl.DataFrame, first: int, count: int) -> None:
        self._all, self._first, self._count = all_rows, first, count

    @property
    def rows(self) -> pl.DataFrame:
        """Return them in the order of sending."""
        return self._all.slice(self._first, self._count)

    @property
    def customer_ids(self) -> tuple[int, ...]:
        """Return whose they are, without making them."""
        return tuple(self.rows["customer_id"].to_list())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RequestAward]:
        rows = self.rows
        columns = (rows[name].to_list() for name in RequestAward._fields)
        return map(RequestAward._make, zip(*columns, strict=True))

    @overload
    def __getitem__(self, position: int) -> RequestAward: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[RequestAward, ...]: ...
    def __getitem__(
        self, position: int | slice
    ) -> RequestAward | tuple[RequestAward, ...]:
        return tuple(self)[position]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One earnBulk call: its body is head, comma-joined customer ids, tail.

    `date_text` is the earn date as sent. `parent_request_id` names the request it was
    cut out of, `predecessor_request_id` the one whose id is burnt and whose work it
    takes over, `after_request_id` the one that must have come to an end before it is
    sent, for they share a customer.
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
    awards: Sequence[RequestAward]

    @property
    def customers(self) -> int:
        """Return how many customers it sends."""
        return len(self.awards)

    @property
    def customer_ids(self) -> tuple[int, ...]:
        """Return its customers in the order of sending."""
        if isinstance(self.awards, StoredAwards):
            return self.awards.customer_ids
        return tuple(award.customer_id for award in self.awards)


def new_request(
    awards: Iterable[tuple[str, int]],
    *,
    badge: str,
    badge_meta_id: str,
    reference_id: str,
    earn_event_date: datetime,
    date_text: str,
    is_canary: bool = False,
    predecessor_request_id: str | None = None,
) -> Request:
    """Return the request that sends these (award_id, customer_id), in this order.

    Two awards of one customer are a ValueError: an answer names customers, not awards.
    """
    blank = Request(
        request_id="",
        badge=badge,
        badge_meta_id=badge_meta_id,
        reference_id=reference_id,
        owner_type=OWNER_TYPE,
        earn_event_date=earn_event_date,
        date_text=date_text,
        is_canary=is_canary,
        parent_request_id=None,
        predecessor_request_id=predecessor_request_id,
        after_request_id=None,
        scheme=SCHEME,
        body_head="",
        body_tail="",
        awards=(),
    )
    return _filled(blank, awards)


def _filled(request: Request, awards: Iterable[tuple[str, int]]) -> Request:
    """Give a request other awards, and with them its id and body."""
    members = tuple(
        RequestAward(award_id=award_id, customer_id=customer_id, position=position)
        for position, (award_id, customer_id) in enumerate(awards)
    )
    if len({award.customer_id for award in members}) != len(members):
        message = f"two awards of one customer in a request of badge {request.badge}"
        raise ValueError(message)
    made_id = request_id(
        (award.award_id for award in members),
        badge_meta_id=request.badge_meta_id,
        reference_id=request.reference_id,
        owner_type=request.owner_type,
        date_text=request.date_text,
        predecessor_request_id=request.predecessor_request_id,
    )
    filled = replace(request, request_id=made_id, scheme=SCHEME, awards=members)
    head, tail = _body_parts(filled)
    return replace(filled, body_head=head, body_tail=tail)


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
    return _digest(_SEPARATOR.join(said))


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:_REQUEST_ID_LENGTH]


def _body_parts(request: Request) -> tuple[str, str]:
    """Return what stands before and after the customer ids (contract 1.2).

    The date goes out under both of its names: which of them is read is a conflict of
    the documentation, and both say the same instant.
    """
    date = request.date_text
    owner = request.owner_type, request.reference_id
    return (
        _worded(_BODY_HEAD, request.badge_meta_id),
        _worded(_BODY_TAIL, request.request_id, date, date, *owner),
    )


def _worded(pieces: Sequence[str], *texts: str) -> str:
    return "".join(_between(pieces, map(json.dumps, texts)))


def _between(pieces: Iterable[Any], quoted: Iterable[Any]) -> list[Any]:
    """Put each text where it belongs: after its piece."""
    paired = zip_longest(pieces, quoted)
    return [one for pair in paired for one in pair if one is not None]


def new_requests(batches: pl.DataFrame) -> pl.DataFrame:
    """Return many requests at once, in their order: as `new_request` makes each.

    `batches`: badge, badge_meta_id, reference_id, earn_event_date, date_text,
    is_canary, customers, and award_ids, which are sorted and joined by commas. Columns
    as REQUESTS_SCHEMA, after_request_id null.
    """
    nobody = pl.lit(None, pl.String)
    said = pl.concat_str(
        pl.lit(SCHEME),
        *("badge_meta_id", "reference_id", pl.lit(OWNER_TYPE), "date_text"),
        *("award_ids", pl.lit("")),
        separator=_SEPARATOR,
    )
    ids = [_digest(text) for text in batches.select(said).to_series()]
    made = batches.drop("award_ids").with_columns(
        pl.Series("request_id", ids, dtype=pl.String),
        owner_type=pl.lit(OWNER_TYPE),
        parent_request_id=nobody,
        predecessor_request_id=nobody,
        after_request_id=nobody,
        scheme=pl.lit(SCHEME),
    )
    names = ("request_id", "date_text", "date_text", "owner_type", "reference_id")
    return made.with_columns(
        body_head=_all_worded(_BODY_HEAD, made["badge_meta_id"]),
        body_tail=_all_worded(_BODY_TAIL, *(made[name] for name in names)),
    ).select(pl.col(name).cast(kind) for name, kind in REQUESTS_SCHEMA.items())


def _all_worded(pieces: Sequence[str], *columns: pl.Series) -> pl.Expr:
    quoted = (pl.lit(_quoted(column)) for column in columns)
    return pl.concat_str(_between(map(pl.lit, pieces), quoted))


def _quoted(texts: pl.Series) -> pl.Series:
    """Quote texts for JSON; nearly all of them stand in it as they are."""
    odd = texts.filter(texts.str.contains(_NOT_PLAIN)).unique()
    plain = '"' + texts + '"'
    if odd.is_empty():
        return plain
    quoted = pl.Series(map(json.dumps, odd), dtype=pl.String)
    return texts.replace_strict(odd, quoted, default=plain)


def body(request: Request, customer_ids: Iterable[int] | None = None) -> bytes:
    """Return the JSON to send; with `customer_ids`, for these of its customers only.

    ValueError for a customer who is not in the request, or twice, and for none at all.
    """
    asked = request.customer_ids if customer_ids is None else tuple(customer_ids)
    if not asked or len(set(asked)) != len(asked):
        message = f"request {request.request_id}: no customer to send, or one twice"
        raise ValueError(message)
    if strangers := set(asked) - set(request.customer_ids):
        raise ValueError(f"not in request {request.request_id}: {sorted(strangers)}")
    listed = ",".join(map(str, asked))
    return f"{request.body_head}{listed}{request.body_tail}".encode()


def successor(
    request: Request, awards: Iterable[RequestAward] | None = None
) -> Request:
    """Return the request that takes over these awards (default: all) under a new id.

    Only for awards that are shown not to have arrived: the old id is burnt.
    """
    heir = replace(
        request,
        parent_request_id=None,
        predecessor_request_id=request.request_id,
        after_request_id=None,
    )
    return _filled(heir, _pairs(_chosen(request, awards)))


def split(
    request: Request, awards: Iterable[RequestAward] | None = None
) -> tuple[Request, Request]:
    """Return two halves of a request that was too large, or of `awards` of it."""
    left = _chosen(request, awards)
    if len(left) < 2:
        raise ValueError(f"request {request.request_id}: one customer can't be halved")
    middle = (len(left) + 1) // 2
    return _child(request, left[:middle]), _child(request, left[middle:])


def split_off(
    request: Request, award: RequestAward, *, is_canary: bool = True
) -> tuple[Request, Request]:
    """Return a request of one award, and one of the others: for the next canary."""
    taken = _chosen(request, [award])
    others = [other for other in request.awards if other not in taken]
    if not others:
        raise ValueError(f"request {request.request_id}: nothing is left to split off")
    return _child(request, taken, is_canary=is_canary), _child(request, others)


def _child(
    request: Request, awards: Sequence[RequestAward], *, is_canary: bool = False
) -> Request:
    child = replace(request, parent_request_id=request.request_id, is_canary=is_canary)
    return _filled(child, _pairs(awards))


def _chosen(
    request: Request, awards: Iterable[RequestAward] | None
) -> list[RequestAward]:
    """Return the chosen awards in the order of sending; ValueError for strangers."""
    if awards is None:
        return list(request.awards)
    chosen = {award.award_id for award in awards}
    if strangers := chosen - {award.award_id for award in request.awards}:
        raise ValueError(f"not in request {request.request_id}: {sorted(strangers)}")
    return [award for award in request.awards if award.award_id in chosen]


def _pairs(awards: Iterable[RequestAward]) -> list[tuple[str, int]]:
    return [(award.award_id, award.customer_id) for award in awards]
