"""Reads one earnBulk answer: what it decides, and one outcome per customer asked.

Belongs here: what an answer means (settlement 3). Does not belong here: sending,
waiting, and what becomes of an ambiguous request (`flows.sending.settle`).

Only a platform envelope decides: items with a customer id, or `errors` with a code
that is known for this endpoint. A 2xx is not a success, an id beside an error means
nothing, and a customer who was asked for and is not in the answer is unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from itertools import repeat
from typing import Any, NamedTuple

import orjson

from transforms.instants import CLOCK_TOLERANCE, instant_of, made_at
from transforms.platform.codes import (
    RequestEffect,
    WholeRequest,
    customer_status,
    request_effect,
)
from transforms.statuses import AwardStatus, Proof

# What the alarm of such an answer says; a later run knows it again by this.
STRANGERS = "listed that were not asked for"


class Failure(StrEnum):
    """Why there is no whole answer."""

    NOT_CONNECTED = "not_connected"  # no byte can have reached the platform
    TIMED_OUT = "timed_out"
    CUT = "cut"  # reset, closed early, or a body that does not end


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back of one HTTP call, undecided. Instants are UTC."""

    started_at: datetime
    ended_at: datetime
    http_status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        """Return how long the call took."""
        return (self.ended_at - self.started_at).total_seconds()


class Result(StrEnum):
    """What an answer decides about the request as a whole."""

    ANSWERED = "answered"  # per customer, perhaps incompletely
    REFUSED = "refused"  # the whole request, by a known code
    NOT_PROCESSED = "not_processed"  # surely: the same again, later
    LOGIN_REFUSED = "login_refused"
    TOO_LARGE = "too_large"
    REPEATED = "repeated"  # 809: the platform has seen this id
    AMBIGUOUS = "ambiguous"


class Outcome(NamedTuple):
    """What one answer says of one customer; a tuple, for there are a million of them.

    `is_doubtful`: refused, beside an id that the platform made during this very call.
    An id beside an error means nothing, but one that new is a reason to read back
    before the refusal is believed.
    """

    customer_id: int
    status: AwardStatus
    proof: Proof | None = None
    earned_badge_id: str | None = None
    badge_status: str | None = None
    expires_on: datetime | None = None
    error_code: int | None = None
    error_message: str | None = None
    reason: str | None = None
    is_doubtful: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What an answer decides. `outcomes` has one entry per customer asked, or none.

    `lists_strangers`: somebody earned who was not asked for. Whoever is missing may
    have earned under another id (a merged customer): absence proves nothing then.
    """

    result: Result
    outcomes: tuple[Outcome, ...] = ()
    alarms: tuple[str, ...] = ()
    lists_strangers: bool = False
    stops_badge: bool = False
    wait_seconds: float | None = None
    error_code: int | None = None
    error_message: str | None = None

    @property
    def listed_well(self) -> int:
        """Count the customers listed without error and with an id."""
        return [o.status for o in self.outcomes].count(AwardStatus.ISSUED)

    @property
    def missing(self) -> int:
        """Count the customers about whom the answer says nothing that decides."""
        return [o.status for o in self.outcomes].count(AwardStatus.UNKNOWN)

    @property
    def listed_failed(self) -> int:
        """Count the customers listed with an error."""
        return len(self.outcomes) - self.listed_well - self.missing


def decision(  # noqa: PLR0911  a case a line
    answer: Answer,
    customer_ids: Sequence[int],
    *,
    badge_meta_id: str,
    request_id: str,
    doubly_awarded: Collection[int] = (),
) -> Decision:
    """Return what `answer` decides about the customers who were asked for.

    `doubly_awarded` are customers for whom the ledger holds another live award of
    this badge: for them code 1040 is no proof that the badge is theirs already.
    """
    if answer.failure is Failure.NOT_CONNECTED:
        return Decision(result=Result.NOT_PROCESSED, error_message="no connection")
    if answer.http_status == 429:
        wait = wait_seconds(answer.retry_after, now=answer.ended_at)
        return Decision(
            result=Result.NOT_PROCESSED,
            wait_seconds=wait,
            error_message="HTTP 429: too many requests",
        )
    if answer.failure is not None or answer.http_status is None:
        return Decision(result=Result.AMBIGUOUS, error_message=str(answer.failure))
    if answer.http_status == 401:
        return Decision(result=Result.LOGIN_REFUSED)
    envelope = _envelope(answer.body)
    if envelope is None:
        return _without_envelope(answer)
    data = _mapping(envelope.get("data"))
    if not _has_lists(data) or not _may_decide(answer.http_status):
        return _whole_request(answer, envelope, customer_ids)
    if echo := _wrong_echo(data, badge_meta_id, request_id):
        return Decision(result=Result.AMBIGUOUS, alarms=(echo,), error_message=echo)
    if issued := _all_issued(data, customer_ids):
        alarms = _miscounts(data, listed=len(issued), failed=0)
        return Decision(result=Result.ANSWERED, outcomes=issued, alarms=alarms)
    return _per_customer(
        data,
        _items(data),
        customer_ids,
        doubly_awarded=frozenset(doubly_awarded),
        since=answer.started_at - CLOCK_TOLERANCE,
    )


def _envelope(body: bytes) -> Mapping[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict) or not ("data" in parsed or "errors" in parsed):
        return None
    return parsed


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _without_envelope(answer: Answer) -> Decision:
    """Tell a size complaint of a proxy from everything that decides nothing."""
    if answer.http_status == 413:
        return Decision(result=Result.TOO_LARGE, error_message="HTTP 413")
    message = f"HTTP {answer.http_status} without a readable envelope"
    return Decision(result=Result.AMBIGUOUS, error_message=message)


def _may_decide(http_status: int) -> bool:
    """Tell statuses whose items are to be believed: a 5xx or 3xx never is."""
    return http_status < 300 or http_status in {400, 403, 404, 409, 422}


_NOTHING: dict[str, Any] = {}


class _Item(NamedTuple):
    """One element of an answer's lists, in either shape."""

    customer_id: int | None
    earned_badge_id: str | None
    badge_status: str | None
    expires_on: datetime | None
    has_error: bool
    error_code: int | None
    error_message: str | None


