"""Brings accepted files to the activity that counts.

Belongs here: the order of loading, taking each activity from its newest file, and
taking returns off it. Does not belong here: each of these (`activity_files`,
`transforms.activity`), and what the rest earns (`flows.planning`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from flows.files.accepted_activity import load_activity
from flows.files.activity_files import AcceptedFile
from transforms.activity.accepted import amount_decimals, current
from transforms.activity.freshness import newest_instants, stale_faults
from transforms.activity.returned import FATES, after_returns
from transforms.conditions.condition import condition
from transforms.definition.definition import Definition
from transforms.errors import Fault
from transforms.local_time import BUILT_IN_TYPES, built_in_columns


@dataclass(frozen=True, kw_only=True)
class Counting:
    """The activity that counts, and how much of each file is current.

    With `is_as_loaded` all accepted rows are activity that counts, as they are.

    A return is current, though it is no activity: what it says still holds. `fates`:
    as of `transforms.activity.returned`; `warnings` are for the reader of a plan.
    """

    activity: pl.LazyFrame
    rows_current: Mapping[int, int]
    rows_superseded: Mapping[int, int]
    fates: pl.DataFrame
    is_as_loaded: bool
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return how many rows are current."""
        return sum(self.rows_current.values())


def counting_activity(
    files: Sequence[AcceptedFile], definition: Definition, *, as_of: datetime
) -> Counting:
    """Return the activity that counts at `as_of`.

    Raises FilesRefused for files that can't be loaded together, and DefinitionRefused
    for returns that are not what the definition says of them.
    """
    loaded = load_activity(files, definition)
    found = current(loaded)
    activity, fates = found.activity, FATES.to_frame()
    warnings: tuple[str, ...] = ()
    if definition.returns is not None:
        names = activity.collect_schema()
        built_in = built_in_columns(definition.timezone)
        is_return = condition(
            definition.returns.where,
            {**names, **BUILT_IN_TYPES},
            place="returns.where",
            amount_decimals=amount_decimals(definition),
        )
        after = after_returns(
            activity.with_columns(**built_in),
            is_return,
            definition.returns,
            sources=definition.sources,
            paths={file.file_order: file.path for file in files},
            as_of=as_of,
        )
        activity = after.activity.drop(*built_in)
        fates, warnings = after.fates, after.warnings
    return Counting(
        activity=activity,
        rows_current=found.rows_current,
        rows_superseded=found.rows_superseded,
        fates=fates,
        is_as_loaded=activity is loaded,
        warnings=warnings,
    )


def stale_sources(
    files: Sequence[AcceptedFile], definition: Definition, *, as_of: datetime
) -> list[Fault]:
    """Return a fault for each source that is older than its `fresh_within`."""
    if all(source.fresh_within is None for source in definition.sources):
        return []
    return stale_faults(
        newest_instants(load_activity(files, definition), as_of),
        definition.sources,
        as_of=as_of,
        timezone=definition.timezone,
        path=definition.path,
    )
