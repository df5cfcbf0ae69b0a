"""The books of a run: counts taken at each wall, and whether they balance.

Belongs here: the counts as they were taken, and the equations between them. Does not
belong here: taking them, storing them, and stopping a run (`flows`).

Each number comes from the place itself, never from the others: what was read from its
reader, what was reserved from the ledger. Derived numbers would prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from transforms.errors import Fault
from transforms.statuses import AwardStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_COUNTED_AGAIN = (
    "this is a defect of the program or a damaged file: keep the home as it is"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCounts:
    """Rows of one activity file, whether read now or kept from an earlier run.

    `accepted` rows are `current` (their activity counts), or `superseded` by a newer
    file.
    """

    source: str
    path: str
    read: int
    accepted: int
    anonymous: int
    unmapped: int
    excluded: int
    rejected: int
    duplicate: int
    current: int
    superseded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BadgeCounts:
    """Qualifications of one badge, and what the plan made of them."""

    badge: str
    qualified: int
    outside_bounds: int
    not_selected: int
    out_of_window: int
    not_yet_due: int
    held_back: int
    held: int
    in_ledger: int
    planned: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerCounts:
    """What the ledger has of the awards this run planned: status to count."""

    statuses: Mapping[str, int]
    withdrawn: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCounts:
    """Customers one answered call asked for, and what its answer said of them."""

    request_id: str
    customers: int
    listed_well: int
    listed_failed: int
    missing: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Everything a run counted; `doubled_earned_ids` over the whole ledger.

    `ledger` is None where nothing was to be reserved: a plan, or a refused run.
    """

    files: tuple[FileCounts, ...] = ()
    badges: tuple[BadgeCounts, ...] = ()
    ledger: LedgerCounts | None = None
    answers: tuple[AnswerCounts, ...] = ()
    doubled_earned_ids: tuple[str, ...] = ()

    def totals(self) -> dict[str, int]:
        """Return the totals, named as in `--json`."""
        rows = {
            "rows_read": "read",
            "rows_accepted": "accepted",
            "rows_rejected": "rejected",
            "rows_duplicate": "duplicate",
            "rows_anonymous": "anonymous",
            "rows_unmapped": "unmapped",
            "rows_excluded": "excluded",
            "rows_superseded": "superseded",
        }
        awards = {
            "awards_qualified": "qualified",
            "awards_in_ledger": "in_ledger",
            "awards_planned": "planned",
        }
        return {
            **{key: _sum(self.files, name) for key, name in rows.items()},
            **{key: _sum(self.badges, name) for key, name in awards.items()},
        }


def _sum(counts: Iterable[FileCounts | BadgeCounts], name: str) -> int:
    return sum(getattr(one, name) for one in counts)


def balance(books: Books) -> list[Fault]:
    """Return what does not balance, a fault for each equation that is broken."""
    return [
        *_file_faults(books.files),
        *_badge_faults(books.badges),
        *_ledger_faults(books),
        *_answer_faults(books.answers),
        *_identity_faults(books.doubled_earned_ids),
    ]


def _file_faults(files: Iterable[FileCounts]) -> Iterator[Fault]:
    for one in files:
        fates = ("accepted", "anonymous", "unmapped", "excluded", "rejected")
        for whole, parts in (
            ("read", (*fates, "duplicate")),
            ("accepted", ("current", "superseded")),
        ):
            told = _told(one, whole, parts, unit="rows")
            if told is not None:
                yield _fault("rows", told, file=one.path)


def _badge_faults(badges: Iterable[BadgeCounts]) -> Iterator[Fault]:
    results = [
        one.name
        for one in fields(BadgeCounts)
        if one.name not in ("badge", "qualified")
    ]
    for one in badges:
        told = _told(one, "qualified", results, unit="qualifications")
        if told is not None:
            yield _fault("qualified", told, column=f"badges.{one.badge}")


def _told(
    counts: FileCounts | BadgeCounts | AnswerCounts,
    whole: str,
    parts: Iterable[str],
    *,
    unit: str,
) -> str | None:
    """Return what is wrong with `whole = sum of parts`, or None."""
    values = {name: getattr(counts, name) for name in parts}
    total = getattr(counts, whole)
    if total == sum(values.values()) and min(total, *values.values()) >= 0:
        return None
    named = " + ".join(f"{name} {value}" for name, value in values.items())
    return f"{unit}: {whole} {total} is not {named}"


def _ledger_faults(books: Books) -> Iterator[Fault]:
    if books.ledger is None:
        return
    statuses, withdrawn = books.ledger.statuses, books.ledger.withdrawn
    for status in sorted(set(statuses) - set(AwardStatus)):
        yield _fault("status", f"awards: {statuses[status]} are {status!r}, no status")
    planned, held = _sum(books.badges, "planned"), _sum(books.badges, "held")
    counts = [*statuses.values(), withdrawn]
    if planned + held != sum(counts) or min(counts) < 0:
        named = " + ".join(f"{name} {count}" for name, count in statuses.items())
        told = (
            f"awards: planned {planned} + held {held} is not "
            f"{named or 'nothing in the ledger'} + withdrawn {withdrawn}"
        )
        yield _fault("awards", told)


def _answer_faults(answers: Iterable[AnswerCounts]) -> Iterator[Fault]:
    for one in answers:
        parts = ("listed_well", "listed_failed", "missing")
        told = _told(one, "customers", parts, unit=f"request {one.request_id}")
        if told is not None:
            yield _fault("answer", told)


def _identity_faults(doubled: Iterable[str]) -> Iterator[Fault]:
    for earned_badge_id in doubled:
        yield Fault(
            code="books_earned_badge_id",
            message=(
                f"earned_badge_id {earned_badge_id} stands for several awards: look at "
                "them in `audit`, and compare with `reconcile`"
            ),
        )


def _fault(
    name: str, told: str, *, file: str | None = None, column: str | None = None
) -> Fault:
    return Fault(
        code=f"books_{name}",
        message=f"{told}; {_COUNTED_AGAIN}",
        file=file,
        column=column,
    )
