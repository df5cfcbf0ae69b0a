"""Checks a definition and its files without sending: the command `check`.

Belongs here: what a check looks at. Does not belong here: each look (`transforms`,
`flows.files.activity_files`, `flows.platform.preflight`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.files.activity_files import AcceptedFile
from flows.files.finding import read_definition
from flows.pipeline import Work, accept, preflight
from flows.platform.capillary import Platform
from flows.platform.pacing import Pace
from transforms.definition.definition import Definition
from transforms.platform.badges import BadgeFacts


@dataclass(frozen=True)
class Checked:
    """What was found in order. `badges`: name, rule kind, what the platform says.

    `notes` are what a reader must know besides.
    """

    name: str
    files: Sequence[AcceptedFile]
    badges: Sequence[tuple[str, str, str]]
    notes: Sequence[str] = ()

    @property
    def rows(self) -> int:
        """Return how many rows the files hold."""
        return sum(file.rows_read for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `check --json` prints."""
        return {
            "import_name": self.name,
            "rows_read": self.rows,
            "files": [
                {
                    "path": file.path,
                    "source": file.source,
                    "rows_read": file.rows_read,
                    "rows_accepted": file.rows_accepted,
                    "rows_rejected": file.rows_rejected,
                    "rows_duplicate": file.rows_duplicate,
                    "rows_anonymous": file.rows_anonymous,
                    "rows_unmapped": file.rows_unmapped,
                    "rows_excluded": file.rows_excluded,
                }
                for file in self.files
            ],
            "badges": [
                {"badge": name, "rule": rule, "platform": told}
                for name, rule, told in self.badges
            ],
            "notes": list(self.notes),
            "errors": [],
        }


async def checked(work: Work, *, is_online: bool) -> Checked:
    """Return what is in order; every fault is raised, nothing is sent."""
    definition = read_definition(work.job.definition)
    accepted = await accept(work, definition)
    notes = () if accepted.customers is None else accepted.customers.notes
    facts: Mapping[str, BadgeFacts] = {}
    if is_online:
        pace = Pace(work.home.pace, work.settings.capillary_requests_per_minute)
        facts = await preflight(work, Platform(work.settings, pace), definition)
    badges = tuple(_badges(definition, facts))
    return Checked(definition.name, accepted.files, badges, notes)


def _badges(
    definition: Definition, facts: Mapping[str, BadgeFacts]
) -> list[tuple[str, str, str]]:
    return [
        (
            badge.name,
            badge.rule.kind,
            _told(facts[badge.name]) if badge.name in facts else "not asked",
        )
        for badge in definition.badges
    ]


def _told(facts: BadgeFacts) -> str:
    return f"{facts.name}: {facts.earn_type}, {facts.status}, can be awarded"
