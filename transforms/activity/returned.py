"""Matches returns to what they return, and says what is left of that.

Belongs here: which activity a return belongs to, whether it came back in full or in
part, and what becomes of both. Does not belong here: which rows are returns (a
condition, given by the caller), which of several files an activity is taken from
(`activity.accepted`), and what is earned by the rest (`rules`).

Decided here, where the definition leaves it open:

* A return is no activity. What it names decides, not its customer, its own time or its
  place in the files; only a return later than `as_of` returns nothing yet.
* It names an activity of its own source, else of the one other source that has it. One
  that names none, several, or another return, is unmatched.
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
from transforms.activity.values import INSTANT
from transforms.errors import DefinitionRefused

if TYPE_CHECKING:
    from transforms.definition.definition import Returns, Source

_ROW = ("file_order", "row_number")
_NAME = ("source", "activity_id")


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
    found = _returns(activity, is_return, returns, sources)
    _refuse(found, returns, sources, paths)
    due = found.filter(pl.col("occurred_at") <= pl.lit(as_of, dtype=INSTANT))
    bills = _named_rows(activity, is_return, due, sources)
    matched = _matched(due, bills)
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
        *_ROW,
        _gone=~pl.col("is_counted"),
        _left="left",
        _mark=pl.col("fate") == Fate.UNMATCHED,
    )
    amount = [pl.coalesce("_left", "amount").alias("amount")]
    return (
        activity.join(changes, on=_ROW, how="left")
        .filter(~pl.col("_gone").fill_null(value=False))
        .with_columns(*(amount if "amount" in names else []))
        .select(*names, pl.col("_mark").fill_null(value=False).alias(IS_RETURN))
    )


def _returns(
    activity: pl.LazyFrame,
    is_return: pl.Expr,
    returns: Returns,
    sources: Collection[Source],
) -> pl.DataFrame:
    """Return every return: what it names, and `value`, null where it has no amount.

    `is_joined`: it names an activity by several columns.
    """
    sign = -1 if returns.amounts == "negative" else 1
    has_amount = "amount" in activity.collect_schema()
    amount = pl.col("amount") if has_amount else pl.lit(None, dtype=pl.Int64)
    joined = [s.name for s in sources if is_list(s.columns.get(returns.parent))]
    named = pl.col(returns.parent).cast(pl.String).str.strip_chars()
    return (
        activity.filter(is_return)
        .select(
            *_NAME,
            *_ROW,
            "occurred_at",
            value=amount * sign,
            named=pl.when(named != "").then(named),
            is_joined=pl.col("source").is_in(joined),
        )
        .collect()
    )


def is_list(theirs: str | tuple[str, ...] | None) -> bool:
    """Return whether one of our columns is joined of several of theirs."""
    return isinstance(theirs, tuple)


def _refuse(
    found: pl.DataFrame,
    returns: Returns,
    sources: Collection[Source],
    paths: Mapping[int, str],
) -> None:
    odd = found.filter(pl.col("value") < 0).sort(_ROW)
    if not odd.is_empty():
        other = {"negative": "positive", "positive": "negative"}[returns.amounts]
        raise DefinitionRefused.of(
            "return_sign",
            f"{odd.height:,} returns have {other} amounts, and returns.amounts is "
            f"'{returns.amounts}': change it, or leave these rows out in returns.where",
            file=paths[odd["file_order"][0]],
            row=odd["row_number"][0],
            column="returns.amounts",
        )
    # Lines of one activity may well be returns of it.
    whole = [s.name for s in sources if s.grain == "activity"]
    own = found.filter(
        pl.col("source").is_in(whole) & (_spaced("is_joined") == pl.col("named"))
    ).sort(_ROW)
    if not own.is_empty():
        raise DefinitionRefused.of(
            "return_of_itself",
            f"{own.height:,} returns have the activity id of what they return, which "
            "they would replace: map activity_id so that a return has one of its own",
            file=paths[own["file_order"][0]],
            row=own["row_number"][0],
            column="returns.parent",
        )


def _spaced(is_joined: str) -> pl.Expr:
    """Return an activity id as a text of the same columns would read.

    An id of several columns is joined with `|`, a text with a space.
    """
    text = pl.col("activity_id")
    for old, new in (("\\\\", "\0"), ("\\|", "\1"), ("|", " "), ("\0", "\\")):
        text = text.str.replace_all(old, new, literal=True)
    text = text.str.replace_all("\1", "|", literal=True)
    return pl.when(is_joined).then(text).otherwise("activity_id")


def _named_rows(
    activity: pl.LazyFrame,
    is_return: pl.Expr,
    due: pl.DataFrame,
    sources: Collection[Source],
) -> pl.DataFrame:
    """Return the rows that may be meant: `key` is how a return would name them."""
    joined = [s.name for s in sources if is_list(s.columns.get("activity_id"))]
    names = due["named"].drop_nulls().unique()
    has_amount = "amount" in activity.collect_schema()
    amount = pl.col("amount") if has_amount else pl.lit(None, dtype=pl.Int64)
    is_joined = pl.col("source").is_in(joined)
    key = pl.col("activity_id")
    if joined:
        activity = activity.with_columns(_is_joined=is_joined)
        key = _spaced("_is_joined")
    return (
        activity.filter(~is_return.fill_null(value=False))
        .filter(key.is_in(names.implode()))
        .select(*_NAME, *_ROW, amount=amount, key=key, is_joined=is_joined)
        .collect()
    )


def _matched(due: pl.DataFrame, bills: pl.DataFrame) -> pl.DataFrame:
    """Return the returns that name one activity, and which: `of_source`, `of_id`."""
    known = bills.select("key", "is_joined", of_source="source", of_id="activity_id")
    pairs = due.join(
        known.unique(), left_on=["named", "is_joined"], right_on=["key", "is_joined"]
    ).with_columns(is_own=pl.col("source") == pl.col("of_source"))
    has_own = pl.col("is_own").any().over(_ROW)
    pairs = pairs.filter(pl.col("is_own") | ~has_own)
    return pairs.filter(pl.len().over(_ROW) == 1)


def _fates_of_returns(
    found: pl.DataFrame, due: pl.DataFrame, matched: pl.DataFrame, returns: Returns
) -> pl.DataFrame:
    unmatched = due.select(_ROW).join(matched.select(_ROW), on=_ROW, how="anti")
    rows = found.join(
        unmatched.with_columns(is_unmatched=True), on=_ROW, how="left"
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
        matched.sort("occurred_at", "activity_id", *_ROW)
        .group_by(source="of_source", activity_id="of_id")
        .agg(
            returned=pl.col("value").sum(),
            is_whole=pl.col("value").is_null().any(),
            returns=pl.len().cast(pl.Int64),
            by=pl.col("activity_id").first(),
        )
    )
    has_any = pl.col("amount").is_not_null().any().over(_NAME)
    rows = bills.with_columns(
        sold=pl.when(has_any).then(pl.col("amount").sum().over(_NAME))
    ).join(taken, on=_NAME)
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
    said = {name: pl.col(name) for name in _ROW} | columns
    return rows.select(
        said.get(name, pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in FATES.items()
    )


def _warnings(
    fates: pl.DataFrame, returns: Returns, paths: Mapping[int, str]
) -> list[str]:
    told = []
    of_returns = fates.filter(pl.col("fate").is_in([Fate.RETURN, Fate.UNMATCHED]))
    unmatched = of_returns.filter(pl.col("fate") == Fate.UNMATCHED).sort(_ROW)
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