_GOOD = ("issuedBadges", "earnedBadgesList")
_BAD = "failedEarnBadgeErrorList"
# What an item without an error and without an end of its own may hold.
_PLAIN = frozenset({"customerId", "earnedBadgeId", "issuedId", "status"})


def _has_lists(data: Mapping[str, Any]) -> bool:
    return any(isinstance(data.get(name), list) for name in (*_GOOD, _BAD))


def _rows(data: Mapping[str, Any], *names: str) -> list[Any]:
    lists = (data.get(name) for name in names)
    return [row for found in lists if isinstance(found, list) for row in found]


def _all_issued(
    data: Mapping[str, Any], customer_ids: Sequence[int]
) -> tuple[Outcome, ...]:
    """Return the outcomes of an answer like most: all who were asked for were issued.

    Everybody is listed, once, without an error and with an id of their own, and nobody
    else is. Anything that is otherwise, or only written otherwise, gives nothing here
    and is taken apart item by item: this finds the same, for a tenth of the time.
    """
    rows = _rows(data, *_GOOD)
    if len(rows) != len(customer_ids) or data.get(_BAD):
        return ()
    if not all(type(row) is dict and row.keys() <= _PLAIN for row in rows):
        return ()
    listed = [row.get("customerId") for row in rows]
    if set(map(type, listed)) != {int} or set(listed) != set(customer_ids):
        return ()
    by_customer = dict(zip(listed, rows, strict=True))
    rows = [by_customer[customer_id] for customer_id in customer_ids]
    ids = [row.get("earnedBadgeId") or row.get("issuedId") for row in rows]
    if set(map(type, ids)) != {str} or len(set(ids)) != len(ids):
        return ()
    statuses = [_text(row.get("status")) for row in rows]
    issued, proof = repeat(AwardStatus.ISSUED), repeat(Proof.ANSWER)
    expires_on = repeat(instant_of(data, "expiresOn"))
    columns = zip(customer_ids, issued, proof, ids, statuses, expires_on, strict=False)
    return tuple(Outcome(*column) for column in columns)


def _items(data: Mapping[str, Any]) -> list[_Item]:
    """Return the items of both shapes (contract 1.4, 1.5)."""
    expires_on = instant_of(data, "expiresOn")
    return [
        *(_item(row, expires_on, is_failed=False) for row in _rows(data, *_GOOD)),
        *(_item(row, expires_on, is_failed=True) for row in _rows(data, _BAD)),
    ]


