"""Finds activity files, accepts each once, and loads what was accepted.

Belongs here: globs, fingerprints, the accepted Parquet files in the home. Does not
belong here: writing an accepted file (`accepting`), what becomes of a row
(`transforms.activity.rows`), formats (`csv_rows`, `typed_rows`).

An accepted file is kept under its fingerprint, a digest of its content, of the settings
of its source and of the version of the rules by which rows are accepted: the same file
is never read twice. It lies there as three files: `<fingerprint>.parquet`,
`<fingerprint>.rejected.parquet` and, written last, `<fingerprint>.json`.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import orjson
import polars as pl

from flows.files.file_bytes import content_digest, digest_beside
from flows.files.known_digests import is_remembered, known_digest
from flows.files.object_storage import (
    StoredObject,
    fetched,
    fits_url,
    is_url,
    known_content,
    matching_objects,
    note_content,
)
from flows.files.patterns import fits
from transforms.activity.accepted import (
    IS_LINE,
    REJECTED_SCHEMA,
    amount_decimals,
)
from transforms.activity.mending import is_mended
from transforms.definition.definition import Definition, Source, parse_definition
from transforms.errors import DefinitionRefused, Fault, FilesRefused

ACCEPT_SCHEME = "retrobadge/accept/1"
_PATH = "@path"
_SMALL_FILE = 250_000  # rows
# Taking the digest of a large file first would leave a core idle for that long; with a
# small one it is over at once, and Pandera need not be loaded for one that is known.
_BESIDE_FROM = 32 << 20
_CSV_ENDINGS = {".csv", ".tsv", ".txt", ".psv", ".dat"}
_JSON_ENDINGS = {".ndjson", ".jsonl"}
_PARQUET_ENDINGS = {".parquet", ".pq"}


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """An activity file that a definition names.

    `path` is relative to the definition's folder, or the URL of an object. A file that
    is gone and whose accepted rows go on counting has the fingerprint under which they
    are kept.
    """

    source: str
    path: str
    location: Path | StoredObject
    file_order: int
    kept_fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class EarlierFile:
    """An activity file that an earlier run stood on, as the ledger knows it."""

    source: str
    path: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class AcceptedFile:
    """What became of the rows of one activity file, and where they are.

    rows_read = accepted + anonymous + unmapped + excluded + rejected + duplicate, each
    counted at its own wall. `reasons` counts the lines of the rejected rows; `content`
    and `settings` are digests of the file and of how it was read.
    """

    source: str
    path: str
    file_order: int
    fingerprint: str
    content: str
    settings: str
    rows_read: int
    rows_accepted: int
    rows_anonymous: int
    rows_unmapped: int
    rows_excluded: int
    rows_rejected: int
    rows_duplicate: int
    is_read_now: bool
    accepted_path: Path
    rejected_path: Path
    reasons: dict[str, int] = field(default_factory=dict)


def read_definition(path: Path) -> Definition:
    """Return the definition in a file, or refuse with every fault that was found."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise DefinitionRefused.of(
            "no_definition", "there is no such file", file=str(path)
        ) from None
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise DefinitionRefused.of(
            "not_utf8", "is not UTF-8: save it as UTF-8", file=str(path), row=row
        ) from None
    except OSError as error:
        raise DefinitionRefused.of(
            "no_definition", f"can't be read ({error.strerror})", file=str(path)
        ) from error
    return parse_definition(text, path=str(path))


