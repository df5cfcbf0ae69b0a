"""Makes ids as the platform's database does: 24 hex digits, the first 8 a time.

Belongs here: new ids. Does not belong here: who gets them.
"""

from __future__ import annotations

import random

from flows.sandbox.moments import SECOND

_COUNTER_BITS = 0xFFFFFF


class ObjectIds:
    """Seconds of the creation, five bytes of this machine, a counter of three bytes."""

    def __init__(self, seed: int) -> None:
        rolled = random.Random(f"machine {seed}")  # noqa: S311  an id, no secret
        self._machine = f"{rolled.getrandbits(40):010x}"
        self.made = 0

    def take(self, count: int, at: int) -> list[str]:
        """Return `count` new ids made at `at`, in microseconds since 1970."""
        prefix = f"{at // SECOND & 0xFFFFFFFF:08x}{self._machine}"
        first = self.made + 1
        self.made += count
        return [
            f"{prefix}{number & _COUNTER_BITS:06x}"
            for number in range(first, first + count)
        ]


def counter_of(object_id: str) -> int:
    """Return the counter at the end of an id."""
    return int(object_id[-6:], 16)
