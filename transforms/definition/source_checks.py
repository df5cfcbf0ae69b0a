"""Checks what a definition says about its sources of activity.

Belongs here: files, columns, types and formats. Does not belong here: badges and rules
(`definition.checks`), the keys and their types (`definition`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import polars as pl

from transforms.activity.accepted import RESERVED, activity_columns
from transforms.definition.places import Key
from transforms.errors import near

if TYPE_CHECKING:
    from transforms.definition.definition import CsvFormat, Source

Faulty = Callable[[str, str, Key], None]

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CORE = ("customer_id", "activity_id", "occurred_at", "amount")
_MAX_DECIMALS = 4
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OBJECTS = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,254}/[^/].*")


def check_sources(sources: tuple[Source, ...], faulty: Faulty) -> None:
    """Report what is wrong with the sources, each alone and all together."""
    is_one = len(sources) == 1
    for index, source in enumerate(sources):
        at: Key = ("activity",) if is_one else ("activity", index)
        _check_source(source, at, faulty)
    _check_sources_together(sources, faulty)


def check_name(what: str, name: str, key: Key, faulty: Faulty) -> None:
    """Report a name that is no safe part of file names and ids."""
    if _SLUG.fullmatch(name) is None:
        message = (
            f"{what} '{name}' must be 1 to 64 of a-z, 0-9, '-' and '_', and begin with "
            "a letter or a digit: it becomes part of file names and ids"
        )
        faulty("wrong_value", message, key)


def check_timezone(timezone: str, key: Key, faulty: Faulty) -> None:
    """Report a zone that the time zone database does not have."""
    known = available_timezones()
    if timezone not in known:
        message = f"'{timezone}' is no time zone{near(timezone, known)}: write a name "
        faulty("wrong_value", message + "such as America/New_York", key)


def _check_source(source: Source, at: Key, faulty: Faulty) -> None:
    check_name("name", source.name, (*at, "name"), faulty)
    check_files(source.files, (*at, "files"), faulty)
    if source.timezone is not None:
        check_timezone(source.timezone, (*at, "timezone"), faulty)
    _check_columns(source, at, faulty)
    check_format(source.format, at, faulty)
    if not 0 <= source.amount_decimals <= _MAX_DECIMALS:
        message = f"must be 0 to {_MAX_DECIMALS}"
        faulty("out_of_range", message, (*at, "amount_decimals"))
    check_time_format(source.occurred_at_format, (*at, "occurred_at_format"), faulty)
    if source.grain == "line_item" and "activity_id" not in source.columns:
        message = "lines are one activity by their activity_id: map it in columns"
        faulty("missing_key", message, (*at, "grain"))


def check_files(files: tuple[str, ...], at: Key, faulty: Faulty) -> None:
    """Report patterns that can name no file that is read."""
    if not files:
        faulty("wrong_value", "name at least one file or pattern", at)
    for pattern in files:
        if not pattern.strip() or "\0" in pattern:
            faulty("wrong_value", f"'{pattern!r}' names no file", at)
        elif scheme := _SCHEME.match(pattern):
            _check_url(pattern, scheme[0], at, faulty)


def _check_url(pattern: str, scheme: str, at: Key, faulty: Faulty) -> None:
    """Report a pattern that names no bucket; it is not shown, for it may hold a key."""
    if scheme != "s3://":
        message = (
            f"{scheme}…: this version reads s3:// and files on a disk: copy the files "
            "to one of the two"
        )
        faulty("not_built", message, at)
    elif not _OBJECTS.fullmatch(pattern):
        message = (
            "write s3://bucket/prefix/*.csv.gz, the bucket without wildcards; a login "
            "never belongs here: it is taken from the AWS environment"
        )
        faulty("wrong_value", message, at)


def check_time_format(style: str, at: Key, faulty: Faulty) -> None:
    """Report a format of times that can't be read, or that has no day in it."""
    if not _is_time_format(style):
        message = (
            f"'{style}' must be iso, epoch_seconds, epoch_milliseconds or a strptime "
            "format such as %d.%m.%Y %H:%M"
        )
        faulty("wrong_value", message, at)


def _is_time_format(style: str) -> bool:
    """Return whether Polars knows the format and there is a day in it."""
    if style in {"iso", "epoch_seconds", "epoch_milliseconds"}:
        return True
    if not re.search(r"%[-_0]?[YyCGDFcxs+]", style):
        return False
    try:
        pl.Series(["x"]).str.to_datetime(style, strict=False)
    except pl.exceptions.PolarsError:
        return False
    return True