def _item(row: object, expires_on: datetime | None, *, is_failed: bool) -> _Item:
    record = row if isinstance(row, dict) else _NOTHING
    error = record.get("error")
    told = error if isinstance(error, dict) else record
    code = whole_number(told.get("code", told.get("errorCode")))
    message = told.get("message", told.get("errorMessage"))
    if isinstance(error, str):
        message = error
    found = record.get("earnedBadgeId") or record.get("issuedId")
    return _Item(
        customer_id=whole_number(record.get("customerId")),
        earned_badge_id=str(found) if found else None,
        badge_status=_text(record.get("status")),
        expires_on=_expires_on(record) or expires_on,
        has_error=is_failed or bool(error) or code is not None,
        error_code=code,
        error_message=_text(message),
    )


def _expires_on(record: Mapping[str, Any]) -> datetime | None:
    """Return when an earned badge ends; most items say nothing of it."""
    if "expiresOnISO" in record or "expiresOn" in record:
        return instant_of(record, "expiresOn")
    return None


def whole_number(value: object) -> int | None:
    """Return a whole number given as a number or as digits, else None."""
    if type(value) is int:  # of a thousand ids all are
        return value
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:500]


def _wrong_echo(
    data: Mapping[str, Any], badge_meta_id: str, request_id: str
) -> str | None:
    """Tell an answer that speaks of another badge or request than ours."""
    for name, ours in (("badgeMetaId", badge_meta_id), ("requestId", request_id)):
        theirs = data.get(name)
        if theirs is not None and str(theirs) != ours:
            return f"the answer's {name} is not the one that was sent"
    return None


def _per_customer(
    data: Mapping[str, Any],
    items: Sequence[_Item],
    customer_ids: Sequence[int],
    *,
    doubly_awarded: frozenset[int],
    since: datetime,
) -> Decision:
    listed: dict[int, list[_Item]] = {}
    for item in items:
        if item.customer_id is not None:
            listed.setdefault(item.customer_id, []).append(item)
    asked = frozenset(customer_ids)
    doubled_ids = _doubled(item.earned_badge_id for item in items if not item.has_error)
    outcomes = tuple(
        _outcome(
            customer_id,
            listed.get(customer_id, []),
            is_doubly_awarded=customer_id in doubly_awarded,
            doubled_ids=doubled_ids,
            since=since,
        )
        for customer_id in customer_ids
    )
    return Decision(
        result=Result.ANSWERED,
        outcomes=outcomes,
        alarms=_alarms(data, items, asked, doubled_ids),
        lists_strangers=any(
            item.customer_id not in asked and not item.has_error for item in items
        ),
    )


def _doubled(values: Iterable[str | None]) -> frozenset[str]:
    counts = Counter(value for value in values if value is not None)
    return frozenset(value for value, count in counts.items() if count > 1)


def _outcome(
    customer_id: int,
    items: Sequence[_Item],
    *,
    is_doubly_awarded: bool,
    doubled_ids: frozenset[str],
    since: datetime,
) -> Outcome:
    if len(items) != 1:
        told = "not in the answer" if not items else "listed more than once"
        return _unknown(customer_id, told)
    item = items[0]
    if item.has_error:
        return _refused(
            customer_id, item, is_doubly_awarded=is_doubly_awarded, since=since
        )
    if item.earned_badge_id is None:
        return _unknown(customer_id, "listed without an id")
    if item.earned_badge_id in doubled_ids:
        return _unknown(customer_id, "its id is listed for another customer too")
    return Outcome(
        customer_id=customer_id,
        status=AwardStatus.ISSUED,
        proof=Proof.ANSWER,
        earned_badge_id=item.earned_badge_id,
        badge_status=item.badge_status,
        expires_on=item.expires_on,
    )


def _unknown(customer_id: int, reason: str) -> Outcome:
    return Outcome(customer_id=customer_id, status=AwardStatus.UNKNOWN, reason=reason)


