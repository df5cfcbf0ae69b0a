"""What a reading of a customer's badges proves, and what it does not.

Belongs here: the tolerant reading of the undocumented lists, one-to-one matching of
earns with awards, and the conditions under which absence is a proof (settlement 2, 4).
Does not belong here: calling the platform, or deciding what is sent next.

Presence is proof by itself. Absence is proof only by a way of reading that this
badge's canary showed to work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from transforms.instants import CLOCK_TOLERANCE, instant_of, made_at
from transforms.platform.outcomes import whole_number
from transforms.statuses import AwardStatus

VERDICT_HOLDS = timedelta(days=7)
_ID_KEYS = ("earnedBadgeId", "earnId", "issuedId", "id")


@dataclass(frozen=True, kw_only=True, slots=True)
class Earn:
    """One earn as read back. `created_at` is when the platform made it."""

    earned_badge_id: str | None
    earn_event_date: datetime | None
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What was read of one customer and badge.

    `earn_count` is None where no count was given; `is_listed` says that a list of
    earns was there at all, `is_whole` that it holds no fewer than the count says.
    """

    earn_count: int | None
    earns: tuple[Earn, ...] = ()
    is_listed: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the list can be taken for everything there is."""
        return self.is_listed and (self.earn_count or 0) <= len(self.earns)

    @property
    def is_dated(self) -> bool:
        """Whether there are earns, each with its date."""
        return bool(self.earns) and all(e.earn_event_date for e in self.earns)

    @property
    def is_empty(self) -> bool:
        """Whether the reading shows that there is no earn at all."""
        return not self.is_silent and not self.earns and not self.earn_count

    @property
    def is_silent(self) -> bool:
        """Whether the reading has neither a list nor a count."""
        return not self.is_listed and self.earn_count is None

    def joined(self, last: Reading) -> Reading:
        """Return this reading with earns of another that it does not show itself.

        The larger count is taken: one of the two may leave out what has expired.
        """
        dates = {earn.earn_event_date for earn in self.earns}
        more = [earn for earn in last.earns if earn.earn_event_date not in dates]
        counts = [n for n in (self.earn_count, last.earn_count) if n is not None]
        return Reading(
            earn_count=max(counts, default=None),
            earns=(*self.earns, *more),
            is_listed=False,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a badge's canary showed about reading back."""

    badge_meta_id: str
    customer_id: int
    lists_earns: bool
    moves_count: bool
    lag_seconds: float
    decided_at: datetime

    def holds_at(self, now: datetime) -> bool:
        """Tell whether the verdict is young enough to be used."""
        return now - self.decided_at < VERDICT_HOLDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """An award that may or may not have arrived; `since` is its first attempt."""

    award_id: str
    occurrence: int
    earn_event_date: datetime
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An earn that settles an award: ours (`issued`), or older (`already_earned`)."""

    award_id: str
    status: AwardStatus
    earned_badge_id: str | None


def reading_of(body: bytes) -> Reading | None:
    """Read `management/{id}/badge/{badge}` (contract 2.5); None if it says nothing."""
    data = data_of(body)
    if not isinstance(data, Mapping):
        return None
    details = data.get("earnDetails")
    if not isinstance(details, Mapping):
        return None
    earns = details.get("earns")
    listed = earns if isinstance(earns, list) else []
    return Reading(
        earn_count=whole_number(details.get("earnCount")),
        earns=tuple(_earn(row) for row in listed if isinstance(row, Mapping)),
        is_listed=isinstance(earns, list),
    )


def data_of(body: bytes) -> Any:
    """Return `data` of an envelope, None where there is none."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return parsed.get("data") if isinstance(parsed, dict) else None


def _earn(row: Mapping[str, Any]) -> Earn:
    found = next((row[key] for key in _ID_KEYS if row.get(key)), None)
    earned_badge_id = None if found is None else str(found)
    return Earn(
        earned_badge_id=earned_badge_id,
        earn_event_date=instant_of(row, "earnEventDate", "eventDate"),
        created_at=made_at(earned_badge_id) or instant_of(row, "earnedOn", "createdOn"),
    )


