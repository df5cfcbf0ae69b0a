"""Reads CSV files into chunks of rows, and loses or bends no line on the way.

Belongs here: fields, quotes, row numbers, lines with too few or too many fields. Does
not belong here: bytes and encodings (`file_bytes`), what values mean (`transforms`).

The text is cut into blocks at ends of lines and each block is parsed by Polars, which
fills short lines up and cuts long ones without a word. So lines are proved whole first.
Without quotes a look at the bytes does it: delimiters and line ends, all others left
out, must follow each other in one rhythm. In any other block every line is given one
more field, a NUL (no file has one): a line is whole exactly when that NUL comes out in
the column behind the last. Blocks that Polars can't take apart, for a quote inside a
field or mixed line ends, are left to Python's slower `csv`, from there on to the end of
the file, which knows the line of what is wrong.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from flows.files.file_bytes import BLOCK, BOM, MAX_LINE, refuse_long_line, utf8_blocks
from transforms.activity.letters import as_bytes
from transforms.activity.mending import BECAUSE, is_mended
from transforms.activity.rows import LINE, LINE_FAULT, ROW_NUMBER
from transforms.definition.definition import Source
from transforms.errors import Fault, FilesRefused, near
from transforms.spreadsheets import unguarded, unguarded_name

_MARK = "\0"
_NEWLINE = ord("\n")
_SLOW_ROWS = 50_000


def csv_rows(
    path: Path, source: Source, *, shown: str, block: int = BLOCK
) -> Iterator[pl.DataFrame]:
    """Yield chunks of rows: the mapped columns as text, and the reader's own three.

    `ROW_NUMBER` is the row as a spreadsheet shows it (the header is row 1, blank lines
    count, a quoted line break does not); `LINE_FAULT` and `LINE` are null but for
    lines with too few or too many fields. Raises FilesRefused for what concerns the
    file and not a row.
    """
    encoding = source.format.encoding
    blocks = utf8_blocks(path, encoding=encoding, shown=shown, block=block)
    yield from _Csv(source, shown).chunks(blocks)


def whole_csv_rows(
    path: Path, source: Source, *, shown: str
) -> tuple[list[str], Iterator[pl.DataFrame]]:
    """Return the names of all columns, and the chunks of `csv_rows` with all of them.

    Their columns are named by position, "0" for the first: names may stand twice. A
    broken line has all that it holds in `LINE`.
    """
    reader = _Csv(source, shown, is_whole=True)
    encoding = source.format.encoding
    chunks = reader.chunks(utf8_blocks(path, encoding=encoding, shown=shown))
    first = next(chunks)  # which has no rows, and comes when the header is known
    return reader.names, chain([first], chunks)


class _Csv:
    """One CSV file being read; knows how far it has come."""

    def __init__(self, source: Source, shown: str, *, is_whole: bool = False) -> None:
        self.source = source
        self.shown = shown
        self.is_whole = is_whole
        self.is_mended = is_mended(shown)
        self.delimiter = source.format.delimiter
        self.quote = source.format.quote
        self.row = 1  # number of the next record
        self.line = 1  # and the line that it begins on
        self.names: list[str] = []

    def chunks(self, blocks: Iterator[bytes]) -> Iterator[pl.DataFrame]:
        """Yield the rows of the file; of mended ones as they were before."""
        for chunk in self._chunks(blocks):
            if not self.is_mended:
                yield chunk
            else:
                labels = [self.labels[number] for number in self.wanted]
                yield chunk.with_columns(unguarded(chunk[label]) for label in labels)

    def _chunks(self, blocks: Iterator[bytes]) -> Iterator[pl.DataFrame]:
        start = self._past_header(blocks)
        yield self._frame([[] for _ in self.wanted], [])
        blocks = _one_then([start], blocks)
        rest, ended = b"", False
        while not ended:
            block = next(blocks, None)
            ended = block is None
            if ended and rest and not rest.endswith(b"\n"):
                block = b"\n"
            records, rest = self._parted(rest, block or b"")
            if records:
                frame = self._fast(records)
                if frame is None:
                    rest = records + rest
                    break
                yield frame
            if len(rest) > MAX_LINE:
                break
        if rest:
            yield from self._slow(_one_then([rest], blocks))

    # -- the header -------------------------------------------------------------

    def _past_header(self, blocks: Iterator[bytes]) -> bytes:
        """Find out which columns there are; return the text behind the header."""
        start = b""
        while True:
            block = next(blocks, None)
            start += block or b""
            record, text = self._first_record(start, is_whole=block is None)
            if record is not None:
                break
            if block is None:
                raise self._refused("empty_file", "the file is empty", row=None)
        if self.source.format.header:
            self.names = record
            self.row += 1
            self.line += text.count("\n")
            start = start[len(text.encode()) :]
        else:
            self.names = [str(number) for number in range(1, len(record) + 1)]
            self.row = 1  # blank lines before it are met again
        self.is_mended = self.is_mended or BECAUSE in self.names
        if self.is_mended:
            self.names = [unguarded_name(name) for name in self.names]
        self._check_names()
        self.labels = self.names
        if self.is_whole:
            self.wanted = list(range(len(self.names)))
            self.labels = [str(number) for number in self.wanted]
        return start

    def _first_record(
        self, start: bytes, *, is_whole: bool
    ) -> tuple[list[str] | None, str]:
        """Return the first record that is not blank, and the text up to its end."""
        end = len(start) if is_whole else start.rfind(b"\n") + 1
        lines = io.StringIO(start[:end].decode(errors="replace"), newline="\n")
        reader = self._reader(_counted := _Lines(lines))
        try:
            for record in reader:
                if record:
                    return record, _counted.text()
                self.row += 1
        except csv.Error as error:
            if is_whole or "unexpected end" not in str(error):
                raise self._refused("bad_header", self._said(error), row=1) from None
        self.row = 1
        return None, ""

    def _check_names(self) -> None:
        """Refuse a file in which a mapped column is missing or stands twice."""
        faults = []
        for ours, theirs in self.source.columns.items():
            for name in (theirs,) if isinstance(theirs, str) else theirs:
                count = self.names.count(name)
                if count != 1:
                    faults.append(self._column_fault(ours, name, count))
        if faults:
            raise FilesRefused(*faults)
        self.wanted = sorted(
            {
                self.names.index(name)
                for theirs in self.source.columns.values()
                for name in ((theirs,) if isinstance(theirs, str) else theirs)
            }
        )

    def _column_fault(self, ours: str, name: str, count: int) -> Fault:
        if count:
            message = f"the header has it {count} times: rename one of them in the file"
            code = "column_doubled"
        else:
            code = "column_missing"
            message = f"no such column{near(name, self.names)}: change columns.{ours}"
            if len(self.names) == 1:
                message += ", or format.delimiter: the header has one column"
            else:
                message += f"; there is {', '.join(self.names)[:300]}"
        row = 1 if self.source.format.header else None
        return Fault(code=code, message=message, file=self.shown, row=row, column=name)

    # -- whole blocks, by Polars ------------------------------------------------

    def _parted(self, rest: bytes, block: bytes) -> tuple[bytes, bytes]:
        """Return the records that are whole, and what is left behind them."""
        quote = self.quote.encode()
        if quote and (quote in rest or quote in block):
            text = rest + block
            cut = self._safe_cut(text)
            return text[:cut], text[cut:]
        cut = block.rfind(b"\n") + 1
        if not cut:
            return b"", rest + block
        if not rest and cut == len(block):
            return block, b""
        # A block is large: it is copied once.
        return b"".join((rest, memoryview(block)[:cut])), block[cut:]

    def _safe_cut(self, data: bytes) -> int:
        """Return the last end of a record: a line end with even quotes before it."""
        quote = self.quote.encode()
        cut = data.rfind(b"\n") + 1
        odd = data.count(quote, 0, cut) % 2
        while odd and cut:
            before = data.rfind(b"\n", 0, cut - 1) + 1
            odd = (odd + data.count(quote, before, cut)) % 2
            cut = before
        return cut

    def _fast(self, data: bytes) -> pl.DataFrame | None:
        """Return the rows of a block, or None when Polars is not to be trusted."""
        has_quotes = bool(self.quote) and self.quote.encode() in data
        letters = as_bytes(data)
        newlines = int((letters == _NEWLINE).sum())
        returns = data.count(b"\r") if b"\r" in data else 0
        pairs = data.count(b"\r\n") if returns else 0
        # Polars would take an odd carriage return for a part of a value, and drop a
        # byte order mark wherever in the file its block is.
        is_odd = pairs != returns or data.startswith(BOM)
        is_mixed = 0 < pairs < newlines
        if is_odd or (is_mixed and has_quotes):
            return None
        if is_mixed:
            data, pairs = data.replace(b"\r\n", b"\n"), 0
            letters = as_bytes(data)
        if not has_quotes and self._is_even(letters, newlines):
            columns = self._parsed(data, self.wanted, width=len(self.names))
            if columns is not None and columns.height == newlines:
                return self._numbered(columns, newlines)
        if has_quotes and not self._is_well_quoted(data):
            return None
        return self._proved(data, b"\r\n" if pairs else b"\n", newlines)

    def _is_even(self, letters: pl.Series, newlines: int) -> bool:
        """Tell whether every line has all of its fields, if nothing is quoted."""
        mark, width = self.delimiter.encode(), len(self.names)
        if len(mark) != 1 or width == 1:
            return False
        found = letters.filter((letters == mark[0]) | (letters == _NEWLINE))
        if found.len() != newlines * width:
            return False
        return bool((found.gather_every(width, width - 1) == _NEWLINE).all())

    def _proved(self, data: bytes, end: bytes, newlines: int) -> pl.DataFrame | None:
        """Return the rows of a block whose lines are proved one by one."""
        marked = data.replace(end, self.delimiter.encode() + b"\0" + end)
        width = len(self.names)
        columns = self._parsed(marked, [*self.wanted, width], width=width + 1)
        if columns is None:
            return None
        if columns.height != newlines:
            columns = self._with_line_breaks(marked, end.decode(), newlines)
            if columns is None:
                return None
        is_whole = columns[str(width)] == _MARK
        broken = None
        if not is_whole.all():
            broken = self._broken(marked, end.decode(), is_whole)
            if broken is None:
                return None
        return self._numbered(columns, newlines, broken)

    def _numbered(
        self, columns: pl.DataFrame, newlines: int, broken: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Return the rows of a block with their numbers; count on."""
        last = self.row + columns.height
        numbers = pl.int_range(self.row, last, dtype=pl.Int64, eager=True)
        frame = columns.select(
            pl.col(str(number)).alias(self.labels[number]) for number in self.wanted
        ).with_columns(
            numbers.alias(ROW_NUMBER),
            pl.lit(None, dtype=pl.String).alias(LINE_FAULT),
            pl.lit(None, dtype=pl.String).alias(LINE),
        )
        self.row = last
        self.line += newlines
        return frame if broken is None else _with_broken(frame, broken)

    def _is_well_quoted(self, data: bytes) -> bool:
        """Tell whether every quote opens, closes or is doubled.

        Of others Polars makes fields, and even rows, that nobody wrote.
        """
        quote = f"\\x{ord(self.quote):02x}"
        mark = f"\\x{ord(self.delimiter):02x}"
        quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}"
        plain = f"[^{quote}{mark}\\r\\n]*"
        whole = f"^(?:(?:{quoted}|{plain})(?:{mark}|\\r?\\n))*$"
        return bool(pl.Series([data.decode()]).str.contains(whole).item())

    def _parsed(
        self, data: bytes, wanted: Sequence[int], *, width: int
    ) -> pl.DataFrame | None:
        names = [str(number) for number in range(width)]
        try:
            return (
                pl.scan_csv(
                    data,
                    has_header=False,
                    separator=self.delimiter,
                    quote_char=self.quote or None,
                    schema=dict.fromkeys(names, pl.String),
                    truncate_ragged_lines=True,
                    missing_columns="insert",
                    empty_string_is_null=False,
                )
                .select(str(number) for number in wanted)
                .collect()
            )
        except pl.exceptions.PolarsError:
            return None

    def _with_line_breaks(
        self, marked: bytes, end: str, newlines: int
    ) -> pl.DataFrame | None:
        """Return the rows of a block with line ends inside quotes, those unmarked."""
        width = len(self.names) + 1
        columns = self._parsed(marked, range(width), width=width)
        if columns is None:
            return None
        mark = self.delimiter + _MARK + end
        inside = columns.select(
            pl.sum_horizontal(pl.all().str.count_matches(mark, literal=True).sum())
        ).item()
        if columns.height + inside != newlines:
            return None
        return self._unmarked(columns, end)

    def _unmarked(self, columns: pl.DataFrame, end: str) -> pl.DataFrame:
        """Take the marks out that got into quoted line breaks."""
        mark = self.delimiter + _MARK + end
        return columns.with_columns(pl.all().str.replace_all(mark, end, literal=True))

    def _broken(
        self, marked: bytes, end: str, is_whole: pl.Series
    ) -> pl.DataFrame | None:
        """Say which lines are too short or too long: `@` (position), fault and line."""
        width = len(self.names) + 1
        columns = self._parsed(marked, range(width), width=width)
        if columns is None:
            return None
        columns = self._unmarked(columns, end)
        count = len(self.names)
        broken = columns.with_row_index("@").filter(~is_whole)
        fields = pl.concat_list(pl.col(str(number)) for number in range(count + 1))
        found = pl.col("fields").list.eval(pl.element() == _MARK).list.arg_max()
        is_short = pl.col("fields").list.contains(_MARK)
        said = (
            pl.when(is_short)
            .then(pl.format("{} fields instead of " + str(count), found))
            .otherwise(pl.lit(f"more than {count} fields"))
        )
        kept = pl.col("fields").list.eval(
            pl.element().filter(~pl.element().str.contains(_MARK, literal=True))
        )
        text = (
            pl.when(is_short)
            .then(pl.col("fields").list.head(found).list.join(self.delimiter))
            .otherwise(kept.list.join(self.delimiter))
        )
        lines = broken.select("@", fields=fields).select(
            "@", said.alias(LINE_FAULT), text.alias(LINE)
        )
        if self.is_whole and lines[LINE_FAULT].str.starts_with("more").any():
            return None  # Polars has not kept what stands behind the last column
        return lines

    # -- line by line, by Python ------------------------------------------------

    def _slow(self, blocks: Iterator[bytes]) -> Iterator[pl.DataFrame]:
        """Yield the rows of all that is left, or refuse at the line that is wrong."""
        reader = self._reader(self._text_lines(blocks))
        start = self.line
        values: list[list[str | None]] = [[] for _ in self.wanted]
        own: list[tuple[int, str | None, str | None]] = []
        width = len(self.names)
        while True:
            at = start + reader.line_num
            try:
                record = next(reader, None)
            except csv.Error as error:
                raise self._refused("bad_quote", self._said(error), row=at) from None
            if record is None:
                break
            number, self.row = self.row, self.row + 1
            is_short = len(record) < width
            if not record or (is_short and not self.delimiter.join(record).strip()):
                continue
            fault = text = None
            if len(record) != width:
                many = len(record) > width
                fault = f"{len(record)} fields instead of {width}"
                if many:
                    fault = f"more than {width} fields"
                text = self.delimiter.join(record)
                record = (record + [""] * width)[:width]
            own.append((number, fault, text))
            for column, index in zip(values, self.wanted, strict=True):
                column.append(record[index])
            if len(own) == _SLOW_ROWS:
                yield self._frame(values, own)
                values, own = [[] for _ in self.wanted], []
        if own:
            yield self._frame(values, own)

    def _text_lines(self, blocks: Iterator[bytes]) -> Iterator[str]:
        """Yield the lines of UTF-8 blocks, each with its end."""
        rest = b""
        why = "is format.quote or the ends of its lines not as declared?"
        for block in blocks:
            whole = rest + block
            cut = whole.rfind(b"\n") + 1
            yield from io.StringIO(whole[:cut].decode(), newline="\n")
            rest = whole[cut:]
            refuse_long_line(rest, shown=self.shown, why=why)
        if rest:
            yield rest.decode()

    def _frame(
        self,
        values: list[list[str | None]],
        own: list[tuple[int, str | None, str | None]],
    ) -> pl.DataFrame:
        columns = {
            self.labels[index]: pl.Series(column, dtype=pl.String)
            for index, column in zip(self.wanted, values, strict=True)
        }
        columns[ROW_NUMBER] = pl.Series([row[0] for row in own], dtype=pl.Int64)
        columns[LINE_FAULT] = pl.Series([row[1] for row in own], dtype=pl.String)
        columns[LINE] = pl.Series([row[2] for row in own], dtype=pl.String)
        return pl.DataFrame(columns)

    def _reader(self, lines: Iterator[str]) -> Any:
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            strict=True,
        )

    def _said(self, error: csv.Error) -> str:
        said = str(error)
        if "unexpected end" in said or "field limit" in said:
            what = f"a field opened with {self.quote} is not closed"
        elif "new-line character" in said:
            return "a carriage return inside a field that is not quoted: mend the line"
        else:
            what = f"a quoted field does not end where it should ({said})"
        return f"{what}: mend the line, or change format.quote or format.delimiter"

    def _refused(self, code: str, message: str, *, row: int | None) -> FilesRefused:
        return FilesRefused(Fault(code=code, message=message, file=self.shown, row=row))


def _with_broken(frame: pl.DataFrame, broken: pl.DataFrame) -> pl.DataFrame:
    """Say of broken lines what is wrong with them, and drop the blank ones."""
    at = broken["@"]
    faults = frame[LINE_FAULT].scatter(at, broken[LINE_FAULT])
    texts = frame[LINE].scatter(at, broken[LINE])
    is_blank = texts.str.strip_chars() == ""
    return frame.with_columns(faults, texts).filter(~is_blank.fill_null(value=False))


class _Lines:
    """Hands lines on and remembers them."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._seen: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._seen.append(line)
        return line

    def text(self) -> str:
        return "".join(self._seen)


def _one_then(first: list[bytes], then: Iterator[bytes]) -> Iterator[bytes]:
    yield from first
    yield from then