def find_files(
    definition: Definition, earlier: Iterable[EarlierFile] = ()
) -> list[FoundFile]:
    """Return the activity files of a definition, oldest first.

    In order of sources, of their patterns, and of paths as people count (`file2`
    before `file10`); a file that several patterns of a source match counts once, at
    the first. Raises FilesRefused for a pattern that matches nothing.

    `earlier` are the files that the run before this one stood on. One that a pattern
    still asks for and that is gone is refused, or left out (`missing_files = "forget"`)
    or stands in its place with its old fingerprint (`"keep"`).
    """
    folder = Path(definition.path).absolute().parent
    found: list[FoundFile] = []
    faults: list[Fault] = []
    for source in definition.sources:
        gone = {e.path: e.fingerprint for e in earlier if e.source == source.name}
        seen: set[str] = set()
        for pattern in source.files:
            paths = _matches(folder, pattern)
            absent = {
                path: StoredObject(url=path, etag="") if is_url(path) else folder / path
                for path in gone
                if path not in paths and is_asked_for(path, pattern, folder)
            }
            faults += _faults_of_pattern(definition, source, pattern, paths, absent)
            places = paths | (absent if source.missing_files == "keep" else {})
            for path in sorted(places, key=_natural):
                place = places[path]
                real = path if is_url(path) else os.path.realpath(str(place))
                if real in seen:
                    continue
                seen.add(real)
                found.append(
                    FoundFile(
                        source=source.name,
                        path=path,
                        location=place,
                        file_order=len(found),
                        kept_fingerprint=gone[path] if path in absent else None,
                    )
                )
    if not found and not faults:
        faults.append(_nothing_left(definition))
    if faults:
        raise FilesRefused(*faults)
    return found


def _nothing_left(definition: Definition) -> Fault:
    return Fault(
        code="no_files",
        message="all activity files that the run before this one stood on are gone: "
        "put files there, or set missing_files to keep",
        file=definition.path,
        column="activity.files",
    )


def _faults_of_pattern(
    definition: Definition,
    source: Source,
    pattern: str,
    paths: Collection[str],
    absent: Collection[str],
) -> list[Fault]:
    """Return what is wrong with what a pattern finds, and no longer finds."""
    if absent and source.missing_files == "refuse":
        return [
            Fault(
                code="file_gone",
                message="the run before this one stood on it, and it is gone: put it "
                "back, or set missing_files to keep or forget",
                file=path,
            )
            for path in absent
        ]
    if paths or absent:
        return []
    return [
        Fault(
            code="no_files",
            message=f"source '{source.name}': '{pattern}' matches no file: change "
            "files, or put files there",
            file=definition.path,
            column="activity.files",
        )
    ]


def is_asked_for(path: str, pattern: str, folder: Path) -> bool:
    """Return whether a pattern would match a path if there were such a file."""
    if is_url(path) or is_url(pattern):
        return fits_url(path, pattern)
    names = Path(os.path.normpath(folder / path)).parts
    return fits(names, Path(os.path.normpath(folder / pattern)).parts)


def _matches(folder: Path, pattern: str) -> dict[str, Path | StoredObject]:
    """Return what a pattern finds, each under the path that is shown of it."""
    if is_url(pattern):
        return {found.url: found for found in matching_objects(pattern)}
    # Path.glob knows neither `..` nor absolute patterns.
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    found = [path for path in (folder / name for name in names) if path.is_file()]
    return {_shown(path, folder): path for path in found}