def _check_columns(source: Source, at: Key, faulty: Faulty) -> None:
    for required in ("customer_id", "occurred_at"):
        if required not in source.columns:
            message = f"'{required}' is missing: say which column of the file it is"
            faulty("missing_key", message, (*at, "columns", required))
    for table, names in (("columns", source.columns), ("constants", source.constants)):
        for name in names:
            check_column_name(name, (*at, table, name), faulty)
    for name, theirs in source.columns.items():
        _check_theirs(source, name, theirs, (*at, "columns", name), faulty)
    for message, key in (*_wrong_constants(source), *_wrong_types(source)):
        faulty("wrong_value", message, (*at, *key))


def _wrong_constants(source: Source) -> Iterator[tuple[str, Key]]:
    for name in source.constants:
        if name in source.columns:
            yield f"'{name}' is mapped in columns already", ("constants", name)
        elif name in _CORE:
            yield f"'{name}' can't be a constant: map a column", ("constants", name)


def _wrong_types(source: Source) -> Iterator[tuple[str, Key]]:
    for name in source.types:
        if name in _CORE:
            message = f"'{name}' has a type of its own: remove this key"
            yield message, ("types", name)
        elif name not in source.columns:
            close = near(name, source.columns)
            message = f"'{name}' is not one of this source's columns{close}"
            yield message, ("types", name)


def check_column_name(name: str, at: Key, faulty: Faulty) -> None:
    """Report our name of a column if a condition could not use it."""
    if name in RESERVED:
        message = f"'{name}' is a column that is always there: choose another name"
        faulty("wrong_value", message, at)
    elif _COLUMN.fullmatch(name) is None or name.startswith("__"):
        message = (
            f"'{name}' can't be used in a condition: write our name with letters, "
            "digits and '_'"
        )
        faulty("wrong_value", message, at)


def _check_theirs(
    source: Source, name: str, theirs: str | tuple[str, ...], at: Key, faulty: Faulty
) -> None:
    """Check the name, or the list of names, in the file."""
    parts = (theirs,) if isinstance(theirs, str) else theirs
    if not parts or not all(parts):
        faulty("wrong_value", "name a column of the file", at)
    may_join = source.types.get(name, "text") == "text"
    if not isinstance(theirs, str) and (
        name in {"customer_id", "amount"} or not may_join
    ):
        faulty("wrong_value", f"'{name}' must be one column, not a list", at)
    if not source.format.header and not all(
        re.fullmatch(r"[1-9][0-9]{0,4}", part) for part in parts
    ):
        message = (
            "format.header is false: columns are named by position, "
            "'1' for the first, '2' for the second"
        )
        faulty("wrong_value", message, at)


def check_format(style: CsvFormat, at: Key, faulty: Faulty) -> None:
    """Report what can't be the format of a CSV; `at` is the table that has it."""
    for key in ("delimiter", "quote"):
        value = getattr(style, key)
        is_none = key == "quote" and not value
        if not is_none and (
            len(value) != 1 or value in "\r\n\0" or not value.isascii()
        ):
            message = f"{value!r} must be one ASCII character"
            faulty("wrong_value", message, (*at, "format", key))
    if style.delimiter == style.quote:
        message = "delimiter and quote must differ"
        faulty("wrong_value", message, (*at, "format", "quote"))
    if style.decimal not in {".", ","}:
        message = "must be '.' or ','"
        faulty("wrong_value", message, (*at, "format", "decimal"))
    try:
        "".encode(codecs.lookup(style.encoding).name)
    except (LookupError, ValueError):  # `undefined` is one, and fails at all it does
        message = f"'{style.encoding}' is no encoding: write utf-8, latin-1, utf-16 …"
        faulty("wrong_value", message, (*at, "format", "encoding"))


def _check_sources_together(sources: tuple[Source, ...], faulty: Faulty) -> None:
    """Names are unique, and a column has one type in all sources."""
    seen: set[str] = set()
    types: dict[str, tuple[pl.DataType, str]] = {}
    for index, source in enumerate(sources):
        at: Key = ("activity", index)
        if source.name in seen:
            message = f"two sources are named '{source.name}'"
            faulty("not_unique", message, (*at, "name"))
        seen.add(source.name)
        for name, dtype in activity_columns(source).items():
            first = types.setdefault(name, (dtype, source.name))
            if first[0] != dtype:
                message = f"'{name}' has another type in source '{first[1]}'"
                faulty("wrong_value", message, (*at, "types", name))
