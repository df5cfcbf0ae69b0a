"""Explains one customer and one badge: what counted, what did not, and how far it is.

Belongs here: the reason of every activity, the running measure, and the distance in
words. Does not belong here: reading activity and the audit
(`flows.commands.explaining`), when a rule is met (`rules`) and what becomes of it
(`awards`): both are asked, not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from transforms.activity.accepted import IS_LINE
from transforms.conditions.condition import columns_in, condition
from transforms.local_time import BUILT_IN_TYPES, built_in_columns, start_of_day
from transforms.reports.return_words import not_returned, return_note, return_reason
from transforms.rules.lines import with_activity_times
from transforms.rules.ordering import DETAILS
from transforms.rules.parts import COMBINED, Part, rule_parts
from transforms.rules.qualifications import qualifications
from transforms.rules.running import running_measures
from transforms.rules.words import (
    duration_words,
    number_words,
    part_words,
    rule_words,
    since_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transforms.definition.definition import Badge, Rule

_ORDER = ("occurred_at", *DETAILS)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a badge is looked at with; the definition's zone and decimals."""

    timezone: str
    as_of: datetime
    amount_decimals: int


@dataclass(frozen=True, kw_only=True)
class ActivityVerdict:
    """What one rule made of one activity.

    `reason` says why it did not count; `running` is what stood after it, in the units
    that people read, and None where it did not count. `meets` are the occurrences that
    it met; `note` says what returns left of its amount. Of an activity of several
    lines each line has a verdict, and what stood after the activity.
    """

    activity: Mapping[str, Any]
    reason: str | None = None
    note: str | None = None
    running: float | None = None
    meets: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PartExplained:
    """A rule that is met by itself: the badge's, or a part of an `all_of`, `any_of`.

    `qualified_at`: when it was met first, or None; `distance` is the whole story in
    one sentence.
    """

    place: str
    words: str
    threshold: float
    verdicts: tuple[ActivityVerdict, ...]
    qualified_at: datetime | None
    distance: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a customer has a badge, or not. `met`: as `rules.qualifications`."""

    rule: str
    parts: tuple[PartExplained, ...]
    met: pl.DataFrame


def explained(activity: pl.DataFrame, badge: Badge, setting: Setting) -> Explanation:
    """Explain a badge by all accepted activity of one customer.

    `activity`: as for `rules.qualifications`, with what older files have too, and
    superseded_by String: the newer file that has the activity again, else null; with
    returns, as `return_words.with_fates` gives it. Raises DefinitionRefused as
    `qualifications` does.
    """
    activity = _with_activity_times(activity).sort(_ORDER)
    is_combined = badge.rule.kind in COMBINED
    parts = tuple(
        _explained(
            activity, _alone(part, badge) if is_combined else badge, part, setting
        )
        for part in rule_parts(badge)
    )
    return Explanation(
        rule=rule_words(badge), parts=parts, met=_met(activity, badge, setting)
    )


def _with_activity_times(activity: pl.DataFrame) -> pl.DataFrame:
    """Give lines that count the time of their activity; each keeps its own row."""
    is_current = pl.col("superseded_by").is_null() & not_returned(activity)
    current = activity.filter(is_current)
    times = with_activity_times(current)["occurred_at"]
    return pl.concat([current.with_columns(times), activity.filter(~is_current)])


def _met(activity: pl.DataFrame, badge: Badge, setting: Setting) -> pl.DataFrame:
    is_current = pl.col("superseded_by").is_null() & not_returned(activity)
    return qualifications(
        activity.filter(is_current).lazy(),
        badge,
        timezone=setting.timezone,
        as_of=setting.as_of,
        amount_decimals=setting.amount_decimals,
    )


def _alone(part: Part, badge: Badge) -> Badge:
    """Return a badge that has one part of a combined rule for its rule."""
    wheres = [f"({text})" for text in part.wheres.values()]
    quoted = [source.replace("'", "''") for source in part.sources]
    wheres += [f"source = '{source}'" for source in quoted]
    rule = part.rule.model_copy(
        update={"where": " AND ".join(wheres) or None, "source": None}
    )
    return badge.model_copy(update={"rule": rule, "where": None, "repeat": False})


def _explained(
    activity: pl.DataFrame, badge: Badge, part: Part, setting: Setting
) -> PartExplained:
    met = _met(activity, badge, setting)
    reasons = _reasons(activity, badge, part, setting)
    counted = activity.filter(pl.Series(reasons, dtype=pl.String).is_null())
    unit = 10**setting.amount_decimals if part.rule.kind == "total_amount" else 1
    meets = _meets(counted, met)
    measures = _measures(counted, part.rule, badge, meets, setting)
    found = iter(zip(measures, meets, strict=True))
    verdicts = []
    for row, reason in zip(activity.iter_rows(named=True), reasons, strict=True):
        if reason is not None:
            verdicts.append(ActivityVerdict(activity=row, reason=reason))
            continue
        measure, occurrences = next(found)
        verdicts.append(
            ActivityVerdict(
                activity=row,
                note=return_note(row, setting.amount_decimals),
                running=None if part.rule.kind == "elapsed" else measure / unit,
                meets=occurrences,
            )
        )
    threshold = _threshold(part.rule)
    return PartExplained(
        place=part.place,
        words=part_words(part.rule, badge),
        threshold=threshold,
        verdicts=tuple(verdicts),
        qualified_at=None if met.is_empty() else _first(met["qualified_at"]),
        distance=_distance(verdicts, met, part.rule, threshold, setting),
    )


def _first(instants: pl.Series) -> datetime | None:
    first = instants.min()
    return first if isinstance(first, datetime) else None


def _threshold(rule: Rule) -> float:
    if rule.after is not None:
        return float(rule.after.count)
    return float(rule.periods or rule.at_least or 0)


# -- why an activity does not count -----------------------------------------------


def _reasons(
    activity: pl.DataFrame, badge: Badge, part: Part, setting: Setting
) -> list[str | None]:
    """Return, per row, the first reason for which it does not count, or None."""
    known = {**activity.schema, **BUILT_IN_TYPES}
    frame = activity.with_columns(
        expression.alias(name)
        for name, expression in built_in_columns(setting.timezone).items()
    )
    conditions = {
        place: condition(
            text, known, place=place, amount_decimals=setting.amount_decimals
        )
        for place, text in part.wheres.items()
    }
    judged = frame.with_columns(
        one.fill_null(value=False).alias(f"@{place}")
        for place, one in conditions.items()
    )
    looker = _Looker(badge, part, setting)
    return [looker.reason(row) for row in judged.iter_rows(named=True)]


class _Looker:
    """Looks at one activity the way a rule does."""

    def __init__(self, badge: Badge, part: Part, setting: Setting) -> None:
        self._part = part
        self._setting = setting
        self._badge = badge
        self._used = {
            place: sorted(columns_in(text)) for place, text in part.wheres.items()
        }

    def reason(self, row: Mapping[str, Any]) -> str | None:
        """Return the first reason why a row does not count, or None."""
        return next(self._all(row), None)

    def _all(self, row: Mapping[str, Any]) -> Iterator[str]:
        if row["superseded_by"] is not None:
            yield f"superseded: {row['superseded_by']} has this activity again"
        yield from self._out_of_time(row["occurred_at"])
        decimals = self._setting.amount_decimals
        if returned := return_reason(row, self._part.rule.kind, decimals):
            yield returned
        for source in self._part.sources:
            if row["source"] != source:
                yield f"source: the rule counts {source}, this is of {row['source']}"
        for place, text in self._part.wheres.items():
            if not row[f"@{place}"]:
                has = ", ".join(
                    f"{name} = {self._shown(name, row[name])}"
                    for name in self._used[place]
                )
                yield f"where: {text} does not hold ({has})"
        if self._part.rule.of is not None and row[self._part.rule.of] is None:
            yield f"value: it has no {self._part.rule.of}"

    def _out_of_time(self, happened: datetime) -> Iterator[str]:
        badge, timezone = self._badge, self._setting.timezone
        if happened > self._setting.as_of:
            yield f"too young: later than {self._setting.as_of.isoformat()}"
        for day, name in (
            (badge.counted_from, "counted_from"),
            (badge.counted_until, "counted_until"),
        ):
            if day is None:
                continue
            edge = start_of_day(day, timezone)
            if (name == "counted_from") == (happened < edge):
                word = "before" if name == "counted_from" else "not before"
                yield f"bounds: {word} {name} {day}"

    def _shown(self, name: str, value: Any) -> str:
        if name == "amount" and value is not None:
            decimals = self._setting.amount_decimals
            return f"{value / 10**decimals:.{decimals}f}"
        return "nothing" if value is None else str(value)


# -- what had been counted -----------------------------------------------------------


def _meets(counted: pl.DataFrame, met: pl.DataFrame) -> list[tuple[int, ...]]:
    """Return, per counted row, the occurrences that its activity met."""
    keys = counted.select("activity_id", "source").rows()
    found: dict[tuple[str, str], list[int]] = {}
    rows = met.select("evidence_activity_id", "source", "occurrence").iter_rows()
    for activity_id, source, occurrence in rows:
        found.setdefault((activity_id, source), []).append(occurrence)
    return [tuple(found.get(key, ())) for key in keys]


def _measures(
    counted: pl.DataFrame,
    rule: Rule,
    badge: Badge,
    meets: list[tuple[int, ...]],
    setting: Setting,
) -> list[int]:
    value = "amount" if rule.kind == "total_amount" else rule.of
    nothing = pl.lit(None, dtype=pl.Int64)
    rows = counted.with_columns(**built_in_columns(setting.timezone)).select(
        "occurred_at", value=nothing if value is None else pl.col(value)
    )
    rows = rows.with_columns(number=_activity_numbers(counted))
    meets_of = dict(zip(rows["number"], meets, strict=True))
    if rule.kind != "distinct_count":
        whole = pl.col("occurred_at").first(), pl.col("value").sum()
        rows = rows.group_by("number", maintain_order=True).agg(*whole)
    last = {number: at for at, number in enumerate(rows["number"])}
    starts_again = badge.repeat and (rule.within is not None or rule.period is not None)
    restarts = {at for number, at in last.items() if meets_of[number] and starts_again}
    measures = running_measures(
        rows.drop("number"), rule, timezone=setting.timezone, restarts=restarts
    )
    return [measures[last[number]] for number in _activity_numbers(counted)]


def _activity_numbers(counted: pl.DataFrame) -> pl.Series:
    """Return a number for each activity: lines of one have it in common."""
    if IS_LINE not in counted.columns:
        return pl.int_range(counted.height, eager=True)
    is_same = pl.all_horizontal(
        IS_LINE,
        *(pl.col(key) == pl.col(key).shift() for key in ("source", "activity_id")),
    )
    return counted.select((~is_same.fill_null(value=False)).cum_sum()).to_series()


# -- how far it is -------------------------------------------------------------------


def _distance(
    verdicts: list[ActivityVerdict],
    met: pl.DataFrame,
    rule: Rule,
    threshold: float,
    setting: Setting,
) -> str:
    """Return in one sentence when the rule was met, or how far it is from that."""
    counted = [one for one in verdicts if one.reason is None]
    zone = ZoneInfo(setting.timezone)
    if not met.is_empty():
        first = met.sort("qualified_at").row(0, named=True)
        times = f", {met.height} times so far" if met.height > 1 else ""
        reached = _amounts(first["measure"], threshold, rule)
        return f"met {_local(first['qualified_at'], zone)}: {reached}{times}"
    if not counted:
        return f"{_amounts(0, threshold, rule)}: no activity counts"
    last = counted[-1]
    happened = _local_day(last.activity["occurred_at"], zone)
    if rule.kind == "elapsed" and rule.after is not None:
        since = "occurred_at" if rule.since == "first_activity" else str(rule.since)
        began = counted[0].activity[since]
        if began is None:
            return f"the customer files don't give {since_words(rule)}"
        if isinstance(began, datetime):
            began = _local_day(began, zone)
        return f"{duration_words(rule.after)} since {began} have not passed yet"
    best = max(counted, key=lambda one: one.running or 0.0)
    told = f"{_amounts(best.running or 0, threshold, rule)}, last on {happened}"
    if best.running == last.running:
        return told
    best_on = _local_day(best.activity["occurred_at"], zone)
    reached = f"{_amounts(best.running or 0, threshold, rule)} at best, on {best_on}"
    return f"{reached}; {_number(last.running or 0)} on {happened}, the last activity"


def _amounts(measure: float, threshold: float, rule: Rule) -> str:
    names = {
        "activity_count": "activities",
        "total_amount": "in amounts",
        "distinct_count": f"different {rule.of}",
        "streak": f"{rule.period}s in a row",
        "elapsed": "",
    }
    if rule.kind == "elapsed" and rule.after is not None:
        return f"{duration_words(rule.after)} since {since_words(rule)}"
    return f"{_number(measure)} of {_number(threshold)} {names[rule.kind]}"


def _number(value: float) -> str:
    return number_words(int(value)) if value == int(value) else f"{value:,.2f}"


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _local_day(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()
