"""Counts, sums and different values inside a window that ends with each activity.

Belongs here: `within`, the window `(t - within, t]`, and `repeat` with it: an activity
serves one occurrence, and counting starts again after it. Does not belong here: what a
duration is (`local_time`), and how spans serve (`spans`).
"""

from __future__ import annotations

import polars as pl

from transforms.rules.counting import hits, value_in_group, with_sums
from transforms.rules.lines import is_last_line
from transforms.rules.qualifying import first_of_groups
from transforms.rules.spans import Window, served_spans, with_first

_ROUNDS = 16


def counted_within(
    rows: pl.DataFrame, at_least: int, window: Window, *, most: int | None
) -> pl.DataFrame:
    """Return the first row that is the Nth inside its window; then the next such."""
    since = pl.col("at") - (min(at_least, rows.height + 1) - 1)
    rows = rows.with_columns(since=pl.when(since >= pl.col("begin")).then(since))
    served = with_first(served_spans(rows, window, most=most), rows, window)
    count = pl.col("at") - pl.col("first") + 1
    return hits(served.with_columns(measure=count), most)


def distinct_counted_within(
    rows: pl.DataFrame, at_least: int, window: Window, *, most: int | None
) -> pl.DataFrame:
    """Return the first row whose window holds N different values; then the next."""
    rows = rows.with_columns(since=_since_values(rows, at_least))
    if "activity_number" in rows.columns:
        rows = rows.with_columns(since=pl.when(is_last_line()).then("since"))
    served = with_first(served_spans(rows, window, most=most), rows, window)
    inside = pl.int_ranges(pl.col("first"), pl.col("at") + 1)
    codes = served.select("at", inside=inside).explode("inside")
    codes = codes.with_columns(code=rows["value"].gather(codes["inside"]))
    measures = codes.group_by("at").agg(measure=pl.col("code").n_unique())
    return hits(served.join(measures, on="at", how="inner"), most)


def _since_values(rows: pl.DataFrame, at_least: int) -> pl.Series:
    """Return the latest row since which N different values stand, null before that.

    The Nth latest value moves only when a row brings a value that is not among the
    N - 1 latest: then the (N - 1)th of the row before becomes the Nth.
    """
    frame = rows.select("at", "begin", last_same=_last_same(rows), since="at")
    before = pl.col("since").shift()
    is_begin = pl.col("at") == pl.col("begin")
    moves = pl.col("last_same") < before
    for _ in range(1, min(at_least, rows.height + 1)):
        # -1: the group has not had that many yet.
        since = pl.when(is_begin).then(-1).when(moves).then(before).forward_fill()
        frame = frame.with_columns(since=since)
    return frame.select(pl.when(pl.col("since") >= 0).then("since")).to_series()


def _last_same(rows: pl.DataFrame) -> pl.Series:
    """Return the group's last row before with the same value, -1 if there is none."""
    stable = pl.arg_sort_by(value_in_group(), maintain_order=True)
    order = rows.select(at=stable.cast(pl.Int64)).to_series()
    by_value = rows.select(order, key=value_in_group().gather(order))
    is_same = pl.col("key") == pl.col("key").shift()
    last_same = pl.when(is_same).then(pl.col("at").shift()).fill_null(-1)
    values = by_value.select(last_same).to_series()
    return pl.zeros(rows.height, dtype=pl.Int64, eager=True).scatter(order, values)


def summed_within(
    rows: pl.DataFrame, at_least: int, window: Window, *, most: int | None
) -> pl.DataFrame:
    """Return the first row whose window holds the sum; then the next such.

    `value` is Int64 minor units; null adds nothing.
    """
    rows = with_sums(rows, at_least)
    if most == 1:  # then one round does for all
        every = rows.with_columns(has_returns=pl.lit(value=True))
        return _sums_with_returns(every, at_least, window, most=most)
    with_returns = rows.filter(pl.col("value") < 0)["group"].unique()
    has_returns = pl.col("group").is_in(with_returns.implode())
    rows = rows.with_columns(has_returns=has_returns)
    return pl.concat(
        [
            _growing_sums(rows, at_least, window, most=most),
            _sums_with_returns(rows, at_least, window, most=most),
        ]
    )


def _growing_sums(
    rows: pl.DataFrame, at_least: int, window: Window, *, most: int | None
) -> pl.DataFrame:
    """Serve sums that only grow: their spans are found by searching the sum so far.

    Groups with returns stand still here, so that the sum never falls.
    """
    value = pl.when(~pl.col("has_returns")).then(pl.col("value")).otherwise(0)
    rows = rows.with_columns(value=value, total=value.cum_sum())
    before = pl.col("total") - pl.col("value")
    fit = before.search_sorted(pl.col("total") - at_least, side="right")
    rows = rows.with_columns(since=fit.cast(pl.Int64) - 1)
    is_in_group = pl.col("since") >= pl.col("begin")
    rows = rows.with_columns(since=pl.when(is_in_group).then("since"))
    served = with_first(served_spans(rows, window, most=most), rows, window)
    outside = rows.select(before.gather(served["first"])).to_series()
    return hits(served.with_columns(measure=pl.col("total") - outside), most)


def _sums_with_returns(
    rows: pl.DataFrame, at_least: int, window: Window, *, most: int | None
) -> pl.DataFrame:
    """Serve sums that also shrink, which are no spans: one occurrence per round."""
    before = rows["total"] - rows["value"]
    rows = with_first(
        rows.filter("has_returns").with_columns(previous=pl.col("begin") - 1),
        rows,
        window,
    )
    rows = rows.with_columns(
        before_window=before.gather(rows["first"]),
        before_counting=before.gather(rows["begin"]),
    )
    is_whole = pl.col("first") > pl.col("previous")
    outside = pl.when(is_whole).then("before_window").otherwise("before_counting")
    found: list[pl.DataFrame] = []
    while len(found) < _ROUNDS:
        met = rows.with_columns(
            measure=pl.col("total") - outside, ordinal=pl.lit(len(found) + 1, pl.Int64)
        )
        met = first_of_groups(met.filter(pl.col("measure") >= at_least))
        found.append(hits(met, most))
        if met.is_empty() or len(found) == most:
            return pl.concat(found)
        starts = met.select("group", previous="at", before_counting="total")
        rows = (
            rows.drop("previous", "before_counting")
            .join(starts, on="group", how="inner", maintain_order="left")
            .filter(pl.col("at") > pl.col("previous"))
        )
    return pl.concat([*found, _row_by_row(rows, at_least, len(found), most=most)])


def _row_by_row(
    rows: pl.DataFrame, at_least: int, ordinal: int, *, most: int | None
) -> pl.DataFrame:
    """Serve what is left after `ordinal` rounds, of the few who met the rule so often.

    A card that a whole shop shares may meet it a hundred thousand times: as many rounds
    over its rows would take hours, and this takes a second.
    """
    names = ("at", "group", "total", "first", "before_window")
    looked_at = rows.select(*names, "previous", "before_counting")
    met: list[tuple[int, int, int]] = []
    owner = None
    for at, group, total, first, before_window, *start in looked_at.iter_rows():
        if group != owner:
            owner, served, (since, spent) = group, ordinal, start
        measure = total - (before_window if first > since else spent)
        if measure >= at_least:
            served, since, spent = served + 1, at, total
            met.append((at, served, measure))
    schema = {"at": pl.Int64(), "ordinal": pl.Int64(), "measure": rows.schema["total"]}
    found = pl.DataFrame(met, schema=schema, orient="row")
    return hits(rows.drop("measure").join(found, on="at", how="inner"), most)
