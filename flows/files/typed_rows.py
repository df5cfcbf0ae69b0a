"""Reads Parquet and NDJSON files into chunks of rows.

Belongs here: batches, row numbers, lines that are no JSON. Does not belong here: CSV
(`csv_rows`), what values mean (`transforms`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any

import orjson
import polars as pl

from flows.files.file_bytes import refuse_long_line, utf8_blocks
from transforms.activity.rows import LINE, LINE_FAULT, ROW_NUMBER
from transforms.definition.definition import Source
from transforms.errors import Fault, FilesRefused, near

_PARQUET_ROWS = 250_000
_JSON_ROWS = 100_000
_SHOWN = 200  # characters of a line in the rejected rows
_WHOLE_IN_A_FLOAT = 2.0**63
_EXACT = 2.0**63  # what orjson reads as a float from here on may be no float
_TOLERANCE = 1e-6


def theirs_of(source: Source) -> dict[str, str]:
    """Return the columns of the file that are mapped, each with our name for it."""
    return {
        name: ours
        for ours, theirs in source.columns.items()
        for name in ((theirs,) if isinstance(theirs, str) else theirs)
    }


def parquet_rows(path: Path, source: Source, *, shown: str) -> Iterator[pl.DataFrame]:
    """Yield chunks of rows: the mapped columns in the file's types, and `ROW_NUMBER`.

    Raises FilesRefused for a file that is no whole Parquet file, for a missing column
    and for a column whose type can't hold what it is mapped to.
    """
    wanted = theirs_of(source)
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        _check_parquet(schema, source, shown)
        worded = [name for name in wanted if _is_text(schema[name])]
        rows = scan.select(list(wanted)).cast(dict.fromkeys(worded, pl.String))
        yield (
            rows.clear()
            .collect()
            .with_columns(pl.lit(None, dtype=pl.Int64).alias(ROW_NUMBER))
        )
        first = 1
        for batch in rows.collect_batches(chunk_size=_PARQUET_ROWS):
            numbers = pl.int_range(first, first + batch.height, dtype=pl.Int64)
            first += batch.height
            yield batch.with_columns(numbers.alias(ROW_NUMBER))
    except (pl.exceptions.ComputeError, OSError) as error:
        raise FilesRefused.of(
            "broken_parquet",
            f"this is no whole Parquet file ({str(error)[:200]}): export it again",
            file=shown,
        ) from error


def whole_parquet_rows(path: Path) -> tuple[list[str], Iterator[pl.DataFrame]]:
    """Return the names of all columns, and chunks of all rows in the file's types.

    Their columns are named by position, "0" for the first, and `ROW_NUMBER`.
    """
    scan = pl.scan_parquet(path, glob=False)
    schema = scan.collect_schema()
    names = schema.names()
    worded = [name for name in names if _is_text(schema[name])]
    scan = scan.cast(dict.fromkeys(worded, pl.String))
    numbered = scan.rename({name: str(n) for n, name in enumerate(names)})
    rows = numbered.with_row_index(ROW_NUMBER, offset=1)
    rows = rows.with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))
    return names, rows.collect_batches(chunk_size=_PARQUET_ROWS, maintain_order=True)


def _check_parquet(schema: pl.Schema, source: Source, shown: str) -> None:
    faults = []
    for ours, theirs in source.columns.items():
        for name in (theirs,) if isinstance(theirs, str) else theirs:
            code = "column_type"
            if name not in schema:
                code = "column_missing"
                message = (
                    f"no such column{near(name, schema.names())}: change "
                    f"columns.{ours}; there is {', '.join(schema.names())[:300]}"
                )
            else:
                message = _unfit(schema[name], ours, source)
            if message:
                faults.append(
                    Fault(code=code, message=message, file=shown, column=name)
                )
    if faults:
        raise FilesRefused(*faults)


def _is_text(dtype: pl.DataType) -> bool:
    is_coded = isinstance(dtype, pl.Categorical | pl.Enum)
    return is_coded or dtype in {pl.String, pl.Null}


def _unfit(dtype: pl.DataType, ours: str, source: Source) -> str:
    """Return why a column of this type can't be read as what it is mapped to."""
    is_joined = not isinstance(source.columns[ours], str)
    kind = "text" if is_joined else kind_of(ours, source)
    is_number = dtype.is_integer() or dtype.is_float() or dtype.is_decimal()
    style = source.occurred_at_format
    fits = {
        "whole": is_number,
        "integer": is_number,
        "amount": is_number,
        "decimal": is_number,
        "boolean": dtype == pl.Boolean,
        "date": dtype == pl.Date,
        "text": is_number or dtype.is_temporal() or dtype == pl.Boolean,
        "time": is_number
        if style.startswith("epoch_")
        else dtype == pl.Date or isinstance(dtype, pl.Datetime),
    }
    if _is_text(dtype) or fits[kind]:
        return ""
    if kind == "time" and is_number:
        return (
            f"is {dtype}: set occurred_at_format to epoch_seconds or epoch_milliseconds"
        )
    return f"is {dtype}, which can't be read as {ours}: change columns or the file"


def kind_of(ours: str, source: Source) -> str:
    """Return what a column holds: `whole`, `amount`, `time`, or its further type."""
    core = {
        "customer_id": "whole",
        "activity_id": "text",
        "occurred_at": "time",
        "amount": "amount",
    }
    return core.get(ours) or source.types.get(ours, "text")


