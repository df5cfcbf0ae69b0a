"""Keeps millions of earns and finds those of a customer.

Belongs here: storage. An earn is kept inside the batch it was committed with and
pointed to by number, so that no object of its own exists until it is looked at: a
million of them cost little memory and no work for the garbage collector.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flows.sandbox.records import StoredEarn


class Batch(NamedTuple):
    """The earns of one commit; all but ids and customers is common to them."""

    badge_meta_id: str
    customer_ids: Sequence[int]
    earned_badge_ids: Sequence[str]
    earn_event_at: int
    created_at: int
    expires_at: int
    request_id: str | None

    def earn(self, position: int) -> StoredEarn:
        """Return one earn of the batch."""
        return StoredEarn(
            self.earned_badge_ids[position],
            self.badge_meta_id,
            self.customer_ids[position],
            *self[3:],
        )


class EarnStore:
    """Earns by badge and customer, in the order of their commits."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._starts: list[int] = []
        self._count = 0
        # A customer's earns of a badge: the number of the only one, or of several.
        self._numbers: dict[str, dict[int, int | tuple[int, ...]]] = {}

    def add(self, batch: Batch) -> None:
        """Keep the earns of a commit."""
        numbers = self._numbers.setdefault(batch.badge_meta_id, {})
        new = range(self._count, self._count + len(batch.customer_ids))
        pairs = dict(zip(batch.customer_ids, new, strict=True))
        if len(pairs) == len(new) and numbers.keys().isdisjoint(pairs):
            numbers.update(pairs)
        else:
            for customer_id, number in zip(batch.customer_ids, new, strict=True):
                earlier = _several(numbers.get(customer_id, ()))
                numbers[customer_id] = (*earlier, number) if earlier else number
        self._batches.append(batch)
        self._starts.append(self._count)
        self._count += len(new)

    def of(self, badge_meta_id: str, customer_id: int) -> list[StoredEarn]:
        """Return a customer's earns of a badge, oldest first."""
        found = self._numbers.get(badge_meta_id, {}).get(customer_id, ())
        return [self._earn(number) for number in _several(found)]

    def _earn(self, number: int) -> StoredEarn:
        position = bisect_right(self._starts, number) - 1
        return self._batches[position].earn(number - self._starts[position])

    def of_badge(self, badge_meta_id: str) -> Iterator[StoredEarn]:
        """Return every earn of a badge, oldest first."""
        for batch in self._batches:
            if batch.badge_meta_id == badge_meta_id:
                yield from map(batch.earn, range(len(batch.customer_ids)))

    def all(self) -> Iterator[StoredEarn]:
        """Return every earn, oldest first."""
        for batch in self._batches:
            yield from map(batch.earn, range(len(batch.customer_ids)))

    def count_of_badge(self, badge_meta_id: str, until: int) -> int:
        """Count the earns of a badge that were made no later than `until`."""
        return sum(
            len(batch.customer_ids)
            for batch in self._batches
            if batch.badge_meta_id == badge_meta_id and batch.created_at <= until
        )


def _several(found: int | tuple[int, ...]) -> tuple[int, ...]:
    return (found,) if isinstance(found, int) else found
