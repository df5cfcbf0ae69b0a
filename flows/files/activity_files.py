"""Accepts each activity file once, and knows it again.

Belongs here: fingerprints, and the accepted Parquet files in the home. Does not belong
here: which files there are (`finding`), their rows (`file_rows`), what becomes of a row
(`transforms.activity.rows`), writing an accepted file (`accepting`) and loading what
was accepted (`accepted_activity`).

An accepted file is kept under its fingerprint, a digest of its content, of the settings
of its source and of the version of the rules by which rows are accepted: the same file
is never read twice. It lies there as three files: `<fingerprint>.parquet`,
`<fingerprint>.rejected.parquet` and, written last, `<fingerprint>.json`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.files.file_bytes import content_digest, digest_beside
from flows.files.file_rows import file_rows, on_disk
from flows.files.finding import FoundFile, find_files
from flows.files.known_digests import is_remembered, known_digest
from flows.files.object_storage import StoredObject, known_content, note_content
from transforms.activity.mending import is_mended
from transforms.definition.definition import Definition, Source
from transforms.errors import Fault, FilesRefused

ACCEPT_SCHEME = "retrobadge/accept/1"
# Taking the digest of a large file first would leave a core idle for that long; with a
# small one it is over at once, and Pandera need not be loaded for one that is known.
_BESIDE_FROM = 32 << 20


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