def last_earn_of(bodies: Iterable[bytes], badge_meta_id: str) -> Reading | None:
    """Read the pages of a customer's earned list: only each badge's last earn shows.

    The container is undocumented: a list, or an object that holds one. An earn read
    this way has no id of its own.
    """
    for body in bodies:
        for row in _rows(data_of(body)):
            if badge_meta_id in (row.get("badgeMetaId"), row.get("id")):
                earn = Earn(
                    earned_badge_id=None,
                    earn_event_date=instant_of(row, "lastEarnEventDate"),
                    created_at=instant_of(row, "lastEarnedOnDate", "lastEarnedOn"),
                )
                count = whole_number(row.get("earnedCount", row.get("earnCount")))
                return Reading(earn_count=count, earns=(earn,))
    return None


def page_count(body: bytes) -> int:
    """Return how many pages an earned list says it has; 1 where it does not say."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return 1
    for holder in (parsed, parsed.get("data") if isinstance(parsed, dict) else None):
        pagination = holder.get("pagination") if isinstance(holder, dict) else None
        if isinstance(pagination, Mapping):
            return whole_number(pagination.get("totalPages")) or 1
    return 1


def _rows(data: Any) -> Iterable[Mapping[str, Any]]:
    candidates = [data, *data.values()] if isinstance(data, Mapping) else [data]
    for found in candidates:
        if isinstance(found, list):
            yield from (row for row in found if isinstance(row, Mapping))


def found_earns(
    reading: Reading,
    sought: Sequence[Sought],
    *,
    struck_out: Collection[str],
    dates_known: Collection[datetime] = (),
) -> tuple[Found, ...]:
    """Match earns and awards of one customer and badge, one to one.

    Earns whose id the ledger already has (`struck_out`) prove nothing new, nor does
    an earn without id whose date an award at its end has (`dates_known`). Each one
    left with an award's own instant settles one award, lowest occurrence first. One
    that the platform made before the award's first attempt is not ours.
    """
    left = [
        earn
        for earn in reading.earns
        if earn.earned_badge_id not in struck_out
        and (earn.earned_badge_id or earn.earn_event_date not in dates_known)
    ]
    found = []
    for award in sorted(sought, key=lambda one: one.occurrence):
        dated = [e for e in left if e.earn_event_date == award.earn_event_date]
        # Ours first: an older earn of the same instant must not hide it.
        earn = next((e for e in dated if not _is_older(e, award)), None)
        earn = earn or next(iter(dated), None)
        if earn is None:
            continue
        left.remove(earn)
        is_ours = not _is_older(earn, award)
        found.append(
            Found(
                award_id=award.award_id,
                status=AwardStatus.ISSUED if is_ours else AwardStatus.ALREADY_EARNED,
                earned_badge_id=earn.earned_badge_id,
            )
        )
    return tuple(found)


def _is_older(earn: Earn, award: Sought) -> bool:
    if earn.created_at is None:
        return False
    return earn.created_at < award.since - CLOCK_TOLERANCE


def has_unexplained(
    reading: Reading,
    *,
    struck_out: Collection[str],
    our_dates: Collection[datetime],
    since: datetime,
) -> bool:
    """Tell whether an earn may be ours under another date than the one we sent.

    That is one which the ledger does not know, made since our first attempt (or nobody
    knows when), whose date, if it shows any, is none of our awards'.
    """
    return any(
        earn.earned_badge_id not in struck_out
        and earn.earn_event_date not in our_dates
        and (earn.created_at is None or earn.created_at >= since - CLOCK_TOLERANCE)
        for earn in reading.earns
    )


def is_missing(
    reading: Reading, *, issued_before: int, is_explained: bool, by_list: bool = True
) -> bool:
    """Tell whether a reading has no room for an earn of ours, if it can be believed.

    A whole list has none if every earn in it is explained. So has a count of no more
    earns than are shown. A count of nought has none if the customer holds no earlier
    award of ours, which may have expired out of the count.
    """
    if by_list and reading.is_whole:
        return is_explained
    count = reading.earn_count
    if count is None:
        return False
    if count == 0:
        return issued_before == 0
    return issued_before <= count <= len(reading.earns) and is_explained


def is_absence_shown(
    reading: Reading,
    *,
    verdict: Verdict | None,
    now: datetime,
    issued_before: int,
    is_explained: bool = True,
) -> bool:
    """Tell whether a reading without our earn shows that it is not there.

    By the list, if the canary's earn was listed; by the count, if the canary moved it;
    otherwise it can't be believed.
    """
    if verdict is None or not verdict.holds_at(now):
        return False
    if not verdict.moves_count and not (verdict.lists_earns and reading.is_whole):
        return False
    return is_missing(
        reading,
        issued_before=issued_before,
        is_explained=is_explained,
        by_list=verdict.lists_earns,
    )
