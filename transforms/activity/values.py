"""Turns the values of activity files into typed columns, and never misreads one.

Belongs here: what a customer id, an amount, a time and a typed column may look like; a
value that does not look like it becomes null. Does not belong here: what becomes of a
row with such a value (`activity`).

Each function takes a column as it was read (text from CSV and NDJSON, typed from
Parquet) and first tries the whole column as it stands: by its bytes, where all values
have the commonest form, else by a pattern. Only where a value does not fit are spaces
cut off and blanks told from faults.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import polars as pl

from transforms.activity.letters import Letters

INSTANT = pl.Datetime("us", "UTC")
# Below 2^50 a double times a power of ten still rounds to the right minor unit, and
# a sum of nine thousand of them still fits 64 bits.
MAX_MINOR_UNITS = 10**15
FIRST_YEAR, LAST_YEAR = 1900, 2100
FIRST_INSTANT = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
LAST_INSTANT = datetime(LAST_YEAR, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

_WHOLE = r"^[0-9]+$"
_SIGNED = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$"
_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-5][0-9](?:[.,][0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?$"
)
_EPOCH = r"^-?[0-9]{1,15}(?:\.[0-9]{1,9})?$"
_DAY = 86_400_000_000  # microseconds
_DAY_LENGTH, _MINUTE_LENGTH, _SECOND_LENGTH = 10, 16, 19
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_TOLERANCE = 1e-6  # of a minor unit: what arithmetic on floats leaves behind

Ambiguous = Literal["reject", "earliest", "latest"]


def blanks(values: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return where there is no value: null, nothing but spaces, or one of `nulls`."""
    if values.dtype != pl.String:
        return values.is_null()
    text = values.str.strip_chars()
    return values.is_null() | (text == "") | text.is_in([*nulls, ""])


