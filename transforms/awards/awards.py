"""Makes awards of qualifications: their ids, and what a plan makes of each.

Belongs here: award ids, the bounds and selections of a run, `hold`, the one result of
every qualification, and drift. Does not belong here: when a rule was met (`rules`),
dates and windows (`earn_dates`), what is made already (`covered`), how awards are
sent (`requests`), and guards (`badges`).
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from transforms.awards.covered import newest_awards, with_held_earns, with_ledger_awards
from transforms.awards.earn_dates import earn_date_text, with_earn_dates
from transforms.local_time import INSTANT, one_earlier

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date, datetime

    from transforms.definition.definition import Badge
    from transforms.platform.badges import BadgeFacts

AWARD_SCHEME = "retrobadge/award/1"
_AWARD_ID_LENGTH = 24
_IDS_AT_A_TIME = 1_000_000  # texts of Python are many times as large as ours


class PlanResult(StrEnum):
    """What a plan makes of a qualification: the first of these that applies."""

    IN_LEDGER = "in_ledger"  # made before, whatever became of it
    OUTSIDE_BOUNDS = "outside_bounds"  # its earn day was not asked for
    NOT_SELECTED = "not_selected"  # its badge, customer or id was not asked for
    OUT_OF_WINDOW = "out_of_window"  # the badge was not open then
    NOT_YET_DUE = "not_yet_due"  # its earn date lies after as_of
    HELD_BACK = "held_back"  # younger than `hold`, or a survivor's surplus
    HELD = "held"  # the brand's own list shows it: already earned
    PLANNED = "planned"


def classified_awards(
    qualifications: pl.DataFrame,
    badge: Badge,
    facts: BadgeFacts,
    *,
    definition_timezone: str,
    as_of: datetime,
    target: str,
    known: pl.DataFrame,
    held: pl.DataFrame | None = None,
    earned_from: date | None = None,
    earned_until: date | None = None,
    selected_customers: Collection[int] | pl.Series | None = None,
    selected_awards: Collection[str] | pl.Series | None = None,
    is_badge_selected: bool = True,
) -> pl.DataFrame:
    """Return one row per qualification, in its order, with exactly one `result`.

    `qualifications`: customer_id Int64, occurrence Int64, qualified_at Datetime(us,
    UTC), measure, threshold, evidence_activity_id, source. `known`: what the ledger
    has of this (badge_meta_id, series), every generation but withdrawn ones:
    award_id, customer_id, occurrence, generation, is_released and, where customers
    were merged since, ledger_customer_id (the id an award was made under, while
    customer_id is the survivor's). `held`: badge_meta_id, customer_id,
    earn_event_date, earned_badge_id, without what the ledger made for another series
    or took back. `earned_from` (inclusive) and `earned_until` (exclusive) are the
    run's local days; None selects everything.

    Added: award_id, generation, earn_event_date Datetime(us, UTC) in whole seconds
    (null: no date in the window), earn_day Date in the definition's zone, badge,
    badge_meta_id, reference_id, series, result (see PlanResult), reason (a word more
    about the result, or null), held_earned_badge_id. Of an award of the ledger,
    award_id and generation are the ledger's, the dates are today's activity's.
    """
    frame = with_earn_dates(qualifications, badge, facts, timezone=definition_timezone)
    frame = with_ledger_awards(frame, badge, known)
    frame = with_held_earns(frame, badge, held, timezone=definition_timezone)
    frame = frame.with_columns(
        _award_ids(frame, badge, target).alias("award_id"),
        badge=pl.lit(badge.name),
        badge_meta_id=pl.lit(badge.badge_meta_id),
        reference_id=pl.lit(badge.reference_id),
        series=pl.lit(badge.series),
    )
    reasons = {
        PlanResult.IN_LEDGER: _if(pl.col("ledger_award_id").is_not_null(), "in_ledger"),
        PlanResult.OUTSIDE_BOUNDS: _out_of_bounds(badge, earned_from, earned_until),
        PlanResult.NOT_SELECTED: _unselected(
            selected_customers, selected_awards, is_badge_selected=is_badge_selected
        ),
        PlanResult.OUT_OF_WINDOW: pl.col("not_open"),
        PlanResult.NOT_YET_DUE: _if(pl.col("earn_event_date") > as_of, "not_yet_due"),
        PlanResult.HELD_BACK: _kept_waiting(badge, as_of, definition_timezone),
        PlanResult.HELD: _if(pl.col("is_held"), "held"),
    }
    return _with_first(frame, reasons).drop(
        "ledger_award_id", "not_open", "is_surplus", "is_held"
    )


def _award_ids(frame: pl.DataFrame, badge: Badge, target: str) -> pl.Series:
    """Return the ledger's id where it has the award, else the one that is made."""
    opening = _opening(target, badge.badge_meta_id, badge.series)
    ids = frame["ledger_award_id"]
    new = frame.filter(ids.is_null()).select("customer_id", "occurrence", "generation")
    made = (
        pl.concat(_made_ids(opening, some) for some in new.iter_slices(_IDS_AT_A_TIME))
        if new.height
        else pl.Series(dtype=pl.String)
    )
    return ids.clone().scatter(ids.is_null().arg_true(), made)


def _made_ids(opening: str, new: pl.DataFrame) -> pl.Series:
    """Return what `award_id` would, one by one: only hashing is left to Python."""
    rest = pl.format("\x1f{}\x1f{}\x1f{}", "customer_id", "occurrence", "generation")
    texts = new.select(text=(pl.lit(opening) + rest).cast(pl.Binary))["text"]
    digests = [hashlib.sha256(text).digest() for text in texts.to_list()]
    made = pl.Series(digests, dtype=pl.Binary).bin.slice(0, _AWARD_ID_LENGTH // 2)
    return made.bin.encode("hex")


def award_id(
    *,
    target: str,
    badge_meta_id: str,
    series: str,
    customer_id: int,
    occurrence: int,
    generation: int = 1,
) -> str:
    """Return the id of an award: 24 hex digits of a hash of what it is."""
    opening = _opening(target, badge_meta_id, series)
    return _award_id(opening, customer_id, occurrence, generation)


def _opening(target: str, badge_meta_id: str, series: str) -> str:
    return f"{AWARD_SCHEME}\x1f{target}\x1f{badge_meta_id}\x1f{series}"


def _award_id(opening: str, customer_id: int, occurrence: int, generation: int) -> str:
    text = f"{opening}\x1f{customer_id}\x1f{occurrence}\x1f{generation}"
    return hashlib.sha256(text.encode()).hexdigest()[:_AWARD_ID_LENGTH]


def _if(condition: pl.Expr, word: str) -> pl.Expr:
    """Return the word where the condition holds, else null."""
    return pl.when(condition).then(pl.lit(word))


def _out_of_bounds(
    badge: Badge, earned_from: date | None, earned_until: date | None
) -> pl.Expr:
    day = pl.col("earn_day")
    froms = [bound for bound in (badge.earned_from, earned_from) if bound]
    untils = [bound for bound in (badge.earned_until, earned_until) if bound]
    return pl.coalesce(
        *(_if(day < bound, "before_bounds") for bound in froms),
        *(_if(day >= bound, "after_bounds") for bound in untils),
        pl.lit(None, dtype=pl.String),
    )


def _unselected(
    customers: Collection[int] | pl.Series | None,
    awards: Collection[str] | pl.Series | None,
    *,
    is_badge_selected: bool,
) -> pl.Expr:
    reasons = [_if(pl.lit(not is_badge_selected), "badge")]
    if customers is not None:
        wanted = pl.Series(values=list(customers), dtype=pl.Int64).implode()
        reasons.append(_if(~pl.col("customer_id").is_in(wanted), "customer"))
    if awards is not None:
        ids = pl.Series(values=list(awards), dtype=pl.String).implode()
        reasons.append(_if(~pl.col("award_id").is_in(ids), "award"))
    return pl.coalesce(*reasons)


def _kept_waiting(badge: Badge, as_of: datetime, timezone: str) -> pl.Expr:
    surplus = _if(pl.col("is_surplus"), "merged")
    if badge.hold is None:
        return surplus
    youngest = one_earlier(pl.lit(as_of, dtype=INSTANT), badge.hold, timezone)
    return pl.coalesce(_if(pl.col("qualified_at") > youngest, "hold"), surplus)


def _with_first(
    frame: pl.DataFrame, reasons: dict[PlanResult, pl.Expr]
) -> pl.DataFrame:
    """Add the first result that has a reason, and the reason if it says more."""
    frame = frame.with_columns(
        result=pl.coalesce(
            *(_if(reason.is_not_null(), name) for name, reason in reasons.items()),
            pl.lit(str(PlanResult.PLANNED)),
        ),
        reason=pl.coalesce(*reasons.values()),
    )
    says_more = pl.col("reason") != pl.col("result")
    return frame.with_columns(reason=pl.when(says_more).then("reason"))


def drift(awards_now: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return what today's activity would do differently with awards already made.

    `awards_now` is what `classified_awards` returned for the same `known`, which needs
    is_revoked and earn_event_date too here. Columns award_id, kind, was, would_be (earn
    dates as sent, or null), all String. Kinds: `earn_date` (another date),
    `not_qualified` (no longer granted, or outside the window now), and `merged` (what
    a survivor would gain beyond what its parts hold, under the id it would have).
    Revoked and released awards are no drift.
    """
    made = newest_awards(known).filter(~pl.col("is_revoked"))
    now = awards_now.filter(pl.col("result") == PlanResult.IN_LEDGER)
    compared = made.join(
        now.select("award_id", now_date="earn_event_date"),
        on="award_id",
        how="left",
    )
    now_date = pl.col("now_date")
    moved = compared.filter(now_date.ne_missing(pl.col("earn_event_date"))).select(
        "award_id",
        kind=pl.when(now_date.is_null())
        .then(pl.lit("not_qualified"))
        .otherwise(pl.lit("earn_date")),
        was=earn_date_text(pl.col("earn_event_date")),
        would_be=earn_date_text(now_date),
    )
    surplus = awards_now.filter(pl.col("reason") == "merged").select(
        "award_id",
        kind=pl.lit("merged"),
        was=pl.lit(None, dtype=pl.String),
        would_be=earn_date_text(pl.col("earn_event_date")),
    )
    return pl.concat([moved, surplus]).sort("kind", "award_id")
