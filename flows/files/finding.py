"""Finds the definition's own file, and the activity files that it names.

Belongs here: globs, the order of files, and files that are gone. Does not belong here:
what a pattern fits (`patterns`), objects (`object_storage`), and what is read of a file
(`file_rows`, `activity_files`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from flows.files.object_storage import (
    StoredObject,
    fits_url,
    is_url,
    matching_objects,
)
from flows.files.patterns import fits
from transforms.definition.definition import Definition, Source, parse_definition
from transforms.errors import DefinitionRefused, Fault, FilesRefused


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