def _shown(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers by value; equal ones as text."""
    parts = re.split(r"([0-9]+)", path)
    return [(1, int(p), p) if p.isdigit() else (0, 0, p) for p in parts]


def accept_files(
    definition: Definition,
    home_accepted: Path,
    *,
    progress: Callable[[AcceptedFile], None] | None = None,
) -> list[AcceptedFile]:
    """Accept every file of a definition; `progress` hears of each."""
    files = []
    for found in find_files(definition):
        files.append(accept_file(found, definition, home_accepted))
        if progress is not None:
            progress(files[-1])
    return files


def accept_file(
    found: FoundFile,
    definition: Definition,
    home_accepted: Path,
    *,
    beside_from: int = _BESIDE_FROM,
) -> AcceptedFile:
    """Return the accepted rows of a file, read now or kept from an earlier run.

    Raises FilesRefused for a file that can't be read as declared, or that changed while
    it was read. From `beside_from` bytes on its digest is taken beside its rows.
    """
    source = next(s for s in definition.sources if s.name == found.source)
    settings = _settings(source, definition, found.path)
    if found.kept_fingerprint is not None:
        return _kept_of_gone(found, settings, home_accepted)
    if kept := _kept_unread(found, settings, home_accepted):
        return kept
    with on_disk(found, home_accepted) as path:
        before = _state(found, path)
        is_beside = before[1] >= beside_from
        with _content(found, path, home_accepted, is_beside=is_beside) as content:
            reading = _Reading(found, path, before, settings, home_accepted, content)
            return _accept(reading, definition)


@contextmanager
def on_disk(found: FoundFile, folder: Path) -> Iterator[Path]:
    """Give a place where a file can be read; an object is fetched to the folder."""
    if isinstance(found.location, Path):
        yield found.location
        return
    with fetched(found.location, folder) as copy:
        yield copy


@dataclass(frozen=True)
class _Reading:
    """A file that is read; its digest may come only after a part of its rows."""

    found: FoundFile
    location: Path
    before: tuple[int, int, int]
    settings: object
    home: Path
    content: Future[str]

    @property
    def digest(self) -> str:
        """Return the digest of the file's content; wait for it."""
        try:
            return self.content.result()
        except OSError as error:
            raise _unreadable(self.found, error) from error

    @property
    def fingerprint(self) -> str:
        """Return the name under which the accepted rows are kept."""
        return _digest(ACCEPT_SCHEME, self.digest, self.settings)

    def kept(self) -> AcceptedFile | None:
        """Return the rows that were kept of the same file."""
        return _kept(self.found, self.fingerprint, self.home)

    def until_kept(self, rows: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Yield rows, and raise _IsKept when the digest says that they are kept."""
        is_new = False
        for chunk in rows:
            if not is_new and self.content.done():
                if kept := self.kept():
                    raise _IsKept(kept)
                is_new = True
            yield chunk

    def refuse_changed(self) -> None:
        """Refuse a file that is another now than when its reading began."""
        if _state(self.found, self.location) != self.before:
            raise FilesRefused.of(
                "file_changed",
                "changed while it was read: run again when it is complete",
                file=self.found.path,
            )


class _IsKept(Exception):
    """A file that is being read turns out to be one whose rows are kept."""

    def __init__(self, file: AcceptedFile) -> None:
        super().__init__()
        self.file = file


@contextmanager
def _content(
    found: FoundFile, location: Path, home: Path, *, is_beside: bool
) -> Iterator[Future[str]]:
    """Give the digest of a file: at once, or `is_beside` while its rows are read."""
    stored = found.location if isinstance(found.location, StoredObject) else None

    def take(read: Callable[[], str]) -> str:
        if stored is None:
            return known_digest(location, home, read)
        content = read()
        note_content(stored, home, content)
        return content

    with ExitStack() as stack:
        try:
            if is_beside and (stored or not is_remembered(location, home)):
                content = stack.enter_context(digest_beside(location, take))
            else:
                content = Future()
                content.set_result(take(partial(content_digest, location)))
        except OSError as error:
            raise _unreadable(found, error) from error
        yield content


def _accept(reading: _Reading, definition: Definition) -> AcceptedFile:
    if reading.content.done() and (kept := reading.kept()):
        return kept
    found, home = reading.found, reading.home
    source = next(s for s in definition.sources if s.name == found.source)
    # Pandera and Arrow are heavy, and of no use where every file is known already.
    from flows.files.accepting import drafts_in, write_accepted  # noqa: PLC0415

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with drafts_in(home) as drafts:
        try:
            counts = write_accepted(
                reading.until_kept(file_rows(found, source, reading.location)),
                source,
                drafts,
                timezone=definition.timezone,
                path=found.path,
                customers=definition.customers,
            )
        except _IsKept as known:
            return known.file
        if kept := reading.kept():
            return kept
        reading.refuse_changed()
        told = {"content": reading.digest, "settings": _digest(reading.settings)}
        record = orjson.dumps({**told, **counts}, option=orjson.OPT_INDENT_2)
        drafts.record.write_bytes(record)
        drafts.publish(reading.fingerprint)
    fresh = _kept(found, reading.fingerprint, home, is_read_now=True)
    if fresh is None:
        raise AssertionError("an accepted file is not where it was just put")
    return fresh


def file_rows(
    found: FoundFile, source: Source, location: Path
) -> Iterator[pl.DataFrame]:
    """Return the rows of a file as they stand in it, and `ROW_NUMBER`, in chunks.

    `location` is what `on_disk` gives. Raises FilesRefused for a file that can't be
    read as declared.
    """
    from flows.files.csv_rows import csv_rows  # noqa: PLC0415  as above
    from flows.files.typed_rows import json_rows, parquet_rows  # noqa: PLC0415

    match file_format(found.path):
        case "csv":
            return csv_rows(location, source, shown=found.path)
        case "json":
            return json_rows(location, source, shown=found.path)
        case "parquet":
            return parquet_rows(location, source, shown=found.path)
    raise FilesRefused.of(
        "unknown_format",
        "the name says no format that can be read: rename it to end in .csv, .tsv, "
        ".parquet, .ndjson or .jsonl (text also with .gz or .zst behind)",
        file=found.path,
    )


def file_format(name: str) -> Literal["csv", "json", "parquet"] | None:
    """Return how a file is written, by the ending of its name."""
    path = Path(name)
    ending = last = path.suffix.lower()
    if last in {".gz", ".zst"}:
        ending = Path(path.stem).suffix.lower()
    if ending in _CSV_ENDINGS:
        return "csv"
    if ending in _JSON_ENDINGS:
        return "json"
    return "parquet" if last in _PARQUET_ENDINGS else None


def rejected_rows(files: Iterable[AcceptedFile]) -> pl.DataFrame:
    """Return `path` and the rejected rows of these files, a line per reason."""
    frames = [REJECTED_SCHEMA.to_frame().select(pl.lit("").alias("path"), pl.all())]
    frames += [
        pl.read_parquet(file.rejected_path, glob=False).select(
            pl.lit(file.path).alias("path"), pl.all()
        )
        for file in files
    ]
    return pl.concat(frames)


def load_activity(
    files: Sequence[AcceptedFile], definition: Definition
) -> pl.LazyFrame:
    """Return the accepted rows of all files, with `source` and `file_order` (Int32).

    Columns that a source does not have are null in its rows, and amounts have
    `amount_decimals(definition)` decimals everywhere. Where a source has lines, IS_LINE
    says which rows are. Raises FilesRefused when two files of a source without activity
    ids have the same content, and rows that count.
    """
    _refuse_twice(files, definition)
    decimals = amount_decimals(definition)
    sources = {source.name: source for source in definition.sources}
    frames = []
    has_lines = any(source.grain == "line_item" for source in definition.sources)
    for group in _scanned_together(files):
        source = sources[group[0].source]
        frame = _scan(group)
        if has_lines:
            is_line = pl.lit(source.grain == "line_item")
            frame = frame.with_columns(is_line.alias(IS_LINE))
        scale = 10 ** (decimals - source.amount_decimals)
        if "amount" in source.columns and scale != 1:
            frame = frame.with_columns(pl.col("amount") * scale)
        name = pl.lit(source.name, dtype=pl.String).alias("source")
        frames.append(frame.select(pl.exclude("file_order"), name, "file_order"))
    return pl.concat(frames, how="diagonal")


def _scanned_together(
    files: Sequence[AcceptedFile],
) -> Iterator[Sequence[AcceptedFile]]:
    """Yield the files of each source together where they are small, else one by one.

    A scan of its own costs a file two milliseconds each time that activity is looked
    at; telling which file a row is of costs a scan of many a part of its reading.
    """
    for _, group in groupby(files, key=attrgetter("source")):
        of_source = list(group)
        rows = sum(file.rows_accepted for file in of_source)
        # Equal files have one accepted file between them: its rows are of each.
        are_different = len({file.accepted_path for file in of_source})
        is_small = rows < _SMALL_FILE * len(of_source)
        if is_small and are_different == len(of_source):
            yield of_source
        else:
            yield from ([file] for file in of_source)


def _scan(files: Sequence[AcceptedFile]) -> pl.LazyFrame:
    """Return the accepted rows of files of one source, with `file_order`."""
    if len(files) == 1:
        (file,) = files
        order = pl.lit(file.file_order, dtype=pl.Int32)
        frame = pl.scan_parquet(file.accepted_path, glob=False)
        return frame.with_columns(file_order=order)
    paths = [str(file.accepted_path) for file in files]
    orders = [file.file_order for file in files]
    frame = pl.scan_parquet(paths, glob=False, include_file_paths=_PATH)
    order = pl.col(_PATH).replace_strict(paths, orders, return_dtype=pl.Int32)
    return frame.with_columns(file_order=order).drop(_PATH)


def _refuse_twice(files: Sequence[AcceptedFile], definition: Definition) -> None:
    nameless = {s.name for s in definition.sources if "activity_id" not in s.columns}
    seen: dict[tuple[str, str], str] = {}
    for file in files:
        if file.source in nameless and file.rows_accepted:
            other = seen.setdefault((file.source, file.content), file.path)
            if other != file.path:
                raise FilesRefused.of(
                    "same_file_twice",
                    f"has the same content as {other}, and without an activity_id its "
                    "rows would count twice: remove one, or map activity_id",
                    file=file.path,
                )


# -- one file -------------------------------------------------------------------


def _state(found: FoundFile, location: Path) -> tuple[int, int, int]:
    try:
        stat = location.stat()
    except OSError as error:
        raise _unreadable(found, error) from error
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _unreadable(found: FoundFile, error: OSError) -> FilesRefused:
    fault = Fault(
        code="unreadable", message=f"can't be read ({error.strerror})", file=found.path
    )
    return FilesRefused(fault)


def _settings(source: Source, definition: Definition, path: str) -> dict[str, Any]:
    """Return what the accepted rows depend on besides the content of the file."""
    settings = source.model_dump(
        mode="json", exclude={"name", "files", "fresh_within", "missing_files"}
    )
    settings["timezone"] = source.timezone or definition.timezone
    if definition.customers is not None:
        wanted = {"identifier", "country_code"}
        settings["customers"] = definition.customers.model_dump(include=wanted)
    if is_mended(path):
        settings["is_mended"] = True  # some of its cells are read as they were before
    if "activity_id" not in source.columns:
        settings["path"] = path  # it is part of the ids
    return settings


def _digest(*parts: object) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _kept_of_gone(found: FoundFile, settings: object, home: Path) -> AcceptedFile:
    """Return the kept rows of a file that is gone, if they are still what is asked."""
    fingerprint = str(found.kept_fingerprint)
    kept = _kept(found, fingerprint, home)
    if kept is None or kept.settings != _digest(settings):
        why = "are no longer there" if kept is None else "were read with other settings"
        raise FilesRefused.of(
            "file_gone",
            f"the file is gone, and its accepted rows {why}: put the file back, or set "
            "missing_files to forget",
            file=found.path,
        )
    return kept


def _kept_unread(found: FoundFile, settings: object, home: Path) -> AcceptedFile | None:
    """Return the kept rows of an object that was fetched before and is the same."""
    if not isinstance(found.location, StoredObject):
        return None
    content = known_content(found.location, home)
    fingerprint = _digest(ACCEPT_SCHEME, content, settings)
    return _kept(found, fingerprint, home) if content else None


def _kept(
    found: FoundFile, fingerprint: str, home: Path, *, is_read_now: bool = False
) -> AcceptedFile | None:
    accepted = home / f"{fingerprint}.parquet"
    rejected = home / f"{fingerprint}.rejected.parquet"
    record = home / f"{fingerprint}.json"
    if not (accepted.is_file() and rejected.is_file() and record.is_file()):
        return None
    try:
        return AcceptedFile(
            source=found.source,
            path=found.path,
            file_order=found.file_order,
            fingerprint=fingerprint,
            is_read_now=is_read_now,
            accepted_path=accepted,
            rejected_path=rejected,
            **orjson.loads(record.read_bytes()),
        )
    except (orjson.JSONDecodeError, TypeError):
        return None  # written by another version: the file is read again
