"""Compares what the platform holds, what the audit says, and what should be.

Belongs here: the four scores of a run, worked out in plain Python from three sides that
know nothing of each other. Does not belong here: making a run (`rig_faults`).

lost         an award that should be there: the platform has none, and the audit does
             not say that it is open, blocked or failed
doubled      an earn more than there are awards of its badge, customer and date
misreported  the audit says issued and the platform has no such earn; or it says that
             nothing was done, and the platform has one
unexplained  open, and nothing on record says why
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from flows.sandbox import Earn
from transforms.statuses import TRANSITIONS

Row = Mapping[str, Any]
# Where an award stands when its earn may be on the platform or not.
_OPEN = {"sent", "unknown"}
# Where the audit says itself that the platform has nothing of it.
_NOT_THERE = {"planned", "blocked", "failed"}


class Wanted(NamedTuple):
    """An award that should be, as plain Python derives it from the activity."""

    badge_meta_id: str
    customer_id: int
    earn_event_date: datetime


@dataclass(frozen=True)
class Audit:
    """What people read of a run."""

    awards: Sequence[Row]
    events: Sequence[Row]
    attempts: Sequence[Row]
    request_awards: Sequence[Row]


@dataclass
class Score:
    """The four scores, what they found in words, and how many awards are where.

    `unknown` are the customers of whose awards one is unknown.
    """

    lost: int = 0
    doubled: int = 0
    misreported: int = 0
    unexplained: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unknown: frozenset[int] = frozenset()
    told: list[str] = field(default_factory=list)

    @property
    def four(self) -> tuple[int, int, int, int]:
        """Return lost, doubled, misreported, unexplained."""
        return self.lost, self.doubled, self.misreported, self.unexplained

    def count(self, name: str, number: int, text: object) -> None:
        """Add to one of the four, saying what was found."""
        if number > 0:
            setattr(self, name, getattr(self, name) + number)
            self.told.append(f"{name}: {number} {text}")


def scored(
    wanted: Iterable[Wanted],
    earns: Iterable[Earn],
    audit: Audit,
    *,
    theirs: Iterable[Earn] = (),
) -> Score:
    """Score one run. `theirs` are earns that the platform had before it."""
    score = Score(
        statuses=Counter(row["status"] for row in audit.awards),
        unknown=frozenset(
            row["customer_id"] for row in audit.awards if row["status"] == "unknown"
        ),
    )
    before = {earn.earned_badge_id for earn in theirs}
    held = {(earn.badge_meta_id, earn.customer_id) for earn in theirs}
    should_be = Counter(wanted)
    said: dict[Wanted, list[Row]] = defaultdict(list)
    for row in audit.awards:
        said[_award(row)].append(row)
    there: dict[Wanted, list[Earn]] = defaultdict(list)
    for earn in earns:
        if earn.is_active and earn.earned_badge_id not in before:
            there[_earn(earn)].append(earn)
    for key in {*should_be, *said, *there}:
        is_held = (key.badge_meta_id, key.customer_id) in held
        _count_earns(score, key, should_be[key], said[key], there[key], is_held=is_held)
    _count_identities(score, audit.awards)
    _count_unexplained(score, audit)
    return score


def _award(row: Row) -> Wanted:
    return Wanted(row["badge_meta_id"], row["customer_id"], row["earn_event_date"])


def _earn(earn: Earn) -> Wanted:
    return Wanted(earn.badge_meta_id, earn.customer_id, earn.earn_event_date)


def _count_earns(
    score: Score,
    key: Wanted,
    number: int,
    said: Sequence[Row],
    there: Sequence[Earn],
    *,
    is_held: bool,
) -> None:
    """Compare the three sides for one badge, customer and date."""
    statuses = Counter(row["status"] for row in said)
    score.count("doubled", len(there) - number, key)
    excused = sum(statuses[one] for one in {*_OPEN, *_NOT_THERE})
    excused += sum(_is_covered(row, is_held=is_held) for row in said)
    score.count("lost", number - len(there) - excused, key)
    score.count("lost", number - len(said), f"{key}: not in the audit")
    score.count("misreported", len(said) - number, f"{key}: awards nobody earned")
    ids = {earn.earned_badge_id for earn in there}
    issued = [row for row in said if row["status"] == "issued"]
    wrong = [row for row in issued if row["earned_badge_id"] not in {*ids, None}]
    score.count("misreported", len(wrong), f"{key}: issued under ids it has not")
    score.count("misreported", len(issued) - len(there), f"{key}: issued, not there")
    open_too = sum(statuses[one] for one in _OPEN)
    unsaid = min(len(there), number) - len(issued) - open_too
    score.count("misreported", unsaid, f"{key}: there, and said to be {dict(statuses)}")


def _is_covered(row: Row, *, is_held: bool) -> bool:
    """Tell an award that something else covers: theirs, or the platform said so."""
    if row["status"] != "already_earned":
        return False
    return is_held or (row["proof"] == "code" and row["error_code"] is not None)


def _count_identities(score: Score, awards: Sequence[Row]) -> None:
    ids = Counter(row["earned_badge_id"] for row in awards if row["earned_badge_id"])
    for earned_badge_id, number in ids.items():
        score.count("misreported", number - 1, f"{earned_badge_id} stands twice")


def _count_unexplained(score: Score, audit: Audit) -> None:
    """Look for a reason, a proof or an attempt behind whatever is not issued."""
    reasons = {e["award_id"] for e in audit.events if e["reason"] is not None}
    attempted = {attempt["request_id"] for attempt in audit.attempts}
    called = {
        row["award_id"]
        for row in audit.request_awards
        if row["request_id"] in attempted
    }
    for row in audit.awards:
        award_id, status = row["award_id"], row["status"]
        is_explained = {
            "planned": True,
            "sent": award_id in called,
            "unknown": award_id in called and award_id in reasons,
            "already_earned": row["proof"] is not None,
        }.get(status, award_id in called)
        if not is_explained:
            score.count("unexplained", 1, f"{status} {award_id}")


_ALLOWED = {(one.source, one.target) for one in TRANSITIONS}


def broken_chains(events: Sequence[Row]) -> list[str]:
    """Return the events that no award may make from where it stood."""
    broken, stands = [], dict[str, str]()
    for event in events:
        award_id, before = event["award_id"], event["from_status"]
        was = stands.get(award_id)
        if was == "withdrawn":
            was = None
        if before != was or (before, event["to_status"]) not in _ALLOWED:
            broken.append(f"{award_id}: {was} → {before} → {event['to_status']}")
        stands[award_id] = event["to_status"]
    return broken
