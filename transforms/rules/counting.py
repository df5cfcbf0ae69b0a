"""Counts, sums and different values from the start of each group.

Belongs here: `activity_count`, `total_amount` and `distinct_count` over a customer's
life or one calendar period. Does not belong here: sliding windows (`windows`) and what
a group is (`qualifying`).

Every rule's function takes `most`, how often one group may meet it (None: no bound),
and returns hits, in no particular order: HIT and, where rows have it, period. `ordinal`
is 1 for the first time in the group; `measure` is what had been counted by then.
"""

from __future__ import annotations

import polars as pl

from transforms.errors import DefinitionRefused
from transforms.rules.qualifying import nth

HIT = (
    "customer_id",
    "qualified_at",
    "occurred_at",
    "arrival",
    "ordinal",
    "measure",
)
MOST_HITS = 100_000_000
_SAFE_SUM = 2.0**62
_BEYOND = 2**62


def counted(rows: pl.DataFrame, at_least: int, *, most: int | None) -> pl.DataFrame:
    """Return the Nth row of each group, and every kNth."""
    return _every_nth(rows, pl.col("at") - pl.col("begin") + 1, at_least, most)


def _every_nth(
    rows: pl.DataFrame, number: pl.Expr, at_least: int, most: int | None
) -> pl.DataFrame:
    """Return the rows whose number in their group is a multiple of `at_least`."""
    # What no number reaches need not fit into 64 bits.
    n = min(at_least, _BEYOND)
    is_met = number == n if most == 1 else number % n == 0
    rows = rows.with_columns(measure=number).filter(is_met)
    return hits(rows.with_columns(ordinal=pl.col("measure").floordiv(n)), most)


def distinct_counted(
    rows: pl.DataFrame, at_least: int, *, most: int | None
) -> pl.DataFrame:
    """Return the row that brings the Nth different `value`, and every kNth."""
    rows = rows.filter(value_in_group().is_first_distinct())
    if "activity_number" not in rows.columns:
        return _every_nth(rows, nth(), at_least, most)
    # An activity of several lines brings all of its new values at once.
    n = min(at_least, rows.height + 1)
    rows = rows.with_columns(count=nth())
    rows = rows.with_columns(measure=pl.col("count").max().over("activity_number"))
    rows = rows.filter(pl.col("count") % n == 0)
    return hits(rows.with_columns(ordinal=pl.col("count").floordiv(n)), most)


def value_in_group() -> pl.Expr:
    """Return one number for group and `value`, a code: equal where both are, Int64."""
    return pl.col("group") * (pl.col("value").max() + 1) + pl.col("value")


def summed(rows: pl.DataFrame, at_least: int, *, most: int | None) -> pl.DataFrame:
    """Return the first row at which the sum of `value` reaches each k times `at_least`.

    `value` is Int64 minor units; null adds nothing. A later return unmeets nothing, and
    one large amount can meet several k at once.
    """
    reached = pl.col("measure").clip(0).floordiv(at_least).clip(upper_bound=most)
    rows = with_sums(rows, at_least).with_columns(reached=reached.cast(pl.Int64))
    before = pl.when(pl.col("at") > pl.col("begin")).then(pl.col("reached").shift())
    # Few rows lift the sum to a next multiple, and of these few do for the first time.
    rows = rows.filter(pl.col("reached") > before.fill_null(0))
    rows = rows.with_columns(so_far=_most_so_far())
    rows = rows.filter(pl.col("reached") > pl.col("so_far"))
    return hits(each_ordinal(rows, pl.col("so_far") + 1, pl.col("reached")), most)


def _most_so_far() -> pl.Expr:
    """Return the most that was reached in the group before each row, Int64.

    Groups follow each other, so one running maximum does for all of them, over numbers
    in which a group stands above all groups before it.
    """
    group = pl.col("group").cast(pl.Int128) * (pl.col("reached").max() + 1)
    most = (group + pl.col("reached")).cum_max().shift()
    return (most - group).fill_null(0).clip(0).cast(pl.Int64)


def with_sums(rows: pl.DataFrame, at_least: int) -> pl.DataFrame:
    """Add total (over all rows so far) and measure (over the group's), exact integers.

    They are Int64, or Int128 where 64 bits might not hold them.
    """
    largest = rows.select(pl.col("value").cast(pl.Float64).abs().sum()).item()
    fits = max(largest, at_least) < _SAFE_SUM
    value = pl.col("value").fill_null(0).cast(pl.Int64 if fits else pl.Int128)
    rows = rows.with_columns(value=value, total=value.cum_sum())
    before_group = (pl.col("total") - pl.col("value")).gather(pl.col("begin"))
    return rows.with_columns(measure=pl.col("total") - before_group)


def each_ordinal(rows: pl.DataFrame, first: pl.Expr, last: pl.Expr) -> pl.DataFrame:
    """Return every row once per ordinal from `first` to `last`."""
    hit_count = rows.select((last - first + 1).cast(pl.Float64).sum()).item()
    refuse_too_many(hit_count)
    ordinals = pl.int_ranges(first, last + 1, dtype=pl.Int64)
    return rows.with_columns(ordinal=ordinals).explode("ordinal")


def refuse_too_many(hit_count: float) -> None:
    """Refuse a rule that is met more often than any memory holds."""
    if hit_count > MOST_HITS:
        raise DefinitionRefused.of(
            "too_many_occurrences",
            f"the rule would be met {hit_count:,.0f} times: raise its bound, or set "
            "max_occurrences",
        )


def hits(rows: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """Return rows that met a rule, each group's ordinals no higher than `most`."""
    if most is not None:
        rows = rows.filter(pl.col("ordinal") <= most)
    if "qualified_at" not in rows.columns:
        rows = rows.with_columns(qualified_at="occurred_at")
    return rows.select(pl.col(*HIT), pl.col("^period$"))
