"""Finds and reads the brand's customer files and suppression lists.

Belongs here: which files there are, and what they hold all together. Does not belong
here: what a row means and whose an identifier is (`transforms.customers`), and the rows
of activity (`flows.files.mapping`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import polars as pl

from flows.files.file_bytes import content_digest
from flows.files.file_rows import file_rows, on_disk
from flows.files.finding import FoundFile, find_files
from transforms.customers.listed import (
    SUPPRESSED,
    UNREADABLE,
    listed_customers,
    no_customers,
    suppressed,
)
from transforms.customers.mapping import KnownCustomers, known_customers
from transforms.definition.definition import Customers, Definition, Source
from transforms.errors import Fault, FilesRefused

MAP_SCHEME = "retrobadge/map/1"
_MOST_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class CustomerFiles:
    """What the customer files say, and which files said it.

    `files`: path → SHA-256 of the content, suppression lists among them; `digest` is of
    everything that a mapping depends on; `notes` are what a reader must know besides.
    """

    known: KnownCustomers
    files: Mapping[str, str]
    digest: str
    notes: tuple[str, ...]


def read_customers(definition: Definition) -> CustomerFiles | None:
    """Return what the customer files of a definition say; None where it has none.

    Raises FilesRefused for what can't be read, and where the files contradict
    themselves.
    """
    customers = definition.customers
    if customers is None:
        return None
    with TemporaryDirectory() as scratch:
        listed, notes, files = _listed(definition, customers, Path(scratch))
        unwelcome, lists = _suppressed(definition, customers, Path(scratch))
    settings = customers.model_dump(mode="json", exclude={"files", "exclude"})
    said = (MAP_SCHEME, settings, definition.timezone, [*files.values()], lists)
    return CustomerFiles(
        known=known_customers(listed, unwelcome, customers),
        files={**files, **lists},
        digest=_digest(said),
        notes=tuple(notes),
    )


def _listed(
    definition: Definition, customers: Customers, scratch: Path
) -> tuple[pl.DataFrame, list[str], dict[str, str]]:
    """Return the rows of all customer files, what is told of them, their digests."""
    source = _source(customers, dict(customers.columns), customers.files)
    timezone = customers.timezone or definition.timezone
    order, shown = pl.lit(0, dtype=pl.Int32), pl.lit("")
    nobody = no_customers(customers).with_columns(file_order=order, shown=shown)
    frames, faults = [nobody], list[Fault]()
    notes, digests = list[str](), dict[str, str]()
    for found in _found(definition, source, "files"):
        unreadable = [UNREADABLE.to_frame()]
        with _unchanged(found, scratch) as (location, digest):
            for chunk in file_rows(found, source, location):
                listed = listed_customers(
                    chunk, customers, timezone=timezone, shown=found.path
                )
                order = pl.lit(found.file_order, dtype=pl.Int32)
                frames.append(
                    listed.rows.with_columns(file_order=order, shown=pl.lit(found.path))
                )
                unreadable.append(listed.unreadable)
                faults += listed.faults[: _MOST_FAULTS - len(faults)]
        digests[found.path] = digest
        notes += _notes(pl.concat(unreadable), customers, found.path)
    if faults:
        raise FilesRefused(*faults)
    return pl.concat(frames), notes, digests


def _notes(unreadable: pl.DataFrame, customers: Customers, shown: str) -> Iterator[str]:
    """Tell of identifiers that nothing can be mapped by."""
    if unreadable.is_empty():
        return
    first = unreadable.row(0, named=True)
    yield (
        f"customers: {unreadable.height:,} identifiers in {shown} can't be read as "
        f"{customers.identifier}, so no activity is mapped by them; the first is in "
        f"row {first['row_number']}: {first['reason']}"
    )


def _suppressed(
    definition: Definition, customers: Customers, scratch: Path
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return SUPPRESSED of all suppression lists, and their digests."""
    frames, digests = [SUPPRESSED.to_frame()], dict[str, str]()
    if not customers.exclude:
        return frames[0], digests
    source = _source(customers, {}, customers.exclude)
    for found in _found(definition, source, "exclude"):
        with _unchanged(found, scratch) as (location, digest):
            rows, faults = _list_of(found, customers, location)
        frames.append(rows)
        digests[found.path] = digest
        if faults:
            raise FilesRefused(*faults[:_MOST_FAULTS])
    return pl.concat(frames), digests


def _list_of(
    found: FoundFile, customers: Customers, location: Path
) -> tuple[pl.DataFrame, list[Fault]]:
    """Read a list that has the column of identifiers, of customer ids, or both."""
    names = {name: customers.columns[name] for name in SUPPRESSED}
    refused: FilesRefused | None = None
    for columns in (names, *({name: theirs} for name, theirs in names.items())):
        source = _source(customers, columns, ())
        try:
            chunks = [
                suppressed(chunk, customers, shown=found.path)
                for chunk in file_rows(found, source, location)
            ]
        except FilesRefused as error:
            if any(fault.code != "column_missing" for fault in error.faults):
                raise
            refused = refused or error
        else:
            rows = pl.concat([SUPPRESSED.to_frame(), *(rows for rows, _ in chunks)])
            return rows, [fault for _, faults in chunks for fault in faults]
    raise FilesRefused.of(
        "column_missing",
        f"a suppression list has the column {' or '.join(names.values())}, as the "
        f"customer files have: {refused}",
        file=found.path,
    )


def _source(
    customers: Customers, columns: dict[str, Any], files: tuple[str, ...]
) -> Source:
    """Return customer files as the readers of activity files know files."""
    return Source(
        name="customers", files=files, columns=columns, format=customers.format
    )


def _found(definition: Definition, source: Source, key: str) -> list[FoundFile]:
    try:
        return find_files(definition.model_copy(update={"sources": (source,)}))
    except FilesRefused as refused:
        column = f"customers.{key}"
        raise FilesRefused(
            *(replace(fault, column=column) for fault in refused.faults)
        ) from None


@contextmanager
def _unchanged(found: FoundFile, scratch: Path) -> Iterator[tuple[Path, str]]:
    """Give where a file can be read, and its digest: the same before and after."""
    with on_disk(found, scratch) as location:
        before = content_digest(location)
        yield location, before
        if content_digest(location) != before:
            raise FilesRefused.of(
                "file_changed",
                "changed while it was read: run again when it is complete",
                file=found.path,
            )


def _digest(said: object) -> str:
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()