def texts(values: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return a column as text; one of `nulls` is null, nothing else is changed."""
    if values.dtype != pl.String:
        return values.cast(pl.String)
    if not nulls or not values.is_in(list(nulls)).any():
        return values
    is_null = values.is_in(list(nulls))
    return values.set(is_null, None)


def identifiers(values: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return a column as text without surrounding spaces; blank is null.

    Whole numbers of a float column lose their `.0`: pandas turns an integer column
    with a gap in it into floats. Other floats are null.
    """
    if values.dtype.is_float():
        return whole_numbers(values, nulls, is_signed=True).cast(pl.String)
    if values.dtype != pl.String:
        return values.cast(pl.String)
    # Without a space anywhere, and with ASCII alone, nothing can be cut off.
    text = values if Letters(values).are_visible() else values.str.strip_chars()
    is_blank = text.str.len_bytes() == 0
    if _words(nulls):
        is_blank |= text.is_in(_words(nulls))
    return text.set(is_blank, None) if is_blank.any() else text


def whole_numbers(
    values: pl.Series, nulls: Collection[str], *, is_signed: bool = False
) -> pl.Series:
    """Return a column as Int64: plain digits, or whole values that fit.

    Without `is_signed` a sign is no digit.
    """
    if values.dtype == pl.String:
        pattern = _SIGNED if is_signed else _WHOLE
        found = values.cast(pl.Int64, strict=False)
        odd = _odd(values, found, nulls)
        if not _are_whole(values, found, is_signed=is_signed):
            return _fitting(values, pattern, nulls).cast(pl.Int64, strict=False)
        if odd.is_empty():
            return found
        fitting = _stripped(values.gather(odd), pattern, nulls)
        return found.scatter(odd, fitting.cast(pl.Int64, strict=False))
    if values.dtype.is_float():
        wide = values.cast(pl.Float64)
        fits = (wide == wide.floor()) & (wide >= -(2.0**63)) & (wide < 2.0**63)
        return wide.set(~fits.fill_null(value=False), None).cast(pl.Int64)
    if values.dtype.is_decimal():
        whole = values.cast(pl.Int64, strict=False)
        return whole.set((whole != values).fill_null(value=True), None)
    return values.cast(pl.Int64, strict=False)


def minor_units(
    values: pl.Series, nulls: Collection[str], *, decimals: int, sign: str = "."
) -> pl.Series:
    """Return amounts in currency units as Int64 minor units.

    Text has at most `decimals` decimals after the decimal `sign`. A float is taken
    for the amount next to it when it lies within a millionth of a minor unit, or when
    no float of its type is nearer to that amount.
    """
    scale = 10**decimals
    if values.dtype == pl.String:
        found = _amounts(values, nulls, decimals, sign)
        return _bounded((found * scale).round())
    if values.dtype.is_float():
        exact = values.cast(pl.Float64) * scale
        nearest = exact.round()
        fits = ((exact - nearest).abs() <= _TOLERANCE).fill_null(value=True)
        if not fits.all():
            # Divide by a column, for by a number Polars multiplies with its reciprocal.
            scales = pl.repeat(float(scale), values.len(), eager=True)
            fits |= (nearest / scales).cast(values.dtype) == values
            nearest = nearest.set(~fits.fill_null(value=False), None)
        return _bounded(nearest)
    wide = values.cast(pl.Decimal(38, max(decimals, _scale(values))), strict=False)
    minor = (wide * scale).cast(pl.Decimal(38, _scale(wide)), strict=False)
    whole = minor.cast(pl.Int64, strict=False)
    return _bounded(whole.set((whole != minor).fill_null(value=True), None))


def instants(
    values: pl.Series,
    nulls: Collection[str],
    *,
    style: str,
    timezone: str,
    ambiguous: Ambiguous,
) -> pl.Series:
    """Return a column of times as instants in UTC.

    `style` is `iso`, `epoch_seconds`, `epoch_milliseconds` or a strptime format. A
    time without offset is local to `timezone`; a day alone is its first moment. The
    hour that a clock skips is null, the hour that it repeats as `ambiguous` says, and
    what lies outside the years 1900 to 2100 is null.
    """
    if style.startswith("epoch_"):
        is_milliseconds = style == "epoch_milliseconds"
        found = _from_epoch(values, nulls, is_milliseconds=is_milliseconds)
    elif values.dtype == pl.Date:
        found = day_starts(values, timezone)
    elif isinstance(values.dtype, pl.Datetime):
        found = _from_datetimes(values, timezone, ambiguous)
    elif style == "iso":
        found = _from_iso(values, nulls, timezone, ambiguous)
    else:
        found = _from_strptime(values, nulls, style, timezone, ambiguous)
    is_out = (found < FIRST_INSTANT) | (found > LAST_INSTANT)
    return found.set(is_out, None) if is_out.any() else found


def day_starts(days: pl.Series, timezone: str) -> pl.Series:
    """Return the first moment of each local day, as an instant in UTC.

    Where midnight comes twice it is the first; where the clock skips it, the day
    begins later; a day that a zone skipped altogether is null.
    """
    midnights = days.cast(pl.Datetime("us"))
    found = localised(midnights, timezone, "earliest")
    skipped = found.is_null() & days.is_not_null()
    if skipped.any():
        later = {day: _late_start(day, timezone) for day in days.filter(skipped)}
        starts = days.replace_strict(later, default=None, return_dtype=INSTANT)
        found = found.zip_with(~skipped, starts)
    return found


def localised(values: pl.Series, timezone: str, ambiguous: Ambiguous) -> pl.Series:
    """Return local times as instants in UTC; the missing hour is null."""
    if timezone == "UTC":
        return values.dt.replace_time_zone("UTC")
    found = _by_day(values, timezone)
    open_ones = found.is_null() & values.is_not_null()
    if open_ones.any():
        rest = _by_clock(values.filter(open_ones), timezone, ambiguous)
        found = found.scatter(open_ones.arg_true(), rest)
    return found


def _by_clock(values: pl.Series, timezone: str, ambiguous: Ambiguous) -> pl.Series:
    choice: Literal["null", "earliest", "latest"] = (
        "null" if ambiguous == "reject" else ambiguous
    )
    return values.dt.replace_time_zone(
        timezone, ambiguous=choice, non_existent="null"
    ).dt.convert_time_zone("UTC")


def _by_day(values: pl.Series, timezone: str) -> pl.Series:
    """Return the instants of local times of days on which no clock was changed.

    All others are null. Looking up the offset of a day is four times as quick as
    looking up each time.
    """
    micros = values.to_physical()
    day_of = micros // _DAY
    first, last = day_of.min(), day_of.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return values.dt.replace_time_zone("UTC")
    if last - first > values.len():
        return pl.Series([None], dtype=INSTANT).new_from_index(0, values.len())
    quarters = pl.int_range(first * 4, last * 4 + 5, eager=True) * (_DAY // 4)
    local = quarters.cast(pl.Datetime("us"))
    offsets = quarters - _by_clock(local, timezone, "reject").to_physical()
    is_steady = offsets == offsets.shift(-1)
    for later in (2, 3, 4):
        is_steady &= offsets == offsets.shift(-later)
    steady = offsets.set(~is_steady.fill_null(value=False), None).gather_every(4)
    shifted = micros - steady.gather(day_of - first)
    return shifted.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def booleans(values: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return true, t, yes, y, 1 and their opposites as booleans."""
    if values.dtype == pl.Boolean:
        return values
    words = identifiers(values, nulls).str.to_lowercase()
    known = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
    return words.replace_strict(known, default=None, return_dtype=pl.Boolean)


def days(values: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return days written as 2024-01-31."""
    if values.dtype == pl.Date:
        return values
    text = _fitting(values, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", nulls)
    return text.str.to_date("%Y-%m-%d", strict=False)


def numbers(values: pl.Series, nulls: Collection[str], *, sign: str = ".") -> pl.Series:
    """Return finite decimal numbers as Float64, whatever their decimals."""
    if values.dtype != pl.String:
        wide = values.cast(pl.Float64, strict=False)
        return wide.set(~wide.is_finite().fill_null(value=True), None)
    text = _fitting(
        values, _NUMBER if sign == "." else _NUMBER.replace(r"\.", ","), nulls
    )
    return _as_floats(text, sign)


def _fitting(values: pl.Series, pattern: str, nulls: Collection[str]) -> pl.Series:
    """Return the values that match, without surrounding spaces; all others are null."""
    is_odd = ~values.str.contains(pattern)
    words = _words(nulls)
    if words:  # one such as `0` or `9999` looks like a value
        is_odd |= values.is_in(words)
    if not is_odd.any():
        return values
    at = is_odd.arg_true()
    stripped = _stripped(values.gather(at), pattern, nulls)
    # `set` makes a copy, `scatter` would change what the caller has.
    return values.set(is_odd, None).scatter(at, stripped)


def _stripped(values: pl.Series, pattern: str, nulls: Collection[str]) -> pl.Series:
    """Return the same of values that are odd for the most part: one look at each."""
    stripped = values.str.strip_chars()
    fits = stripped.str.contains(pattern)
    if words := _words(nulls):
        fits &= ~stripped.is_in(words)
    return stripped.set(~fits, None)


def _words(nulls: Collection[str]) -> list[str]:
    """Return what means no value besides a blank."""
    return [word for word in nulls if word.strip()]


def _any_of(values: pl.Series, nulls: Collection[str]) -> bool:
    words = _words(nulls)
    return bool(words) and bool(values.is_in(words).any())


def _odd(values: pl.Series, found: pl.Series, nulls: Collection[str]) -> pl.Series:
    """Return the positions of values that were not read, or that mean no value."""
    is_odd = found.is_null()
    if _words(nulls):
        is_odd |= values.is_in(_words(nulls)).fill_null(value=True)
    return is_odd.arg_true()


def _without(values: pl.Series, odd: pl.Series) -> pl.Series:
    """Return the values at all other positions."""
    if odd.is_empty():
        return values
    kept = pl.repeat(value=True, n=values.len(), eager=True)
    return values.filter(kept.scatter(odd, False))  # noqa: FBT003


def _are_whole(values: pl.Series, found: pl.Series, *, is_signed: bool) -> bool:
    """Tell whether all texts that were read are digits, after what they were read as.

    Polars reads a sign and digits, and nothing else.
    """
    lowest = found.min()
    if is_signed or not isinstance(lowest, int):
        return True
    return lowest > 0 and not values.str.starts_with("+").any()


def _amounts(
    values: pl.Series, nulls: Collection[str], decimals: int, sign: str
) -> pl.Series:
    """Return amounts as floats, null for what is none."""
    pattern = _amount_pattern(decimals, sign)
    found = _as_floats(values, sign)
    odd = _odd(values, found, nulls)
    if not _are_plain_amounts(_without(values, odd), decimals, sign):
        return _as_floats(_fitting(values, pattern, nulls), sign)
    if odd.is_empty():
        return found
    fitting = _stripped(values.gather(odd), pattern, nulls)
    return found.scatter(odd, _as_floats(fitting, sign))


def _are_plain_amounts(values: pl.Series, decimals: int, sign: str) -> bool:
    """Tell of texts that Polars reads as floats whether all have their decimals.

    With digits, signs and minuses alone a float has one sign at most, and a minus only
    in front.
    """
    letters = Letters(values)
    if not decimals or letters.shortest() <= decimals:
        return False
    if not letters.are_digits_or("-" + sign):
        return False
    return bool((letters.from_end(decimals + 1) == ord(sign)).all())


def _as_floats(values: pl.Series, sign: str) -> pl.Series:
    if sign != ".":
        values = values.str.replace(sign, ".", literal=True)
    return values.cast(pl.Float64, strict=False)


def _amount_pattern(decimals: int, sign: str) -> str:
    point = r"\." if sign == "." else sign
    if decimals == 0:
        return rf"^[+-]?[0-9]+{point}?$"
    return (
        rf"^[+-]?(?:[0-9]+(?:{point}[0-9]{{0,{decimals}}})?"
        rf"|{point}[0-9]{{1,{decimals}}})$"
    )


def _scale(values: pl.Series) -> int:
    return values.dtype.scale if isinstance(values.dtype, pl.Decimal) else 0


def _bounded(minor: pl.Series) -> pl.Series:
    """Return as Int64 what is not larger than any amount can be."""
    fits = (minor.abs() <= MAX_MINOR_UNITS).fill_null(value=False)
    if not fits.all():
        minor = minor.set(~fits, None)
    return minor.cast(pl.Int64)


def _from_epoch(
    values: pl.Series, nulls: Collection[str], *, is_milliseconds: bool
) -> pl.Series:
    unit = 1_000 if is_milliseconds else 1_000_000
    if values.dtype == pl.String:
        text = _fitting(values, _EPOCH, nulls)
        number = text.cast(pl.Decimal(38, 9), strict=False)
    else:
        number = values.cast(pl.Decimal(38, 9), strict=False)
    micros = (number * unit).cast(pl.Int64, strict=False)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _from_datetimes(
    values: pl.Series, timezone: str, ambiguous: Ambiguous
) -> pl.Series:
    years = values.dt.year()  # a far date would overflow in microseconds
    is_far = (years < FIRST_YEAR - 1) | (years > LAST_YEAR + 1)
    near = values.set(is_far, None) if is_far.any() else values
    micros = near.dt.cast_time_unit("us")
    if getattr(values.dtype, "time_zone", None) is not None:
        return micros.dt.convert_time_zone("UTC")
    return localised(micros, timezone, ambiguous)


def _from_iso(
    values: pl.Series, nulls: Collection[str], timezone: str, ambiguous: Ambiguous
) -> pl.Series:
    found = None
    if not _any_of(values, nulls):
        found = _of_first_form(values, timezone, ambiguous)
    if found is None:
        return _of_any_form(values, nulls, timezone, ambiguous)
    odd = found.is_null().arg_true()
    if odd.is_empty():
        return found
    rest = _of_any_form(values.gather(odd), nulls, timezone, ambiguous)
    return found.scatter(odd, rest)


def _of_any_form(
    values: pl.Series, nulls: Collection[str], timezone: str, ambiguous: Ambiguous
) -> pl.Series:
    text = _fitting(values, _ISO, nulls)
    is_day = (text.str.len_bytes() == _DAY_LENGTH).fill_null(value=False)
    if is_day.all():
        return day_starts(text.str.to_date("%Y-%m-%d", strict=False), timezone)
    parts = pl.DataFrame({"text": text.set(is_day, None)})
    found = _from_iso_times(parts, timezone, ambiguous)
    if is_day.any():
        only_days = text.set(~is_day, None).str.to_date("%Y-%m-%d", strict=False)
        found = found.zip_with(~is_day, day_starts(only_days, timezone))
    return found


def _of_first_form(
    values: pl.Series, timezone: str, ambiguous: Ambiguous
) -> pl.Series | None:
    """Return ISO times that have the form of the first, null for all others.

    The form is a time with seconds and one offset, or none; None if the first has
    another, or if times would be misread. A file has the times of one system: looking
    at each by itself takes four times as long.
    """
    first = values.first(ignore_nulls=True)
    if not isinstance(first, str) or not first.isascii():
        return None
    if len(first) < _SECOND_LENGTH or first[_DAY_LENGTH] not in "T ":
        return None
    rest = first[_SECOND_LENGTH:]
    ahead = _offset(rest) if rest else timedelta()
    if ahead is None:
        return None
    local = _strptime(values, f"%Y-%m-%d{first[_DAY_LENGTH]}%H:%M:%S{rest}")
    if not _are_like(_without(values, local.is_null().arg_true()), first):
        return None
    if rest:
        found = local.dt.replace_time_zone("UTC")
        return found - ahead if ahead else found
    return localised(local, timezone, ambiguous)


def _are_like(values: pl.Series, first: str) -> bool:
    """Tell of texts that Polars reads as times whether they are written as the first.

    Polars reads more than ISO times (`2024- 1- 5`, a second 60). But with one length,
    and as many digits as fit into it, there is no room for anything else.
    """
    letters = Letters(values)
    length = letters.length()
    digits = 14 + sum(letter.isdigit() for letter in first[_SECOND_LENGTH:])
    if length != len(first) or letters.count_digits() != digits * letters.count:
        return False
    between = letters.every(length, _DAY_LENGTH) == ord(first[_DAY_LENGTH])
    seconds = letters.every(length, _SECOND_LENGTH - 2) < ord("6")
    return bool((between & seconds).all())


def _offset(rest: str) -> timedelta | None:
    """Return the offset that stands behind a time, None if it is none."""
    found = re.fullmatch(r"[Zz]|([+-])([0-9]{2})(?::?([0-9]{2}))?", rest)
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    return -ahead if sign == "-" else ahead


def _from_iso_times(
    parts: pl.DataFrame, timezone: str, ambiguous: Ambiguous
) -> pl.Series:
    """Return the instants of ISO times, whose fractions and offsets may differ."""
    text = pl.col("text")
    has_seconds = text.str.slice(_MINUTE_LENGTH, 1) == ":"
    minutes = text.str.slice(0, _MINUTE_LENGTH)
    clock = (
        pl.when(has_seconds)
        .then(text.str.slice(0, _SECOND_LENGTH))
        .otherwise(minutes + ":00")
    )
    rest = (
        pl.when(has_seconds)
        .then(text.str.slice(_SECOND_LENGTH))
        .otherwise(text.str.slice(_MINUTE_LENGTH))
    )
    parts = parts.select(clock=clock, rest=rest)
    fraction = pl.col("rest").str.extract(r"^[.,]([0-9]+)").str.pad_end(6, "0")
    offset = pl.col("rest").str.extract(r"([Zz]|[+-][0-9:]+)$")
    parts = parts.select(
        "clock", micros=fraction.str.slice(0, 6).cast(pl.Int64), offset=offset
    )
    digits = pl.col("offset").str.replace(":", "", literal=True)
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    hours = digits.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes_off = digits.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    ahead = pl.duration(minutes=sign * (hours * 60 + minutes_off))
    seconds = _seconds(parts["clock"])
    local = localised(seconds, timezone, ambiguous)
    columns = parts.with_columns(seconds=seconds, local=local)
    is_odd = (hours > 23) | (minutes_off > 59)
    absolute = pl.col("seconds").dt.replace_time_zone("UTC") - ahead
    whole = (
        pl.when(pl.col("offset").is_null())
        .then(pl.col("local"))
        .when(~is_odd)
        .then(absolute)
    )
    return columns.select(
        whole + pl.duration(microseconds=pl.col("micros").fill_null(0))
    ).to_series()


def _seconds(text: pl.Series) -> pl.Series:
    """Return `2024-01-31 10:11:12`, or the same with a T, as local times."""
    present = text.first(ignore_nulls=True)
    sign = present[_DAY_LENGTH : _DAY_LENGTH + 1] if isinstance(present, str) else " "
    found = _strptime(text, f"%Y-%m-%d{sign}%H:%M:%S")
    if found.null_count() > text.null_count():  # a mixture, or a 30 February
        text = text.str.replace("T", " ", literal=True)
        found = _strptime(text, "%Y-%m-%d %H:%M:%S")
    return found


def _strptime(text: pl.Series, style: str) -> pl.Series:
    return text.str.to_datetime(style, time_unit="us", strict=False, cache=False)


def _from_strptime(
    values: pl.Series,
    nulls: Collection[str],
    style: str,
    timezone: str,
    ambiguous: Ambiguous,
) -> pl.Series:
    text = identifiers(values, nulls)
    if "%z" in style or "%:z" in style or "%#z" in style:
        return _strptime(text, style).dt.convert_time_zone("UTC")
    if not _has_clock(style):
        return day_starts(text.str.to_date(style, strict=False), timezone)
    # A leap second would be read as the next minute.
    return localised(_strptime(text, style), timezone, ambiguous)


def _has_clock(style: str) -> bool:
    return any(
        part in style
        for part in ("%H", "%I", "%k", "%l", "%T", "%R", "%X", "%r", "%c", "%s", "%+")
    )


def _late_start(day: date, timezone: str) -> datetime | None:
    """Return the first moment of a day whose midnight the clock skips."""
    zone = ZoneInfo(timezone)
    before = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=26)
    low, high = 0, 52 * 60
    while low < high:
        middle = (low + high) // 2
        local = (before + timedelta(minutes=middle)).astimezone(zone)
        if local.date() < day:
            low = middle + 1
        else:
            high = middle
    found = before + timedelta(minutes=low)
    return found if found.astimezone(zone).date() == day else None
