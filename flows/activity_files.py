"""Finds activity files, accepts each once, and loads what was accepted.

Belongs here: globs, fingerprints, the accepted Parquet files in the home. Does not
belong here: what becomes of a row (`transforms.activity`), formats (`csv_rows`,
`typed_rows`).

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
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from polars.io.plugins import register_io_source

from flows.csv_rows import csv_rows
from flows.file_bytes import content_digest
from flows.typed_rows import json_rows, parquet_rows
from transforms.activity import (
    REJECTED_SCHEMA,
    accepted_schema,
    amount_decimals,
    repeated,
)
from transforms.activity_rows import SortedRows, sorted_rows
from transforms.definition import Definition, Source, parse_definition
from transforms.errors import DefinitionRefused, Fault, FilesRefused

ACCEPT_SCHEME = "retrobadge/accept/1"
_WORKERS = 2
_CSV_ENDINGS = {".csv", ".tsv", ".txt", ".psv", ".dat"}
_JSON_ENDINGS = {".ndjson", ".jsonl"}
_PARQUET_ENDINGS = {".parquet", ".pq"}


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """An activity file that a definition names. `path` is relative to its folder."""

    source: str
    path: str
    location: Path
    file_order: int


@dataclass(frozen=True, kw_only=True)
class AcceptedFile:
    """What became of the rows of one activity file, and where they are.

    rows_read = accepted + anonymous + unmapped + excluded + rejected + duplicate, each
    counted at its own wall. `reasons` counts the lines of the rejected rows.
    """

    source: str
    path: str
    file_order: int
    fingerprint: str
    content: str
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


def find_files(definition: Definition) -> list[FoundFile]:
    """Return the activity files of a definition, oldest first.

    In order of sources, of their patterns, and of paths as people count (`file2`
    before `file10`); a file that several patterns of a source match counts once, at
    the first. Raises FilesRefused for a pattern that matches nothing.
    """
    folder = Path(definition.path).absolute().parent
    found: list[FoundFile] = []
    faults: list[Fault] = []
    for source in definition.sources:
        seen: set[str] = set()
        for pattern in source.files:
            matches = [p for p in _matches(folder, pattern) if p.is_file()]
            if not matches:
                message = f"source '{source.name}': '{pattern}' matches no file in "
                faults.append(
                    Fault(
                        code="no_files",
                        message=f"{message}{folder}: change files, or put files there",
                        file=definition.path,
                        column="activity.files",
                    )
                )
            for match in sorted(matches, key=lambda p: _natural(_shown(p, folder))):
                real = os.path.realpath(match)
                if real not in seen:
                    seen.add(real)
                    found.append(
                        FoundFile(
                            source=source.name,
                            path=_shown(match, folder),
                            location=match,
                            file_order=len(found),
                        )
                    )
    if faults:
        raise FilesRefused(*faults)
    return found


def _matches(folder: Path, pattern: str) -> list[Path]:
    # Path.glob knows neither `..` nor absolute patterns.
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return [folder / name for name in names]


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
    found: FoundFile, definition: Definition, home_accepted: Path
) -> AcceptedFile:
    """Return the accepted rows of a file, read now or kept from an earlier run.

    Raises FilesRefused for a file that can't be read as declared, or that changed while
    it was read.
    """
    source = next(s for s in definition.sources if s.name == found.source)
    before = _state(found)
    try:
        content = content_digest(found.location)
    except OSError as error:
        raise _unreadable(found, error) from error
    fingerprint = _fingerprint(content, source, definition.timezone, found.path)
    kept = _kept(found, fingerprint, home_accepted)
    if kept is not None:
        return kept
    home_accepted.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _drafts(home_accepted, fingerprint) as drafts:
        counts = _accept(found, source, definition.timezone, drafts)
        if _state(found) != before:
            raise FilesRefused.of(
                "file_changed",
                "changed while it was read: run again when it is complete",
                file=found.path,
            )
        record = {"content": content, **counts}
        drafts.record.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
        drafts.publish()
    fresh = _kept(found, fingerprint, home_accepted, is_read_now=True)
    if fresh is None:
        raise AssertionError("an accepted file is not where it was just put")
    return fresh


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
    `amount_decimals(definition)` decimals everywhere. Raises FilesRefused when two
    files of a source without activity ids have the same content.
    """
    _refuse_twice(files, definition)
    decimals = amount_decimals(definition)
    sources = {source.name: source for source in definition.sources}
    frames = []
    for file in files:
        source = sources[file.source]
        frame = pl.scan_parquet(file.accepted_path, glob=False)
        scale = 10 ** (decimals - source.amount_decimals)
        if "amount" in source.columns and scale != 1:
            frame = frame.with_columns(pl.col("amount") * scale)
        frames.append(
            frame.with_columns(
                source=pl.lit(file.source, dtype=pl.String),
                file_order=pl.lit(file.file_order, dtype=pl.Int32),
            )
        )
    return pl.concat(frames, how="diagonal")


