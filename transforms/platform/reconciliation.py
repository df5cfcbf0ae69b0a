"""Matches our awards with the platform's earns, one to one, and names what is left.

Belongs here: which earn is which award, and what a difference is. Does not belong here:
reading the platform or its export (`flows.commands.reconciling`,
`flows.files.earn_export`), and settling anything: a difference changes no status.

An id decides before a date, and a date before an order. Two that both have an id and
not the same one are never paired. An earn of which only the count is known pairs with
any award of its customer, and proves no date.
"""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from transforms.local_time import INSTANT


class Finding(StrEnum):
    """What reconciling found of an award, or of an earn."""

    MATCHED = "matched"
    DATE_DIFFERS = "date_differs"  # the same earn, with another date
    OURS_ONLY = "ours_only"  # the audit says it is there, the platform does not
    THEIRS_ONLY = "theirs_only"  # the platform has it, the audit does not say so
    UNREAD = "unread"  # the platform did not say
    TOO_NEW = "too_new"  # made after the export was: no difference

    @property
    def is_difference(self) -> bool:
        """Whether a person should look at it."""
        return self not in {Finding.MATCHED, Finding.TOO_NEW}


# Awards that the audit says are there. An earn that is not ours covers the latter.
PRESENT = ("issued", "already_earned")

OURS = pl.Schema(
    {
        "award_id": pl.String(),
        "badge": pl.String(),
        "badge_meta_id": pl.String(),
        "customer_id": pl.Int64(),
        "occurrence": pl.Int64(),
        "earn_event_date": INSTANT,
        "earn_day": pl.Date(),
        "status": pl.String(),
        "earned_badge_id": pl.String(),
        "settled_at": INSTANT,
    }
)
# `earn_event_date` is null where only a day, or not even that, is known; `is_listed`
# is false for an earn of which only the count is known.
THEIRS = pl.Schema(
    {
        "badge_meta_id": pl.String(),
        "customer_id": pl.Int64(),
        "earn_event_date": INSTANT,
        "earn_day": pl.Date(),
        "earned_badge_id": pl.String(),
        "is_listed": pl.Boolean(),
    }
)
FOUND = pl.Schema(
    {
        "badge": pl.String(),
        "badge_meta_id": pl.String(),
        "customer_id": pl.Int64(),
        "award_id": pl.String(),
        "finding": pl.String(),
        "status": pl.String(),
        "earn_event_date": INSTANT,
        "their_earn_event_date": INSTANT,
        "earned_badge_id": pl.String(),
        "their_earned_badge_id": pl.String(),
        "note": pl.String(),
    }
)
_KEYS = ("badge_meta_id", "customer_id")


