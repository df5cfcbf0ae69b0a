"""Finds what covers a qualification already: an award of the ledger, or a held earn.

Belongs here: the newest generation, released awards, merged customers, and the brand's
own list of earned badges. Does not belong here: reading the ledger or the files, and
what a plan makes of the finding (`awards`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from transforms.local_time import calendar_period

if TYPE_CHECKING:
    from transforms.definition.definition import Badge, Per

_OCCURRENCE = ["customer_id", "occurrence"]


def newest_awards(known: pl.DataFrame) -> pl.DataFrame:
    """Return the newest generation of each award, as the ledger named its customer.

    Adds ledger_customer_id where it is missing: then no customer was merged.
    """
    if "ledger_customer_id" not in known.columns:
        known = known.with_columns(ledger_customer_id=pl.col("customer_id"))
    if known["generation"].min() == known["generation"].max():
        return known
    newest = pl.col("generation").max().over("ledger_customer_id", "occurrence")
    return known.filter(pl.col("generation") == newest)


def with_ledger_awards(
    frame: pl.DataFrame, badge: Badge, known: pl.DataFrame
) -> pl.DataFrame:
    """Add what the ledger has for each (customer_id, occurrence).

    Added: ledger_award_id (null: nothing, or released), generation Int64 (of that
    award, or the one that a new award gets), is_surplus (a merged customer would gain
    it beyond what its parts hold). `known` as for `awards.classified_awards`.
    """
    newest = newest_awards(known).with_columns(pl.col("generation").cast(pl.Int64))
    is_own = pl.col("customer_id") == pl.col("ledger_customer_id")
    released = newest.filter(is_own, "is_released").select(
        *_OCCURRENCE, next_generation=pl.col("generation") + 1
    )
    live = newest.filter(~pl.col("is_released"))
    survivors = newest.filter(~is_own)["customer_id"].unique()
    covering = live
    if not survivors.is_empty():  # only then do several awards cover one occurrence
        live = live.sort(*_OCCURRENCE, ~is_own, "ledger_customer_id", "award_id")
        covering = live.unique(_OCCURRENCE, keep="first", maintain_order=True)
    covering = covering.select(
        *_OCCURRENCE, ledger_award_id="award_id", ledger_generation="generation"
    )
    frame = _beside(_beside(frame, covering), released)
    if survivors.is_empty():
        frame = frame.with_columns(is_surplus=pl.lit(value=False))
    else:
        has_periods = _period_of(badge) is not None
        frame = _with_survivors(frame, live, survivors, has_periods=has_periods)
    generation = pl.coalesce("ledger_generation", "next_generation", pl.lit(1))
    return frame.with_columns(generation=generation.cast(pl.Int64)).drop(
        "ledger_generation", "next_generation"
    )


def _beside(frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    return frame.join(found, on=_OCCURRENCE, how="left", maintain_order="left")


def _with_survivors(
    frame: pl.DataFrame, live: pl.DataFrame, survivors: pl.Series, *, has_periods: bool
) -> pl.DataFrame:
    """Pair what a survivor qualifies for further with what its parts hold besides.

    Two customers who held one award each hold two as one: the second ordinal is theirs
    already. What goes beyond is surplus. Periods are no ordinals: an award of June
    covers June only, so there all that is left is surplus.
    """
    is_survivor = pl.col("customer_id").is_in(survivors.implode())
    is_covered = pl.col("ledger_award_id").is_not_null()
    nth = pl.int_range(pl.len()).over("customer_id")
    wanting = frame.filter(is_survivor, ~is_covered).select(*_OCCURRENCE)
    spare = live.join(
        frame.filter(is_survivor, is_covered).select(award_id="ledger_award_id"),
        on="award_id",
        how="anti",
        maintain_order="left",
    )
    spare = spare.clear() if has_periods else spare.filter(is_survivor)
    pairs = wanting.sort(_OCCURRENCE).with_columns(nth=nth)
    pairs = pairs.join(
        spare.select(
            "customer_id", nth=nth, spare_id="award_id", spare_generation="generation"
        ),
        on=["customer_id", "nth"],
        how="left",
    ).with_columns(is_surplus=pl.col("spare_id").is_null())
    return (
        _beside(frame, pairs.drop("nth"))
        .with_columns(
            ledger_award_id=pl.coalesce("ledger_award_id", "spare_id"),
            ledger_generation=pl.coalesce("ledger_generation", "spare_generation"),
            is_surplus=pl.col("is_surplus").fill_null(value=False),
        )
        .drop("spare_id", "spare_generation")
    )


def with_held_earns(
    frame: pl.DataFrame, badge: Badge, held: pl.DataFrame | None, *, timezone: str
) -> pl.DataFrame:
    """Add is_held and held_earned_badge_id: the earn of the brand's list that covers.

    `held`: badge_meta_id, customer_id Int64, earn_event_date Datetime(us, UTC),
    earned_badge_id. The n-th earn of a customer, by date, covers the n-th occurrence;
    where occurrences are periods, the first earn inside the period covers it.
    """
    if held is None:
        nothing = pl.lit(None, dtype=pl.String)
        return frame.with_columns(
            is_held=pl.lit(value=False), held_earned_badge_id=nothing
        )
    earns = held.filter(pl.col("badge_meta_id") == badge.badge_meta_id).sort(
        "customer_id", "earn_event_date", "earned_badge_id"
    )
    period = _period_of(badge)
    if period is None:
        occurrence = pl.int_range(1, pl.len() + 1).over("customer_id")
    else:
        occurrence = calendar_period(pl.col("earn_event_date"), period, timezone)
    covering = earns.select(
        pl.col("customer_id").cast(pl.Int64),
        occurrence=occurrence.cast(pl.Int64),
        is_held=pl.lit(value=True),
        held_earned_badge_id=pl.col("earned_badge_id").cast(pl.String),
    ).unique(_OCCURRENCE, keep="first", maintain_order=True)
    return _beside(frame, covering).with_columns(
        pl.col("is_held").fill_null(value=False)
    )


def _period_of(badge: Badge) -> Per | None:
    """Return the period whose number is the occurrence, if that is what it is."""
    return badge.rule.per if badge.repeat else None