def _refuse_twice(files: Sequence[AcceptedFile], definition: Definition) -> None:
    nameless = {s.name for s in definition.sources if "activity_id" not in s.columns}
    seen: dict[tuple[str, str], str] = {}
    for file in files:
        if file.source in nameless:
            other = seen.setdefault((file.source, file.content), file.path)
            if other != file.path:
                raise FilesRefused.of(
                    "same_file_twice",
                    f"has the same content as {other}, and without an activity_id its "
                    "rows would count twice: remove one, or map activity_id",
                    file=file.path,
                )


# -- one file -------------------------------------------------------------------


def _state(found: FoundFile) -> tuple[int, int, int]:
    try:
        stat = found.location.stat()
    except OSError as error:
        raise _unreadable(found, error) from error
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _unreadable(found: FoundFile, error: OSError) -> FilesRefused:
    fault = Fault(
        code="unreadable", message=f"can't be read ({error.strerror})", file=found.path
    )
    return FilesRefused(fault)


def _fingerprint(content: str, source: Source, timezone: str, path: str) -> str:
    """Return a digest of all that the accepted rows depend on."""
    settings = source.model_dump(
        mode="json", exclude={"name", "files", "fresh_within", "missing_files"}
    )
    settings["timezone"] = source.timezone or timezone
    if "activity_id" not in source.columns:
        settings["path"] = path  # it is part of the ids
    text = orjson.dumps([ACCEPT_SCHEME, content, settings], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _kept(
    found: FoundFile, fingerprint: str, home: Path, *, is_read_now: bool = False
) -> AcceptedFile | None:
    accepted = home / f"{fingerprint}.parquet"
    rejected = home / f"{fingerprint}.rejected.parquet"
    record = home / f"{fingerprint}.json"
    if not (accepted.is_file() and rejected.is_file() and record.is_file()):
        return None
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


@dataclass(frozen=True)
class _Drafts:
    """The three files of an accepted file while they are written."""

    home: Path
    fingerprint: str

    def draft(self, ending: str) -> Path:
        return self.home / f".{self.fingerprint}.{os.getpid()}{ending}"

    @property
    def accepted(self) -> Path:
        return self.draft(".parquet")

    @property
    def rejected(self) -> Path:
        return self.draft(".rejected.parquet")

    @property
    def record(self) -> Path:
        return self.draft(".json")

    def publish(self) -> None:
        """Give the files their names, the record last: it says that all are there."""
        for ending in (".parquet", ".rejected.parquet", ".json"):
            draft = self.draft(ending)
            draft.chmod(0o600)
            draft.replace(self.home / f"{self.fingerprint}{ending}")


@contextmanager
def _drafts(home: Path, fingerprint: str) -> Iterator[_Drafts]:
    drafts = _Drafts(home, fingerprint)
    try:
        yield drafts
    finally:
        for ending in (".parquet", ".rejected.parquet", ".json", ".again.parquet"):
            drafts.draft(ending).unlink(missing_ok=True)


def _accept(
    found: FoundFile, source: Source, timezone: str, drafts: _Drafts
) -> dict[str, object]:
    """Write the accepted and the rejected rows of a file; return what was counted."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    hashes: list[pl.Series] = []
    is_named = "activity_id" in source.columns
    rejected_schema = REJECTED_SCHEMA.to_frame().to_arrow().schema

    def decide(rows: pl.DataFrame) -> SortedRows:
        return sorted_rows(rows, source, timezone=timezone, path=found.path)

    def accepted(*_: object) -> Iterator[pl.DataFrame]:
        for part in _ahead(decide, _rows(found, source)):
            counts["rows_read"] += part.rows_read
            counts["rows_anonymous"] += part.rows_anonymous
            counts["rows_rejected"] += part.rows_rejected
            counts["rows_accepted"] += part.accepted.height
            if part.rejected.height:
                rejected.write_table(part.rejected.to_arrow())
                tally = part.rejected["reason"].value_counts()
                reasons.update(dict(tally.iter_rows()))
            if is_named:
                hashes.append(part.accepted["activity_id"].hash())
            yield part.accepted

    _make(drafts.rejected)
    with pq.ParquetWriter(drafts.rejected, rejected_schema) as rejected:
        # Polars pulls the chunks and writes them with all its threads.
        schema = accepted_schema(source)
        _sink(register_io_source(accepted, schema=schema), drafts.accepted)
    duplicates = _drop_duplicates(drafts, hashes)
    return {
        "rows_read": counts["rows_read"],
        "rows_accepted": counts["rows_accepted"] - duplicates,
        "rows_anonymous": counts["rows_anonymous"],
        "rows_unmapped": 0,
        "rows_excluded": 0,
        "rows_rejected": counts["rows_rejected"],
        "rows_duplicate": duplicates,
        "reasons": dict(reasons),
    }


def _make(path: Path) -> None:
    """Make an empty file that only its owner may read."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))


def _sink(rows: pl.LazyFrame, path: Path) -> None:
    _make(path)
    rows.sink_parquet(path, compression_level=1, maintain_order=True)


def _rows(found: FoundFile, source: Source) -> Iterator[pl.DataFrame]:
    """Return the reader of a file, chosen by the ending of its name."""
    path = Path(found.path)
    ending = path.suffix.lower()
    if ending in {".gz", ".zst"}:
        ending = Path(path.stem).suffix.lower()
    if ending in _CSV_ENDINGS:
        return csv_rows(found.location, source, shown=found.path)
    if ending in _JSON_ENDINGS:
        return json_rows(found.location, source, shown=found.path)
    if path.suffix.lower() in _PARQUET_ENDINGS:
        return parquet_rows(found.location, source, shown=found.path)
    raise FilesRefused.of(
        "unknown_format",
        "the name says no format that can be read: rename it to end in .csv, .tsv, "
        ".parquet, .ndjson or .jsonl (text also with .gz or .zst behind)",
        file=found.path,
    )


def _ahead(
    decide: Callable[[pl.DataFrame], SortedRows], rows: Iterator[pl.DataFrame]
) -> Iterator[SortedRows]:
    """Decide on chunks beside the reading of the next ones; keep their order."""
    waiting: deque[Future[SortedRows]] = deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for chunk in rows:
            waiting.append(pool.submit(decide, chunk))
            if len(waiting) > _WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _drop_duplicates(drafts: _Drafts, hashes: list[pl.Series]) -> int:
    """Take out rows whose activity id an accepted row before them has; count them.

    Ids are compared by hash first, eight bytes a row; only ids whose hash comes twice
    are looked at as text.
    """
    if not hashes:
        return 0
    twice = repeated(pl.concat(hashes))
    if twice.is_empty():
        return 0
    accepted = pl.scan_parquet(drafts.accepted, glob=False)
    later = (
        accepted.filter(pl.col("activity_id").hash().is_in(twice.implode()))
        .select("activity_id", "row_number")
        .filter(pl.col("row_number") > pl.col("row_number").min().over("activity_id"))
        .collect()["row_number"]
    )
    if later.is_empty():
        return 0
    again = drafts.draft(".again.parquet")
    _sink(accepted.filter(~pl.col("row_number").is_in(later.implode())), again)
    again.replace(drafts.accepted)
    return later.len()
