"""Which run and which of its awards are meant by what was typed.

Belongs here: names of runs, and choosing among a run's awards. Does not belong here:
what is done with the chosen ones, and reading selection files (`flows.planning`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from transforms.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which awards of a run are wanted; empty or None selects everything."""

    statuses: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    badges: tuple[str, ...] = ()
    customer_ids: Collection[int] | None = None
    award_ids: Collection[str] | None = None


def run_named(run_ids: Sequence[str], asked: str) -> str:
    """Return the run that was asked for: an id, the beginning of one, or `latest`.

    `run_ids` has the newest run first. Raises Refused for none, and for several.
    """
    if asked == "latest" and run_ids:
        return run_ids[0]
    found = [run_id for run_id in run_ids if run_id.startswith(asked)]
    if asked in found:
        return asked
    if len(found) == 1 and asked:
        return found[0]
    told = (
        f"{len(found)} runs begin with {asked!r}: write more of the id"
        if found and asked
        else f"no run begins with {asked!r}"
    )
    code = "run_ambiguous" if found and asked else "run_unknown"
    raise Refused.of(code, f"{told}; `retrobadge runs` lists them")


def selected(awards: pl.DataFrame, wanted: Wanted, *, run_id: str) -> pl.DataFrame:
    """Return the wanted awards of one run, in their order.

    `awards`: award_id, badge, customer_id, status, error_code and whatever else; kept
    as it is. Raises Refused for a badge of which the run has no award.
    """
    known = sorted(awards["badge"].unique())
    if strangers := sorted(set(wanted.badges) - set(known)):
        raise Refused.of(
            "badge_not_in_run",
            f"run {run_id} has no award of {', '.join(strangers)}; it has awards of "
            f"{', '.join(known) or 'no badge at all'}",
        )
    chosen = awards
    for column, values in (
        ("status", wanted.statuses or None),
        ("error_code", wanted.codes or None),
        ("badge", wanted.badges or None),
        ("customer_id", wanted.customer_ids),
        ("award_id", wanted.award_ids),
    ):
        if values is not None:
            among = pl.Series(values=list(values), dtype=awards.schema[column])
            chosen = chosen.filter(pl.col(column).is_in(among.implode()))
    return chosen
