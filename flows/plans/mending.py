"""Hands out rejected rows to be mended: a CSV for each file that has some.

Belongs here: reading the whole rows once more, writing them down, and making sure that
what is written reads back as it was. Does not belong here: which rows are worth it and
what makes a cell inert (`transforms.activity.mending`), why a row was rejected
(`transforms.activity.rows`).

Such a file has the columns of the original, then `rejected_row` and
`rejected_because`. It is read like any other file of its source. As it is handed out
it counts for nothing: each of its rows is rejected again until it is mended.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import polars as pl

from flows.files.activity_files import AcceptedFile
from flows.files.csv_rows import csv_rows, whole_csv_rows
from flows.files.file_bytes import content_digest
from flows.files.file_rows import file_format
from flows.files.finding import is_asked_for
from flows.files.object_storage import is_url
from flows.files.typed_rows import kind_of, whole_json_rows, whole_parquet_rows
from flows.home import open_private
from transforms.activity.mending import (
    BECAUSE,
    ORIGINAL_ROW,
    Mend,
    in_vain,
    next_round,
    worded,
)
from transforms.activity.rows import (
    LINE,
    LINE_FAULT,
    ROW_NUMBER,
    activity_ids,
    sorted_rows,
    typed_rows,
)
from transforms.definition.definition import Definition, Source
from transforms.errors import FilesRefused
from transforms.spreadsheets import guarded

FOLDER = "mend"
_CHANGED = "a CSV can't hold it unchanged"
_COUNTS = "it would count as it stands"


@dataclass(frozen=True)
class _Whole:
    """Whole rows of a file: names of its columns, which are named by position."""

    names: Sequence[str]
    rows: pl.DataFrame

    def mapped(self, source: Source) -> pl.DataFrame:
        """Return the columns that a source maps, as its readers give them."""
        return _mapped(self.rows, self.names, source)

    def only(self, mask: pl.Series) -> _Whole:
        """Return some of the rows."""
        return _Whole(self.names, self.rows.filter(mask))


@dataclass(frozen=True)
class _Dirty:
    """A file with rejected rows, read once more. `because` has a row for each."""

    file: AcceptedFile
    source: Source
    because: pl.DataFrame
    whole: _Whole
    ids: pl.Series

    @property
    def numbers(self) -> pl.Series:
        """Return the rows that were rejected."""
        return self.because["row_number"]


def write_mends(
    definition: Definition, files: Sequence[AcceptedFile], folder: Path
) -> list[Mend]:
    """Write the rows to mend of each file into a plan's folder; say what was done."""
    with_bad = [file for file in files if file.rows_rejected]
    found = [_read_again(file, files, definition) for file in with_bad]
    dirty = [one for one in found if isinstance(one, _Dirty)]
    twins = _twins(dirty, files)
    made = []
    for file, one in zip(with_bad, found, strict=True):
        note = one if isinstance(one, str) else ""
        told = Mend(source=file.source, path=file.path, rows=0, note=note)
        if isinstance(one, _Dirty):
            told = _written(definition, one, twins, folder)
        made.append(told)
    return made


def _read_again(
    file: AcceptedFile, files: Sequence[AcceptedFile], definition: Definition
) -> _Dirty | str:
    """Return a file's rejected rows, or why they can't be handed out."""
    location = Path(definition.path).absolute().parent / file.path
    source = next(s for s in definition.sources if s.name == file.source)
    because = (
        pl.read_parquet(file.rejected_path, glob=False)
        .group_by("row_number", maintain_order=True)
        .agg(pl.col("reason").str.join("; "))
    )
    try:
        if note := _why_not(file, files, location):
            return note
        whole = _rows_to_mend(location, source, file, because["row_number"])
    except (FilesRefused, OSError) as error:
        return f"can't be read again ({type(error).__name__})"
    return _Dirty(file, source, because, whole, _ids(whole, source))