def json_rows(path: Path, source: Source, *, shown: str) -> Iterator[pl.DataFrame]:
    """Yield chunks of the rows of a file with one JSON object a line.

    The mapped values come as text. `ROW_NUMBER` is the line; a line that is no JSON
    object, or that has a list or an object where a value should be, has a LINE_FAULT.
    Raises FilesRefused when no line has a mapped column.
    """
    wanted = theirs_of(source)
    absent = set(wanted)
    is_empty = True
    lines = enumerate(_lines(path, source, shown), start=1)
    while chunk := list(islice(lines, _JSON_ROWS)):
        numbered = [(number, line) for number, line in chunk if line.strip()]
        is_empty = is_empty and not numbered
        yield _json_frame(numbered, wanted, source, absent)
    if absent and not is_empty:
        raise FilesRefused(
            *(
                Fault(
                    code="column_missing",
                    message=f"no line has it: change columns.{wanted[name]}",
                    file=shown,
                    column=name,
                )
                for name in wanted
                if name in absent
            )
        )
    if is_empty:
        yield _json_frame([], wanted, source, absent)


def whole_json_rows(
    path: Path, source: Source, *, shown: str, keep: Callable[[pl.DataFrame], pl.Series]
) -> tuple[list[str], pl.DataFrame]:
    """Return the names of all columns, and the rows that `keep` says yes to.

    Like `json_rows`, and the values of columns that are not mapped as JSON has them;
    the columns are named by position. `LINE` is the whole line.
    """
    wanted = theirs_of(source)
    names, kept = list(wanted), []
    frames = [_json_frame([], wanted, source, set())]
    lines = enumerate(_lines(path, source, shown), start=1)
    while chunk := list(islice(lines, _JSON_ROWS)):
        numbered = [(number, line) for number, line in chunk if line.strip()]
        frame = _json_frame(numbered, wanted, source, set())
        mask = keep(frame)
        frames.append(frame.filter(mask))
        kept += [numbered[at][1] for at in mask.arg_true()]
    objects = [_json_object(line) for line in kept]
    objects = [{} if isinstance(found, str) else found for found in objects]
    names += dict.fromkeys(key for one in objects for key in one if key not in wanted)
    rest = {
        str(at): pl.Series(
            [_json_text(one.get(name)) for one in objects], dtype=pl.String
        )
        for at, name in enumerate(names)
        if name not in wanted
    }
    whole = [line.decode(errors="replace") for line in kept]
    mapped = {name: str(at) for at, name in enumerate(wanted)}
    return names, pl.concat(frames).rename(mapped).with_columns(
        pl.Series(LINE, whole, dtype=pl.String), **rest
    )


def _json_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _json_frame(
    numbered: list[tuple[int, bytes]],
    wanted: dict[str, str],
    source: Source,
    absent: set[str],
) -> pl.DataFrame:
    """Return lines as rows; columns that they have are taken out of `absent`."""
    faults: list[str | None] = [None] * len(numbered)
    objects = [_json_object(line) for _, line in numbered]
    for index, found in enumerate(objects):
        if isinstance(found, str):
            faults[index], objects[index] = found, {}
    columns: dict[str, pl.Series] = {}
    for name, ours in wanted.items():
        if name in absent and any(name in found for found in objects):
            absent.remove(name)
        values = [found.get(name) for found in objects]
        if not set(map(type, values)) <= {str, NoneType}:
            for index, value in enumerate(values):
                if isinstance(value, list | dict):
                    faults[index] = f"'{name}' is a list or an object, not a value"
            values = [_as_text(value, ours, source) for value in values]
        columns[name] = pl.Series(values, dtype=pl.String)
    texts = [
        line.decode(errors="replace")[:_SHOWN] if fault else None
        for fault, (_, line) in zip(faults, numbered, strict=True)
    ]
    columns[ROW_NUMBER] = pl.Series([number for number, _ in numbered], dtype=pl.Int64)
    columns[LINE_FAULT] = pl.Series(faults, dtype=pl.String)
    columns[LINE] = pl.Series(texts, dtype=pl.String)
    return pl.DataFrame(columns)


def _json_object(line: bytes) -> Any:
    """Return the object that a line holds, or a text that says why it holds none."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "no JSON"
    if not isinstance(found, dict):
        return "no JSON object"
    if any(isinstance(one, float) and abs(one) >= _EXACT for one in found.values()):
        # A whole number of more than 64 bits was rounded: it may be an id.
        with suppress(ValueError):
            return json.loads(line)
    return found


def _as_text(value: Any, ours: str, source: Source) -> str | None:
    """Return a JSON value as the text that a CSV would have for it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return None
    if isinstance(value, int):
        return str(value)
    kind = kind_of(ours, source)
    if kind in {"amount", "decimal"}:
        is_amount = kind == "amount"
        text = _amount_text(value, source.amount_decimals) if is_amount else repr(value)
        return text.replace(".", source.format.decimal)
    is_whole = value.is_integer() and abs(value) < _WHOLE_IN_A_FLOAT
    is_id = ours == "activity_id" or kind in {"whole", "integer", "time"}
    return str(int(value)) if is_whole and is_id else repr(value)


def _amount_text(value: float, decimals: int) -> str:
    """Return a float as an amount when it is within a millionth of a minor unit."""
    exact = value * 10**decimals
    if abs(exact) < _WHOLE_IN_A_FLOAT and abs(exact - round(exact)) <= _TOLERANCE:
        return f"{round(exact) / 10**decimals:.{decimals}f}"
    return repr(value)


def _lines(path: Path, source: Source, shown: str) -> Iterator[bytes]:
    rest = b""
    for block in utf8_blocks(path, encoding=source.format.encoding, shown=shown):
        *lines, rest = (rest + block).split(b"\n")
        refuse_long_line(rest, shown=shown, why="give one JSON object a line")
        yield from lines
    if rest:
        yield rest
