"""Reads the head of files and drafts a definition: the command `init`.

Belongs here: how a file is written, as far as its head tells, and its first values.
Does not belong here: what they suggest (`transforms.definition.draft`), and reading
files as declared (`flows.files.activity_files`), which guesses nothing.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import orjson
import polars as pl

from flows.files.file_bytes import utf8_blocks
from transforms.definition.draft import FileHead, drafted_definition
from transforms.errors import Fault, FilesRefused, Refused

_ROWS = 1_000
_BLOCK = 1 << 20
_DELIMITERS = ",;\t|"
_ENCODINGS = ("utf-8", "cp1252")
_JSON = {".ndjson", ".jsonl"}
_PARQUET = {".parquet", ".pq"}


def drafted(files: Sequence[Path], *, beside: Path) -> str:
    """Return a draft for these files; their paths are relative to the folder `beside`.

    Raises FilesRefused for a file that can't be read, or holds nothing.
    """
    heads = [_head(path, _shown(path, beside)) for path in files]
    return drafted_definition(heads, name=_name(files[0]))


def write_draft(text: str, path: Path) -> None:
    """Write a draft where nothing is yet."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Refused.of(
            "file_exists", "is there already: name another --output", file=str(path)
        ) from None
    except OSError as error:
        raise Refused.of(
            "not_written", f"can't be written ({error.strerror})", file=str(path)
        ) from error


def _shown(path: Path, beside: Path) -> str:
    return Path(os.path.relpath(path, beside)).as_posix()


def _name(path: Path) -> str:
    stem = path.name.split(".")[0].lower()
    plain = re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_")
    return plain[:64] or "import"


def _head(path: Path, shown: str) -> FileHead:
    if not path.is_file():
        raise FilesRefused.of("no_files", "there is no such file", file=str(path))
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    if endings and endings[-1] in _PARQUET:
        return _parquet_head(path, shown)
    if set(endings) & _JSON:
        return _json_head(path, shown)
    return _csv_head(path, shown)


def _parquet_head(path: Path, shown: str) -> FileHead:
    try:
        rows = pl.scan_parquet(path, glob=False).head(_ROWS).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FilesRefused.of(
            "broken_parquet", f"this is no Parquet file ({error})", file=str(path)
        ) from error
    flat = [name for name, kind in rows.schema.items() if not kind.is_nested()]
    return FileHead(path=shown, rows=rows.select(_as_text(rows, flat)), form={})


def _as_text(rows: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """Return columns as text, times as a CSV would have them."""
    columns = []
    for name in names:
        values = rows[name]
        if isinstance(values.dtype, pl.Datetime):
            zone = "%:z" if values.dtype.time_zone else ""
            values = values.dt.strftime(f"%Y-%m-%dT%H:%M:%S{zone}")
        columns.append(values.cast(pl.String))
    return columns


def _json_head(path: Path, shown: str) -> FileHead:
    lines = _text(path, "utf-8").splitlines()[:_ROWS]
    records = []
    for line in lines:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append({key: _plain(value) for key, value in record.items()})
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise _empty(path)
    rows = pl.DataFrame(records, schema=dict.fromkeys(names, pl.String))
    return FileHead(path=shown, rows=rows, form={})


def _plain(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv_head(path: Path, shown: str) -> FileHead:
    encoding = _encoding(path)
    text = _text(path, encoding)
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records = [record for record in islice(reader, _ROWS + 1) if record]
    if not records:
        raise _empty(path)
    has_header = _has_header(records)
    names = records[0] if has_header else [str(n + 1) for n in range(len(records[0]))]
    body = records[1:] if has_header else records
    rows = pl.DataFrame(
        {
            name: [r[at].strip() or None if at < len(r) else None for r in body]
            for at, name in enumerate(names)
        },
        schema=dict.fromkeys(names, pl.String),
    )
    form = _form(rows, encoding, delimiter, has_header=has_header)
    return FileHead(path=shown, rows=rows, form=form, is_guessed_form=bool(form))


def _form(
    rows: pl.DataFrame, encoding: str, delimiter: str, *, has_header: bool
) -> Mapping[str, str | bool]:
    form: dict[str, str | bool] = {}
    if delimiter != ",":
        form["delimiter"] = delimiter
    if encoding != "utf-8":
        form["encoding"] = encoding
    if any(_is_comma_number(rows[name]) for name in rows.columns):
        form["decimal"] = ","
    if not has_header:
        form["header"] = False
    return form


def _is_comma_number(values: pl.Series) -> bool:
    there = values.drop_nulls()
    is_number = there.str.contains(r"^-?\d+(,\d{1,2})?$")
    return bool(is_number.all()) and bool(there.str.contains(",").any())


def _encoding(path: Path) -> str:
    for encoding in _ENCODINGS[:-1]:
        try:
            _text(path, encoding)
        except FilesRefused as error:
            if error.faults[0].code != "wrong_encoding":
                raise
        else:
            return encoding
    return _ENCODINGS[-1]


def _text(path: Path, encoding: str) -> str:
    """Return the first whole lines of a file."""
    blocks = utf8_blocks(path, encoding=encoding, shown=str(path), block=_BLOCK)
    head = next(blocks, b"")
    end = head.rfind(b"\n") + 1
    return head[: end or len(head)].decode("utf-8", errors="ignore")


def _delimiter(text: str) -> str:
    """Return the character that parts most lines into equally many fields."""
    lines = text.splitlines()[:100]
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        counts = Counter(len(r) for r in csv.reader(lines, delimiter=delimiter) if r)
        if not counts:
            continue
        fields, times = counts.most_common(1)[0]
        score = (times / counts.total() if fields > 1 else 0.0, fields)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _has_header(records: Sequence[Sequence[str]]) -> bool:
    """Tell a first row that names columns: all are there, and none is a number."""
    first = [name.strip() for name in records[0]]
    return all(first) and not any(re.fullmatch(r"[-+\d.,:/ TZ]+", n) for n in first)


def _empty(path: Path) -> FilesRefused:
    fault = Fault(
        code="empty_file", message="nothing in it can be read as rows", file=str(path)
    )
    return FilesRefused(fault)