def reconciled(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Return one row per award that should be there, and per earn that is left over.

    `ours`: OURS, every award of these customers and badges, whatever its status;
    `theirs`: THEIRS. Columns as FOUND, sorted by badge, customer and date.
    """
    ours = ours.select(OURS.names()).with_row_index("our_row")
    theirs = theirs.select(THEIRS.names()).with_row_index("their_row")
    is_present = pl.col("status").is_in(PRESENT)
    pairs = _paired(ours.filter(is_present), theirs)
    rows = [
        _of_pairs(pairs, ours, theirs),
        _ours_only(ours.filter(is_present), pairs),
        _theirs_only(ours.filter(~is_present), theirs, pairs, ours),
    ]
    return pl.concat(rows).sort(
        "badge", "customer_id", "earn_event_date", "their_earn_event_date", "award_id"
    )


def _paired(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Return our_row, their_row and `how` they came together, surest pairs first."""
    is_foreign = pl.col("status") == "already_earned"
    unnamed = pl.col("earned_badge_id").is_null()
    found = pl.DataFrame(
        schema={"our_row": pl.UInt32, "their_row": pl.UInt32, "how": pl.String}
    )

    def left(frame: pl.DataFrame, row: str) -> pl.DataFrame:
        return frame.join(found.select(row), on=row, how="anti")

    found = pl.concat([found, _by_id(ours, theirs)])
    for how, key in (("date", "earn_event_date"), ("day", "earn_day")):
        for mine, yours in ((unnamed, None), (None, unnamed)):
            some = left(ours, "our_row").filter(~is_foreign)
            others = left(theirs, "their_row").filter(pl.col("is_listed"))
            some = some if mine is None else some.filter(mine)
            others = others if yours is None else others.filter(yours)
            if how == "day":  # a day decides only where no instant is known
                others = others.filter(pl.col("earn_event_date").is_null())
            found = pl.concat([found, _nth(some, others, [*_KEYS, key], how)])
    # What is left of a customer, in order: ours without an id, theirs without one.
    for how, mine, yours in (
        ("covers", is_foreign, None),
        ("order", unnamed & ~is_foreign, None),
        ("order", ~is_foreign, unnamed),
    ):
        some = left(ours, "our_row").filter(mine)
        others = left(theirs, "their_row")
        others = others if yours is None else others.filter(yours)
        found = pl.concat([found, _nth(some, others, list(_KEYS), how)])
    return found


def _by_id(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    named = [
        side.filter(pl.col("earned_badge_id").is_not_null())
        .unique("earned_badge_id", keep="first", maintain_order=True)
        .select(row, "earned_badge_id")
        for side, row in ((ours, "our_row"), (theirs, "their_row"))
    ]
    pairs = named[0].join(named[1], on="earned_badge_id")
    return pairs.select("our_row", "their_row", how=pl.lit("id"))


def _nth(
    ours: pl.DataFrame, theirs: pl.DataFrame, keys: list[str], how: str
) -> pl.DataFrame:
    """Pair the nth of ours with the nth of theirs among equal keys; null is no key."""
    nth = pl.int_range(pl.len()).over(keys)
    order = ("earn_event_date", "earn_day", "earned_badge_id")
    sides = [
        side.drop_nulls(keys).sort(*order).select(row, *keys, nth=nth)
        for side, row in ((ours, "our_row"), (theirs, "their_row"))
    ]
    pairs = sides[0].join(sides[1], on=[*keys, "nth"])
    return pairs.select("our_row", "their_row", how=pl.lit(how))


def _of_pairs(
    pairs: pl.DataFrame, ours: pl.DataFrame, theirs: pl.DataFrame
) -> pl.DataFrame:
    both = pairs.join(ours, on="our_row").join(theirs, on="their_row", suffix="_theirs")
    our_date, their_date = pl.col("earn_event_date"), pl.col("earn_event_date_theirs")
    is_same = (
        (our_date == their_date)
        | (their_date.is_null() & (pl.col("earn_day") == pl.col("earn_day_theirs")))
    ).fill_null(value=False)
    is_dated = their_date.is_not_null() | pl.col("earn_day_theirs").is_not_null()
    is_foreign = pl.col("status") == "already_earned"
    differs = is_dated & ~is_same & ~is_foreign
    moved = pl.col("customer_id") != pl.col("customer_id_theirs")
    note = (
        pl.when(moved)
        .then(pl.format("it is customer {}'s there", "customer_id_theirs"))
        .when(is_foreign)
        .then(pl.lit("not ours, it covers the award"))
        .when(~is_dated)
        .then(pl.lit("counted, its date is not shown"))
        .when(differs & their_date.is_null())
        .then(pl.format("there it is of {}", pl.col("earn_day_theirs").cast(pl.String)))
    )
    return both.select(
        "badge",
        *_KEYS,
        "award_id",
        finding=pl.when(differs)
        .then(pl.lit(str(Finding.DATE_DIFFERS)))
        .otherwise(pl.lit(str(Finding.MATCHED))),
        status="status",
        earn_event_date=our_date,
        their_earn_event_date=their_date,
        earned_badge_id="earned_badge_id",
        their_earned_badge_id="earned_badge_id_theirs",
        note=note,
    ).select(pl.col(name).cast(kind) for name, kind in FOUND.items())


def _ours_only(present: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    return (
        present.join(pairs, on="our_row", how="anti")
        .with_columns(
            finding=pl.lit(str(Finding.OURS_ONLY)),
            their_earn_event_date=pl.lit(None),
            their_earned_badge_id=pl.lit(None),
            note=pl.lit(None),
        )
        .select(pl.col(name).cast(kind) for name, kind in FOUND.items())
    )


def _theirs_only(
    absent: pl.DataFrame,
    theirs: pl.DataFrame,
    pairs: pl.DataFrame,
    ours: pl.DataFrame,
) -> pl.DataFrame:
    """Return earns that no award says are there; note an award that says otherwise."""
    left = theirs.join(pairs, on="their_row", how="anti")
    keys = [*_KEYS, "earn_event_date"]
    told = absent.unique(keys, keep="first", maintain_order=True)
    names = ours.select("badge_meta_id", "badge").unique(
        "badge_meta_id", keep="first", maintain_order=True
    )
    return (
        left.join(told.select(*keys, "award_id", "status"), on=keys, how="left")
        .join(names, on="badge_meta_id", how="left")
        .with_columns(
            finding=pl.lit(str(Finding.THEIRS_ONLY)),
            note=pl.when(pl.col("award_id").is_not_null())
            .then(pl.format("the audit has this award as {}", "status"))
            .when(~pl.col("is_listed"))
            .then(pl.lit("counted, not shown")),
            their_earn_event_date="earn_event_date",
            their_earned_badge_id="earned_badge_id",
        )
        .with_columns(
            earn_event_date=pl.lit(None),
            earned_badge_id=pl.lit(None),
        )
        .select(pl.col(name).cast(kind) for name, kind in FOUND.items())
    )