def _twins(dirty: Sequence[_Dirty], files: Sequence[AcceptedFile]) -> pl.DataFrame:
    """Return accepted rows that have the id of a rejected one: one look at each file.

    `source` String, `file_order` Int32, `activity_id` String, `row_number` Int64.
    """
    found = [
        pl.DataFrame(
            schema={
                "activity_id": pl.String,
                "row_number": pl.Int64,
                "source": pl.String,
                "file_order": pl.Int32,
            }
        )
    ]
    for name in {one.source.name for one in dirty}:
        ids = pl.concat([d.ids for d in dirty if d.source.name == name]).drop_nulls()
        for file in files:
            if file.source == name and not ids.is_empty():
                accepted = pl.scan_parquet(file.accepted_path, glob=False)
                found.append(
                    accepted.select("activity_id", "row_number")
                    .filter(pl.col("activity_id").is_in(ids.unique().implode()))
                    .with_columns(
                        source=pl.lit(name),
                        file_order=pl.lit(file.file_order, dtype=pl.Int32),
                    )
                    .collect()
                )
    return pl.concat(found)


def _why_not(
    file: AcceptedFile, files: Sequence[AcceptedFile], location: Path
) -> str | None:
    """Return why a file's rejected rows can't be handed out."""
    if any(f.path == file.path and f.source != file.source for f in files):
        return "several sources read this file: mend the file itself"
    following = next_round(file.path)
    if any(f.path == following and f.source == file.source for f in files):
        return f"they were handed out before, and are in {following}: mend them there"
    if is_url(file.path):
        return "the file is in object storage: mend it there, and put it back"
    if not location.is_file():
        return "the file is not there to be read again"
    if content_digest(location) != file.content:
        return "the file has changed since it was read: plan again"
    return None


def _written(
    definition: Definition, dirty: _Dirty, twins: pl.DataFrame, folder: Path
) -> Mend:
    """Write the rows of one file, leaving out what could not be fed back."""
    file, source, whole = dirty.file, dirty.source, dirty.whole
    why = _or(_without_use(dirty, twins), _unwritable(_cells(whole, source), source))
    put_at = next_round(file.path)
    path = _place(folder, file, PurePosixPath(put_at).name)
    kept = whole.only(why.is_null())
    if kept.rows.height:
        _write(path, kept, source, dirty.because)
        odd = _odd(path, kept, dirty, definition)
        why = why.scatter(why.is_null().arg_true(), odd)
    if why.null_count() < kept.rows.height:
        kept = whole.only(why.is_null())
        _write(path, kept, source, dirty.because)
    left_out = dict(why.drop_nulls().value_counts().iter_rows())
    numbers = set(dirty.numbers)
    told = Mend(
        source=source.name,
        path=file.path,
        rows=sum(number in numbers for number in kept.rows[ROW_NUMBER]),
        left_out=left_out,
    )
    if not told.rows:
        path.unlink(missing_ok=True)
        return replace(told, note="none of them would count, however it is mended")
    return replace(
        told,
        file=path.relative_to(folder).as_posix(),
        put_at=put_at,
        note=_what_to_do(definition, source, file.path, put_at),
    )


def _place(folder: Path, file: AcceptedFile, name: str) -> Path:
    place = folder / FOLDER
    if (place / name).exists():  # of a file of this name in another folder
        place = place / str(file.file_order)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place / name


def _what_to_do(definition: Definition, source: Source, path: str, put_at: str) -> str:
    base = Path(definition.path).absolute().parent
    told = "mend it, save it as CSV in UTF-8, and put it beside its original"
    pattern = next((p for p in source.files if is_asked_for(path, p, base)), None)
    if pattern is None or is_asked_for(put_at, pattern, base):
        return told
    return f"{told}; write '{pattern}*' in files, for '{pattern}' does not find it"


# -- reading --------------------------------------------------------------------


def _rows_to_mend(
    location: Path, source: Source, file: AcceptedFile, numbers: pl.Series
) -> _Whole:
    """Return the rejected rows; of line items all lines of their activities."""

    def is_rejected(chunk: pl.DataFrame) -> pl.Series:
        return chunk[ROW_NUMBER].is_in(numbers.implode())

    whole = _read(location, source, file.path, is_rejected)
    if source.grain == "activity":
        return whole
    ids = _ids(whole, source).drop_nulls()

    def is_of_activity(chunk: pl.DataFrame) -> pl.Series:
        is_one = activity_ids(chunk, source).is_in(ids.implode()).fill_null(value=False)
        return is_rejected(chunk) | is_one

    return _read(location, source, file.path, is_of_activity)


