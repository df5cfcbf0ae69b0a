"""Reads Parquet and NDJSON files into chunks of rows.

Belongs here: batches, row numbers, lines that are no JSON. Does not belong here: CSV
(`csv_rows`), what values mean (`transforms`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.file_bytes import refuse_long_line, utf8_blocks
from transforms.activity_rows import LINE, LINE_FAULT, ROW_NUMBER
from transforms.definition import Source
from transforms.definition_places import near
from transforms.errors import Fault, FilesRefused

_PARQUET_ROWS = 250_000
_JSON_ROWS = 100_000
_WHOLE_IN_A_FLOAT = 2.0**63
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
    kind = "text" if is_joined else _kind_of(ours, source)
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


def _kind_of(ours: str, source: Source) -> str:
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
    seen: set[str] = set()
    rows: list[tuple[Any, ...]] = []
    count = 0
    for number, line in enumerate(_lines(path, source, shown), start=1):
        if not line.strip():
            continue
        count += 1
        rows.append(_json_row(line, number, wanted, source, seen))
        if len(rows) == _JSON_ROWS:
            yield _json_frame(rows, wanted)
            rows = []
    absent = [name for name in wanted if name not in seen]
    if absent and count:
        raise FilesRefused(
            *(
                Fault(
                    code="column_missing",
                    message=f"no line has it: change columns.{wanted[name]}",
                    file=shown,
                    column=name,
                )
                for name in absent
            )
        )
    yield _json_frame(rows, wanted)


def _json_row(
    line: bytes,
    number: int,
    wanted: dict[str, str],
    source: Source,
    seen: set[str],
) -> tuple[Any, ...]:
    fault: str | None = None
    values: list[str | None] = [None] * len(wanted)
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        fault = "no JSON"
    else:
        if not isinstance(found, dict):
            fault = "no JSON object"
        else:
            seen.update(found.keys() & wanted.keys())
            for index, (name, ours) in enumerate(wanted.items()):
                value = found.get(name)
                if isinstance(value, list | dict):
                    fault = f"'{name}' is a list or an object, not a value"
                else:
                    values[index] = _as_text(value, ours, source)
    text = line.decode(errors="replace")[:200] if fault else None
    return (*values, number, fault, text)


def _as_text(value: Any, ours: str, source: Source) -> str | None:
    """Return a JSON value as the text that a CSV would have for it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    if ours == "amount":
        text = _amount_text(value, source.amount_decimals)
    else:
        is_whole = value.is_integer() and abs(value) < _WHOLE_IN_A_FLOAT
        text = str(int(value)) if is_whole else repr(value)
    return text.replace(".", source.format.decimal)


def _amount_text(value: float, decimals: int) -> str:
    """Return a float as an amount when it is within a millionth of a minor unit."""
    exact = value * 10**decimals
    if abs(exact) < _WHOLE_IN_A_FLOAT and abs(exact - round(exact)) <= _TOLERANCE:
        return f"{round(exact) / 10**decimals:.{decimals}f}"
    return repr(value)


def _json_frame(rows: list[tuple[Any, ...]], wanted: dict[str, str]) -> pl.DataFrame:
    schema: dict[str, Any] = dict.fromkeys(wanted, pl.String)
    schema |= {ROW_NUMBER: pl.Int64, LINE_FAULT: pl.String, LINE: pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines(path: Path, source: Source, shown: str) -> Iterator[bytes]:
    rest = b""
    for block in utf8_blocks(path, encoding=source.format.encoding, shown=shown):
        *lines, rest = (rest + block).split(b"\n")
        refuse_long_line(rest, shown=shown, why="give one JSON object a line")
        yield from lines
    if rest:
        yield rest
