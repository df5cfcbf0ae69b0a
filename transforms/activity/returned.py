"""Takes returns off the activity that they name, and says what is left.

Belongs here: whether activity came back in full or in part, and what becomes of it and
of its returns. Does not belong here: which activity a return names (`return_matching`),
which of several files an activity is taken from (`activity.accepted`), and what is
earned by the rest (`rules`).

Decided here, where the definition leaves it open:

* A return is no activity. What it names decides, not its customer, its own time or its
  place in the files; only a return later than `as_of` returns nothing yet.
* All returns of an activity are added up. It came back in full when they reach its
  amount, when one of them has no amount, or when it has none itself; what was returned
  beyond its amount is taken off nothing else.
* What is taken back is taken back at the time of the activity, as if less had been
  bought then. An unmatched return can only lower sums, at its own time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity.accepted import IS_RETURN
from transforms.activity.return_matching import (
    NAME,
    ROW,
    matched_returns,
    named_rows,
    refuse_odd,
    returns_in,
)
from transforms.activity.values import INSTANT

if TYPE_CHECKING:
    from transforms.definition.definition import Returns, Source


class Fate(StrEnum):
    """What returns make of a row: of their own, and of what they name."""

    RETURN = "return"  # taken off what it names, or younger than `as_of`
    UNMATCHED = "unmatched"  # what it names is not there
    CANCELLED = "cancelled"  # came back in full: no activity, no amount
    REDUCED = "reduced"  # counts, with what is left of its amount
    KEPT = "kept"  # counts as it was sold


# `left`: the amount that counts, null where it is unchanged or there is none. `named`:
# what a return names; `by`: the earliest return of an activity. Amounts: minor units.
FATES = pl.Schema(
    {
        "file_order": pl.Int32,
        "row_number": pl.Int64,
        "fate": pl.String,
        "is_counted": pl.Boolean,
        "left": pl.Int64,
        "sold": pl.Int64,
        "returned": pl.Int64,
        "returns": pl.Int64,
        "named": pl.String,
        "by": pl.String,
    }
)


@dataclass(frozen=True, kw_only=True)
class AfterReturns:
    """What is left. `activity` has IS_RETURN besides; `fates`: a row for each change.

    `warnings` are sentences for the reader of a plan.
    """

    activity: pl.LazyFrame
    fates: pl.DataFrame
    warnings: tuple[str, ...]


def after_returns(
    activity: pl.LazyFrame,
    is_return: pl.Expr,
    returns: Returns,
    *,
    sources: Collection[Source],
    paths: Mapping[int, str],
    as_of: datetime,
) -> AfterReturns:
    """Take returns off the activity that they name.

    `activity` is current (source, activity_id, file_order, row_number, occurred_at, the
    column `returns.parent`, and amount Int64 minor units if there is one); `is_return`
    is over its columns; `paths` name its files. Raises DefinitionRefused for a return
    with the wrong sign, and for one that has the id of what it returns.
    """
    found = returns_in(activity, is_return, returns, sources)
    refuse_odd(found, returns, sources, paths)
    due = found.filter(pl.col("occurred_at") <= pl.lit(as_of, dtype=INSTANT))
    bills = named_rows(activity, is_return, due, sources)
    matched = matched_returns(due, bills)
    fates = pl.concat(
        [
            _fates_of_returns(found, due, matched, returns),
            _fates_of(bills, matched, returns),
        ]
    )
    return AfterReturns(
        activity=_left(activity, fates),
        fates=fates,
        warnings=tuple(_warnings(fates, returns, paths)),
    )


def _left(activity: pl.LazyFrame, fates: pl.DataFrame) -> pl.LazyFrame:
    names = activity.collect_schema().names()
    changes = fates.lazy().select(
        *ROW,
        _gone=~pl.col("is_counted"),
        _left="left",
        _mark=pl.col("fate") == Fate.UNMATCHED,
    )
    amount = [pl.coalesce("_left", "amount").alias("amount")]
    return (
        activity.join(changes, on=ROW, how="left")
        .filter(~pl.col("_gone").fill_null(value=False))
        .with_columns(*(amount if "amount" in names else []))
        .select(*names, pl.col("_mark").fill_null(value=False).alias(IS_RETURN))
    )


def _fates_of_returns(
    found: pl.DataFrame, due: pl.DataFrame, matched: pl.DataFrame, returns: Returns
) -> pl.DataFrame:
    unmatched = due.select(ROW).join(matched.select(ROW), on=ROW, how="anti")
    rows = found.join(
        unmatched.with_columns(is_unmatched=True), on=ROW, how="left"
    ).with_columns(pl.col("is_unmatched").fill_null(value=False))
    lowers = pl.col("is_unmatched") & pl.lit(returns.partial == "reduce")
    lowers &= pl.col("value").is_not_null()
    return _as_fates(
        rows,
        fate=pl.when("is_unmatched")
        .then(pl.lit(str(Fate.UNMATCHED)))
        .otherwise(pl.lit(str(Fate.RETURN))),
        is_counted=lowers,
        left=pl.when(lowers).then(-pl.col("value")),
        returned=pl.col("value"),
        named=pl.col("named"),
    )


def _fates_of(
    bills: pl.DataFrame, matched: pl.DataFrame, returns: Returns
) -> pl.DataFrame:
    """Return what becomes of the rows of every activity that returns name."""
    taken = (
        matched.sort("occurred_at", "activity_id", *ROW)
        .group_by(source="of_source", activity_id="of_id")
        .agg(
            returned=pl.col("value").sum(),
            is_whole=pl.col("value").is_null().any(),
            returns=pl.len().cast(pl.Int64),
            by=pl.col("activity_id").first(),
        )
    )
    has_any = pl.col("amount").is_not_null().any().over(NAME)
    rows = bills.with_columns(
        sold=pl.when(has_any).then(pl.col("amount").sum().over(NAME))
    ).join(taken, on=NAME)
    is_full = (
        pl.col("is_whole")
        | pl.col("sold").is_null()
        | (pl.col("returned") >= pl.col("sold"))
    )
    is_cancelled = is_full & pl.lit(returns.full == "cancel")
    is_reduced = ~is_cancelled & pl.lit(returns.partial == "reduce")
    # Less than nothing was not sold: what is over is not taken off other activity.
    rest = (
        pl.when(is_full)
        .then(pl.col("sold").clip(upper_bound=0))
        .otherwise(pl.col("sold") - pl.col("returned"))
    )
    return _as_fates(
        rows,
        fate=pl.when(is_cancelled)
        .then(pl.lit(str(Fate.CANCELLED)))
        .when(is_reduced)
        .then(pl.lit(str(Fate.REDUCED)))
        .otherwise(pl.lit(str(Fate.KEPT))),
        is_counted=~is_cancelled,
        left=pl.when(is_reduced).then(rest),
        sold=pl.col("sold"),
        returned=pl.when(~pl.col("is_whole")).then(pl.col("returned")),
        returns=pl.col("returns"),
        by=pl.col("by"),
    )


def _as_fates(rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    said = {name: pl.col(name) for name in ROW} | columns
    return rows.select(
        said.get(name, pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in FATES.items()
    )


def _warnings(
    fates: pl.DataFrame, returns: Returns, paths: Mapping[int, str]
) -> list[str]:
    told = []
    of_returns = fates.filter(pl.col("fate").is_in([Fate.RETURN, Fate.UNMATCHED]))
    unmatched = of_returns.filter(pl.col("fate") == Fate.UNMATCHED).sort(ROW)
    if not unmatched.is_empty():
        done = (
            "they lower sums at their own time"
            if returns.partial == "reduce"
            else "they are left out"
        )
        told.append(
            f"returns: {unmatched.height:,} of {of_returns.height:,} name no activity "
            f"that the files have (first: {paths[unmatched['file_order'][0]]}, row "
            f"{unmatched['row_number'][0]}): {done}, and take no activity back"
        )
    over = fates.filter(pl.col("returned") > pl.col("sold").clip(0))
    if count := over.select(pl.struct("by", "sold").n_unique()).item():
        told.append(
            f"returns: of {count:,} activities more was returned than sold: they count "
            "as nothing, and what is over is taken off nothing else"
        )
    return told