def _refused(
    customer_id: int, item: _Item, *, is_doubly_awarded: bool, since: datetime
) -> Outcome:
    status = customer_status(item.error_code)
    if status is AwardStatus.ALREADY_EARNED and is_doubly_awarded:
        status = AwardStatus.BLOCKED
    is_earned = status is AwardStatus.ALREADY_EARNED
    made = made_at(item.earned_badge_id)
    return Outcome(
        customer_id=customer_id,
        status=status,
        proof=Proof.CODE if is_earned else None,
        badge_status=item.badge_status,
        error_code=item.error_code,
        error_message=item.error_message,
        is_doubtful=made is not None and made >= since,
    )


def _alarms(
    data: Mapping[str, Any],
    items: Sequence[_Item],
    asked: frozenset[int],
    doubled_ids: frozenset[str],
) -> tuple[str, ...]:
    """Return what is odd about an answer; it changes no status."""
    alarms = []
    if strangers := sum(item.customer_id not in asked for item in items):
        alarms.append(f"{strangers} {STRANGERS}")
    if doubled_ids:
        alarms.append(f"{len(doubled_ids)} earned badge ids listed twice")
    failed = sum(item.has_error for item in items)
    return (*alarms, *_miscounts(data, listed=len(items), failed=failed))


def _miscounts(data: Mapping[str, Any], *, listed: int, failed: int) -> tuple[str, ...]:
    """Return which counters of an answer disagree with its lists."""
    counted = {
        "totalCount": listed,
        "earnedCount": listed - failed,
        "failedCount": failed,
    }
    told = {name: whole_number(data.get(name)) for name in counted}
    return tuple(
        f"{name} says {told[name]}, the lists hold {count}"
        for name, count in counted.items()
        if told[name] not in (None, count)
    )


def _whole_request(
    answer: Answer, envelope: Mapping[str, Any], customer_ids: Sequence[int]
) -> Decision:
    """Decide by the first of `errors` that says something about the whole request."""
    status = answer.http_status or 0
    told = _errors(envelope)
    if status == 503:
        wait = wait_seconds(answer.retry_after, now=answer.ended_at)
        return Decision(result=Result.NOT_PROCESSED, wait_seconds=wait)
    for code, message in told:
        effect = request_effect(status, code, message)
        if effect.result is not RequestEffect.AMBIGUOUS:
            return _refusal(effect, code, message, customer_ids)
    code, message = told[0] if told else (None, None)
    if status == 413:
        return Decision(result=Result.TOO_LARGE, error_code=code, error_message=message)
    return Decision(
        result=Result.AMBIGUOUS,
        error_code=code,
        error_message=message or f"HTTP {status} with neither items nor a known code",
    )


def _errors(envelope: Mapping[str, Any]) -> list[tuple[int | None, str | None]]:
    errors = envelope.get("errors")
    return [
        (
            whole_number(error.get("code", error.get("errorCode"))),
            _text(error.get("message", error.get("errorMessage"))),
        )
        for error in (errors if isinstance(errors, list) else [])
        if isinstance(error, Mapping)
    ]


_RESULTS = {
    RequestEffect.FAILED: Result.REFUSED,
    RequestEffect.BLOCKED: Result.REFUSED,
    RequestEffect.NOT_PROCESSED: Result.NOT_PROCESSED,
    RequestEffect.LOGIN_REFUSED: Result.LOGIN_REFUSED,
    RequestEffect.TOO_LARGE: Result.TOO_LARGE,
    RequestEffect.REPEATED: Result.REPEATED,
}


def _refusal(
    effect: WholeRequest,
    code: int | None,
    message: str | None,
    customer_ids: Sequence[int],
) -> Decision:
    """Give every customer the refusal of the whole request."""
    result = _RESULTS[effect.result]
    outcomes: tuple[Outcome, ...] = ()
    if result is Result.REFUSED:
        outcomes = tuple(
            Outcome(
                customer_id=customer_id,
                status=AwardStatus(str(effect.result)),
                error_code=code,
                error_message=message,
            )
            for customer_id in customer_ids
        )
    return Decision(
        result=result,
        outcomes=outcomes,
        stops_badge=effect.stops_badge,
        error_code=code,
        error_message=message,
    )


def wait_seconds(retry_after: str | None, *, now: datetime) -> float | None:
    """Return how long `Retry-After` asks to wait: seconds, or until a date."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max((until - now).total_seconds(), 0.0)