def _read(
    location: Path,
    source: Source,
    shown: str,
    keep: Callable[[pl.DataFrame], pl.Series],
) -> _Whole:
    if file_format(shown) == "json":
        return _Whole(*whole_json_rows(location, source, shown=shown, keep=keep))
    names, chunks = (
        whole_csv_rows(location, source, shown=shown)
        if file_format(shown) == "csv"
        else whole_parquet_rows(location)
    )
    found = [c.filter(keep(_mapped(c, names, source))) for c in chunks]
    return _Whole(names, pl.concat(found))


def _mapped(rows: pl.DataFrame, names: Sequence[str], source: Source) -> pl.DataFrame:
    theirs = {
        name
        for one in source.columns.values()
        for name in ((one,) if isinstance(one, str) else one)
    }
    own = [name for name in (ROW_NUMBER, LINE_FAULT, LINE) if name in rows.columns]
    return rows.select(
        *(pl.col(str(names.index(name))).alias(name) for name in theirs), *own
    )


def _is_broken(rows: pl.DataFrame) -> pl.Series:
    if LINE_FAULT in rows.columns:
        return rows[LINE_FAULT].is_not_null()
    return pl.repeat(value=False, n=rows.height, eager=True)


def _ids(whole: _Whole, source: Source) -> pl.Series:
    """Return the activity ids of rows, null where there is none to be read."""
    if "activity_id" not in source.columns:
        return pl.repeat(None, whole.rows.height, dtype=pl.String, eager=True)
    ids = activity_ids(whole.mapped(source), source)
    return ids.set(_is_broken(whole.rows), None)


# -- which of them --------------------------------------------------------------


def _or(why: pl.Series, other: pl.Series) -> pl.Series:
    return why.zip_with(why.is_not_null(), other)


def _without_use(dirty: _Dirty, twins: pl.DataFrame) -> pl.Series:
    """Return why a row would not count however it is mended; else null."""
    rows = dirty.whole.rows
    if "activity_id" not in dirty.source.columns:
        return pl.repeat(None, rows.height, dtype=pl.String, eager=True)
    named = pl.DataFrame({"activity_id": dirty.ids, "row_number": rows[ROW_NUMBER]})
    order = pl.col("file_order")
    of_source = twins.filter(pl.col("source") == dirty.source.name)
    here = of_source.filter(order == dirty.file.file_order)
    later = of_source.filter(order > dirty.file.file_order)
    is_lines = dirty.source.grain == "line_item"
    why = in_vain(named, here.clear() if is_lines else here, later["activity_id"])
    lost = "without activity_id its activity can't be known"
    return why.set(dirty.ids.is_null(), lost) if is_lines else why


def _unwritable(cells: pl.DataFrame, source: Source) -> pl.Series:
    """Return which cells no CSV of the source can hold, as the reason; else null."""
    letters = ["\0"]
    if not source.format.quote:
        letters += [source.format.delimiter, "\r", "\n"]
    is_odd = pl.any_horizontal(pl.all().str.contains_any(letters))
    return cells.select(pl.when(is_odd).then(pl.lit(_CHANGED)).alias("why"))["why"]


