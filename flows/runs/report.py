"""What a run reports: its end, its counts, and the exit status that follows.

Belongs here: the report as people's commands, flows and pages get it. Does not belong
here: taking the counts (`flows.runs.run`) and showing them (`flows.screens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transforms.books import Books
from transforms.errors import Fault, Refused, RetrobadgeError


@dataclass
class Report:
    """What a run reports: `--json` prints it, and the exit status follows from it."""

    run_id: str | None
    status: str
    counts: Mapping[str, int]
    statuses: Mapping[str, int]
    waiting: int
    is_balanced: bool
    open_awards: int = 0
    left_planned: int = 0
    stopped_by: str | None = None
    stopped_badges: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Fault] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    page: Path | None = None

    @property
    def exit_status(self) -> int:
        """Return 5 before 4 before 3 before 0."""
        if not self.is_balanced:
            return 5
        if self.stopped_by or self.left_planned:
            return 4
        return 3 if self.open_awards else 0

    def as_json(self) -> dict[str, Any]:
        """Return the object that `run --json` prints."""
        told: dict[str, Any] = {
            "run_id": self.run_id,
            "status": self.status,
            **self.counts,
            "statuses": dict(self.statuses),
            "waiting": self.waiting,
            "balanced": self.is_balanced,
            "stopped_by": self.stopped_by,
            "stopped_badges": dict(self.stopped_badges),
            "report": str(self.page) if self.page else None,
            **self.told,
        }
        if self.errors:
            told["errors"] = [fault.as_json() for fault in self.errors]
        return told


def refused_report(error: RetrobadgeError) -> Report:
    """Return what a run that was refused reports; all counts nought if none began."""
    if isinstance(error.report, Report):
        return error.report
    return Report(
        run_id=None,
        status="refused" if isinstance(error, Refused) else "stopped",
        counts={
            **Books().totals(),
            "awards_held": 0,
            "requests": 0,
            "calls": 0,
            "earn_calls": 0,
        },
        statuses={},
        waiting=0,
        is_balanced=True,
        errors=error.faults,
    )
