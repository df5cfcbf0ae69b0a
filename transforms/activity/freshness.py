"""Says whether the activity of a source is as new as its definition asks for.

Belongs here: the newest activity of a source, and how old it may be. Does not belong
here: files and their times: a file that was copied today may hold last year's activity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import polars as pl

from transforms.errors import Fault
from transforms.local_time import INSTANT, one_earlier

if TYPE_CHECKING:
    from transforms.definition.definition import Source


def newest_instants(activity: pl.LazyFrame, as_of: datetime) -> dict[str, datetime]:
    """Return the newest instant of each source, of what happened by `as_of`.

    `activity`: source, occurred_at Datetime(us, UTC). A source without any is not
    among them; activity later than `as_of` proves nothing, for its date is wrong.
    """
    happened = activity.filter(pl.col("occurred_at") <= pl.lit(as_of, dtype=INSTANT))
    newest = happened.group_by("source").agg(pl.col("occurred_at").max())
    return dict(newest.select("source", "occurred_at").collect().iter_rows())


def stale_faults(
    newest: Mapping[str, datetime],
    sources: Sequence[Source],
    *,
    as_of: datetime,
    timezone: str,
    path: str,
) -> list[Fault]:
    """Return a fault for each source whose newest activity is older than it may be.

    `timezone` and `path` are the definition's. Activity exactly `fresh_within` old is
    fresh.
    """
    faults = []
    for index, source in enumerate(sources):
        if source.fresh_within is None:
            continue
        instant = pl.lit(as_of, dtype=INSTANT)
        oldest = pl.select(one_earlier(instant, source.fresh_within, timezone)).item()
        found = newest.get(source.name)
        if found is not None and found >= oldest:
            continue
        told = "it has no activity"
        if found is not None:
            told = f"its newest activity is of {_local(found, timezone)}"
        within = f"{source.fresh_within.count}{source.fresh_within.unit}"
        place = "activity" if len(sources) == 1 else f"activity.{index}"
        faults.append(
            Fault(
                code="not_fresh",
                message=f"source '{source.name}': {told}, and fresh_within wants some "
                f"of the last {within} before {_local(as_of, timezone)}: put the "
                "missing files there, or raise fresh_within",
                file=path,
                column=f"{place}.fresh_within",
            )
        )
    return faults


def _local(instant: datetime, timezone: str) -> str:
    return f"{instant.astimezone(ZoneInfo(timezone)).replace(microsecond=0)}"
