"""What one run is asked for, and what it shows while it goes on.

Belongs here: the two things that whoever starts a run brings along. Does not belong
here: the run itself (`flows.runs.run`) and what it reports (`flows.runs.report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flows.planning import Plan


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run is asked for. Days are local to the definition."""

    definition: Path = Path()
    earned_from: date | None = None
    earned_until: date | None = None
    badges: tuple[str, ...] = ()
    customers_file: Path | None = None
    awards_file: Path | None = None
    as_of: datetime | None = None
    stop_at: datetime | None = None
    is_confirmed: bool = False
    trigger: str = "command"
    wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Hold `as_of` in UTC, whatever offset it was given with."""
        if self.as_of is not None:
            object.__setattr__(self, "as_of", self.as_of.astimezone(UTC))


class Screen:
    """What a run shows while it goes on; this one shows nothing."""

    def stage(self, text: str, total: int | None) -> None:
        """Say which stage begins, and how many things it has to do."""

    def advance(self, done: int) -> None:
        """Say how many of the stage's things are done."""

    def wait(self, until: datetime) -> None:
        """Say that nothing can be done until then."""

    def confirm(self, plan: Plan) -> bool:
        """Ask whether the plan is to be sent."""
        del plan
        return False