def _odd(path: Path, kept: _Whole, dirty: _Dirty, definition: Definition) -> pl.Series:
    """Return which rows don't read back as they were, or are good as they stand."""
    source, zone, customers = dirty.source, definition.timezone, definition.customers
    again = pl.concat(csv_rows(path, source, shown=path.name))
    if again.height != kept.rows.height:
        raise AssertionError(f"{path}: rows were written that are no rows")
    now, was = (
        typed_rows(rows, source, timezone=zone, customers=customers)
        for rows in (again, kept.mapped(source))
    )
    if customers is None:
        # A negative one is a number in Parquet, and no customer anywhere.
        was = was.with_columns(pl.when(pl.col("customer_id") > 0).then("customer_id"))
    is_same = _is_broken(kept.rows)
    is_same |= pl.select(
        pl.all_horizontal([now[name].eq_missing(was[name]) for name in now.columns])
    ).to_series()
    # What a mapping of customers rejected reads well, here as it did there.
    were, are = (
        sorted_rows(
            rows, source, timezone=zone, path=path.name, customers=customers
        ).accepted["row_number"]
        for rows in (kept.mapped(source), again)
    )
    is_good = again[ROW_NUMBER].is_in(are.implode())
    is_good &= ~kept.rows[ROW_NUMBER].is_in(were.implode())
    odd = pl.repeat(None, again.height, dtype=pl.String, eager=True)
    return odd.set(is_good, _COUNTS).set(~is_same, _CHANGED)


# -- writing --------------------------------------------------------------------


def _cells(whole: _Whole, source: Source) -> pl.DataFrame:
    """Return the rows as text; a broken line stands whole in its first cell."""
    mapped = {
        name: (ours, isinstance(theirs, str))
        for ours, theirs in reversed(source.columns.items())
        for name in ((theirs,) if isinstance(theirs, str) else theirs)
    }
    is_broken = _is_broken(whole.rows)
    cells = []
    for at, name in enumerate(whole.names):
        ours, is_alone = mapped.get(name, ("", False))
        column = _worded(whole.rows[str(at)], source, ours, is_alone=is_alone)
        line = whole.rows[LINE] if at == 0 and is_broken.any() else None
        is_whole = ~is_broken
        blank = pl.repeat("", column.len(), dtype=pl.String, eager=True)
        column = column.zip_with(is_whole, blank if line is None else line)
        cells.append(column.alias(str(at)))
    return pl.DataFrame(cells)


def _worded(
    column: pl.Series, source: Source, ours: str, *, is_alone: bool
) -> pl.Series:
    form = source.format
    null = "" if not form.nulls or "" in form.nulls or not ours else form.nulls[0]
    if column.dtype.is_nested() or column.dtype in {pl.Binary, pl.Object}:
        texts = ["" if value is None else str(value) for value in column]
        return pl.Series(texts, dtype=pl.String)
    kind = kind_of(ours, source) if is_alone else "text"
    if kind == "text" and ours == "activity_id":
        kind = "whole"
    return worded(
        column,
        kind,
        decimals=source.amount_decimals,
        sign=form.decimal,
        style=source.occurred_at_format,
        null=null,
    )


def _write(path: Path, whole: _Whole, source: Source, because: pl.DataFrame) -> None:
    """Write rows as the source writes its CSV files, in UTF-8 with its mark."""
    form = source.format
    cells = _cells(whole, source)
    places = [n for n, name in enumerate(whole.names) if name not in _OWN]
    reasons = whole.rows.select(row_number=ROW_NUMBER).join(
        because, on="row_number", how="left", maintain_order="left"
    )
    told = reasons["reason"].fill_null("good: it belongs to the same activity")
    if not form.quote:
        told = told.str.replace_all(form.delimiter, " ", literal=True)
    rows = pl.DataFrame(
        [
            *(guarded(cells[str(place)]) for place in places),
            reasons["row_number"].cast(pl.String).alias(ORIGINAL_ROW),
            guarded(told).alias(BECAUSE),
        ]
    )
    with open(path, "w", encoding="utf-8-sig", newline="", opener=open_private) as file:
        writer = csv.writer(
            file,
            delimiter=form.delimiter,
            quotechar=form.quote or None,
            quoting=csv.QUOTE_ALL if form.quote else csv.QUOTE_NONE,
            lineterminator="\n",
        )
        if form.header:
            names = pl.Series([whole.names[place] for place in places])
            writer.writerow([*guarded(names), ORIGINAL_ROW, BECAUSE])
        writer.writerows(rows.iter_rows())


_OWN = {ORIGINAL_ROW, BECAUSE}
