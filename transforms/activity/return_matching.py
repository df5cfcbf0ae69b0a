"""Finds the activity that each return names.

Belongs here: how a name is compared with an activity id, and returns that can't be
meant so. Does not belong here: which rows are returns (a condition, given by the
caller), and what becomes of what they name (`returned`).

Decided here, where the definition leaves it open: a return names an activity of its own
source, else of the one other source that has it. One that names none, several, or
another return, is unmatched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import polars as pl

from transforms.errors import DefinitionRefused

if TYPE_CHECKING:
    from transforms.definition.definition import Returns, Source

ROW = ("file_order", "row_number")
NAME = ("source", "activity_id")


def returns_in(
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
    joined = [s.name for s in sources if _is_list(s.columns.get(returns.parent))]
    named = pl.col(returns.parent).cast(pl.String).str.strip_chars()
    return (
        activity.filter(is_return)
        .select(
            *NAME,
            *ROW,
            "occurred_at",
            value=amount * sign,
            named=pl.when(named != "").then(named),
            is_joined=pl.col("source").is_in(joined),
        )
        .collect()
    )


def _is_list(theirs: str | tuple[str, ...] | None) -> bool:
    """Return whether one of our columns is joined of several of theirs."""
    return isinstance(theirs, tuple)


def refuse_odd(
    found: pl.DataFrame,
    returns: Returns,
    sources: Collection[Source],
    paths: Mapping[int, str],
) -> None:
    """Refuse returns that pay the shop, and those that stand in their sale's place."""
    odd = found.filter(pl.col("value") < 0).sort(ROW)
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
    ).sort(ROW)
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


def named_rows(
    activity: pl.LazyFrame,
    is_return: pl.Expr,
    due: pl.DataFrame,
    sources: Collection[Source],
) -> pl.DataFrame:
    """Return the rows that may be meant: `key` is how a return would name them."""
    joined = [s.name for s in sources if _is_list(s.columns.get("activity_id"))]
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
        .select(*NAME, *ROW, amount=amount, key=key, is_joined=is_joined)
        .collect()
    )


def matched_returns(due: pl.DataFrame, bills: pl.DataFrame) -> pl.DataFrame:
    """Return the returns that name one activity, and which: `of_source`, `of_id`."""
    known = bills.select("key", "is_joined", of_source="source", of_id="activity_id")
    pairs = due.join(
        known.unique(), left_on=["named", "is_joined"], right_on=["key", "is_joined"]
    ).with_columns(is_own=pl.col("source") == pl.col("of_source"))
    has_own = pl.col("is_own").any().over(ROW)
    pairs = pairs.filter(pl.col("is_own") | ~has_own)
    return pairs.filter(pl.len().over(ROW) == 1)
