"""Compares two definitions over their activity: the command `compare`.

Belongs here: qualifying by both, and writing the differences down. Does not belong
here: what a difference is (`transforms.reports.comparison`), how it looks
(`flows.screens.answers`).

No platform is asked, so every badge's window is taken for open; and no ledger stands
between the two, so both say what they award from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from flows.files.activity_files import AcceptedFile
from flows.files.finding import read_definition
from flows.files.held_earns import held_earns
from flows.home import open_private
from flows.partitions import Met
from flows.pipeline import Work, not_ours, read_activity
from flows.planning import qualified_here
from flows.platform.capillary import utc_now
from flows.records.audit import NOTHING_KNOWN, asked, earned_ids
from transforms.awards.awards import classified_awards
from transforms.customers.survivors import by_survivors
from transforms.definition.definition import Definition
from transforms.errors import Refused
from transforms.platform.badges import BadgeFacts
from transforms.reports.comparison import KEYS, counted, differences, examples
from transforms.spreadsheets import inert

_EXAMPLES = 5
_COLUMNS = (*KEYS, "badge", "earn_event_date", "result")
_WINDOWS = (
    "no platform was asked: the badges' windows are taken for open, and awards outside "
    "of them are among these"
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One definition, the files it stands on, and what it makes of its activity."""

    definition: Definition
    files: Sequence[AcceptedFile]
    survivors: pl.DataFrame | None
    awards: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two sides and what differs. Frames as of `transforms.reports.comparison`."""

    first: Side
    second: Side
    as_of: datetime
    badges: pl.DataFrame
    differences: pl.DataFrame
    notes: tuple[str, ...]
    path: Path | None = None

    @property
    def examples(self) -> pl.DataFrame:
        """Return the first differences of each badge and kind."""
        return examples(self.differences, _EXAMPLES)

    def as_json(self) -> dict[str, Any]:
        """Return the object that `compare --json` prints."""
        first, second = self.first.definition, self.second.definition
        return {
            "first": {"definition": first.path, "import_name": first.name},
            "second": {"definition": second.path, "import_name": second.name},
            "as_of": self.as_of,
            "badges": self.badges.to_dicts(),
            "differences": self.differences.height,
            "examples": self.examples.to_dicts(),
            "path": None if self.path is None else str(self.path),
            "notes": list(self.notes),
        }


async def compared(work: Work, other: Path, output: Path | None) -> Compared:
    """Compare the definition of a job with another one; write all that differs."""
    as_of = work.job.as_of or utc_now()
    first = await _side(work, as_of)
    second = await _side(replace(work, job=replace(work.job, definition=other)), as_of)
    made = _made(work, first, second)
    found = differences(first.awards, second.awards, made)
    if output is not None:
        _write(found, output)
    return Compared(
        first=first,
        second=second,
        as_of=as_of,
        badges=counted(first.awards, second.awards, found),
        differences=found,
        notes=tuple(_notes(first, second)),
        path=output,
    )


async def _side(work: Work, as_of: datetime) -> Side:
    definition = read_definition(work.job.definition)
    read = await read_activity(work, definition, as_of)
    accepted = read.accepted
    counting = read.found or qualified_here(accepted.files, definition, as_of)
    listed = held_earns(definition)
    ours = earned_ids(work.home.audit, listed)
    held = not_ours(listed, ours, accepted.survivors)
    awards = [_awards(work, definition, part, held, as_of) for part in counting.parts]
    return Side(
        definition=definition,
        files=accepted.files,
        survivors=accepted.survivors,
        awards=pl.concat(awards),
    )


def _awards(
    work: Work,
    definition: Definition,
    part: Met,
    held: pl.DataFrame | None,
    as_of: datetime,
) -> pl.DataFrame:
    """Return what a definition awards to some customers, whatever the ledger has."""
    awards = []
    for badge in definition.badges:
        work.screen.stage(f"awarding {badge.name} of {definition.name}", None)
        found = classified_awards(
            part.of_badges[badge.name],
            badge,
            BadgeFacts(badge_meta_id=badge.badge_meta_id),
            definition_timezone=definition.timezone,
            as_of=as_of,
            target="",
            known=NOTHING_KNOWN.to_frame(),
            held=held,
        )
        awards.append(found.select(_COLUMNS))
    return pl.concat(awards)


def _made(work: Work, *sides: Side) -> pl.DataFrame:
    """Return where the awards of these badges stand in the audit, if there is one."""
    name = "compare_made"
    ids = sorted({b.badge_meta_id for side in sides for b in side.definition.badges})
    if not work.home.audit.exists():
        known = NOTHING_KNOWN.to_frame()
        nothing = pl.lit(None, dtype=pl.String)
        return known.with_columns(badge_meta_id=nothing, series=nothing, status=nothing)
    made = asked(work.home.audit, name, badge_meta_ids=ids)[name]
    # What merged customers were awarded is their survivors', as the second side has it.
    mapped = by_survivors(made, sides[-1].survivors)
    return mapped.unique([*KEYS], keep="first", maintain_order=True)


def _notes(first: Side, second: Side) -> list[str]:
    notes = [_WINDOWS]
    prints = [
        {(f.source, f.fingerprint) for f in side.files} for side in (first, second)
    ]
    if prints[0] != prints[1]:
        only = [len(prints[0] - prints[1]), len(prints[1] - prints[0])]
        notes.append(
            f"the two do not stand on the same activity: {only[0]} files are read so "
            f"by the first alone, {only[1]} by the second alone"
        )
    zones = {side.definition.timezone for side in (first, second)}
    if len(zones) > 1:
        notes.append(f"their days are of different zones: {', '.join(sorted(zones))}")
    return notes


def _write(found: pl.DataFrame, output: Path) -> None:
    try:
        with open(output, "wb", opener=open_private) as file:
            inert(found).write_csv(file)
    except OSError as error:
        raise Refused.of(
            "not_written",
            f"can't be written ({error.strerror}): name another file",
            file=str(output),
        ) from error
