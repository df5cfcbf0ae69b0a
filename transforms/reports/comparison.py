"""Compares what two definitions award: who gains, who loses, whose date moves.

Belongs here: pairing awards, and why one of the two does not grant one. Does not belong
here: what each definition awards (`rules`, `awards`), and reading files (`flows`).
"""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from transforms.awards.awards import PlanResult
from transforms.awards.earn_dates import earn_date_text


class Difference(StrEnum):
    """What becomes of an award when the second definition takes the first's place."""

    GAINED = "gained"
    LOST = "lost"
    MOVED = "moved"  # granted by both, with another earn date


KEYS = ("badge_meta_id", "series", "customer_id", "occurrence")
# Statuses that say that the customer has the badge.
HELD_STATUSES = ("issued", "already_earned")


def differences(
    first: pl.DataFrame, second: pl.DataFrame, made: pl.DataFrame
) -> pl.DataFrame:
    """Return a row for each award that the two don't grant alike.

    `first`, `second`: KEYS, badge, earn_event_date, result of every qualification, as
    `awards.classified_awards` without a ledger; planned ones are granted. `made`: KEYS
    and the status of the newest award that the audit has.

    Columns: badge, KEYS, difference, first_date and second_date (as they are sent, or
    null), why (the result in the definition that does not grant it; `not_qualified`
    where the rule is not met there), status.
    """
    both = _beside(first, second)
    granted = str(PlanResult.PLANNED)
    was, stands = (
        pl.col(name).eq_missing(granted) for name in ("first_result", "second_result")
    )
    first_date, second_date = (
        pl.when(is_granted).then(earn_date_text(pl.col(date)))
        for is_granted, date in ((was, "first_at"), (stands, "second_at"))
    )
    moved = pl.col("first_at").ne_missing(pl.col("second_at"))
    difference = (
        pl.when(~was & stands)
        .then(pl.lit(str(Difference.GAINED)))
        .when(was & ~stands)
        .then(pl.lit(str(Difference.LOST)))
        .when(was & stands & moved)
        .then(pl.lit(str(Difference.MOVED)))
    )
    why = (
        pl.when(~was & stands)
        .then(pl.col("first_result").fill_null("not_qualified"))
        .when(was & ~stands)
        .then(pl.col("second_result").fill_null("not_qualified"))
    )
    return (
        both.with_columns(
            badge=pl.coalesce("second_badge", "first_badge"),
            difference=difference,
            first_date=first_date,
            second_date=second_date,
            why=why,
        )
        .filter(pl.col("difference").is_not_null())
        .join(made.select(*KEYS, "status"), on=KEYS, how="left")
        .select(
            "badge", *KEYS, "difference", "first_date", "second_date", "why", "status"
        )
        .sort("badge", "difference", *KEYS)
    )


def _beside(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Return both sides of every qualification, null where one has it not."""
    sides = [
        side.select(
            *KEYS,
            pl.col("badge").alias(f"{name}_badge"),
            pl.col("earn_event_date").alias(f"{name}_at"),
            pl.col("result").alias(f"{name}_result"),
        )
        for name, side in (("first", first), ("second", second))
    ]
    return sides[0].join(sides[1], on=KEYS, how="full", coalesce=True)


def counted(
    first: pl.DataFrame, second: pl.DataFrame, found: pl.DataFrame
) -> pl.DataFrame:
    """Return, per badge, awards of both sides and how many differ in which way.

    Columns: badge, first_awards, second_awards, gained, lost, moved, and of these what
    the customers have already: gained_held, lost_held, moved_held.
    """
    keys = ["badge_meta_id", "series"]
    names = (
        pl.concat([second.select("badge", *keys), first.select("badge", *keys)])
        .unique(keys, keep="first", maintain_order=True)
        .select("badge", *keys)
    )
    granted = pl.col("result") == str(PlanResult.PLANNED)
    awards = [
        side.filter(granted).group_by(keys).agg(pl.len().alias(f"{name}_awards"))
        for name, side in (("first", first), ("second", second))
    ]
    is_held = pl.col("status").is_in(HELD_STATUSES)
    kinds = [(pl.col("difference") == str(kind), str(kind)) for kind in Difference]
    changed = found.group_by(keys).agg(
        *(is_kind.sum().alias(name) for is_kind, name in kinds),
        *((is_kind & is_held).sum().alias(f"{name}_held") for is_kind, name in kinds),
    )
    for side in (*awards, changed):
        names = names.join(side, on=keys, how="left", maintain_order="left")
    return names.drop(keys).with_columns(
        pl.exclude("badge").fill_null(0).cast(pl.Int64)
    )


def examples(found: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return the first few differences of each badge and kind."""
    nth = pl.int_range(pl.len()).over("badge", "difference")
    return found.filter(nth < count)
