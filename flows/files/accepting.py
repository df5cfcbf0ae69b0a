"""Writes the accepted and the rejected rows of one activity file.

Belongs here: deciding and writing chunk by chunk, duplicates over all chunks, and files
that come into being whole or not at all. Does not belong here: which files there are,
how they are read and what is kept of them (`activity_files`), what becomes of a row
(`transforms.activity.rows`).
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import polars as pl
from polars.io.plugins import register_io_source

from transforms.activity.accepted import (
    REJECTED_SCHEMA,
    accepted_schema,
    are_ascending,
    repeated,
)
from transforms.activity.rows import SortedRows, sorted_rows
from transforms.definition.definition import Customers, Source

# What deciding does is Polars' for the most part, which lets other threads run; a third
# would find no work where reading has a thread too, and cost the memory of a block.
_WORKERS = 2
# A few bad rows in each chunk are written together.
_REJECTED_LINES = 50_000


@dataclass(frozen=True)
class Drafts:
    """The three files of an accepted file while they are written.

    They get its name at the end: it is of a digest that may come as late.
    """

    home: Path
    # Files of one content may be read at once, on several machines.
    writer: str = field(default_factory=lambda: uuid4().hex)

    def draft(self, ending: str) -> Path:
        """Return a name that nobody else writes to."""
        return self.home / f".{self.writer}{ending}"

    @property
    def accepted(self) -> Path:
        """Return where accepted rows are written."""
        return self.draft(".parquet")

    @property
    def rejected(self) -> Path:
        """Return where rejected rows are written."""
        return self.draft(".rejected.parquet")

    @property
    def record(self) -> Path:
        """Return where the counts are written."""
        return self.draft(".json")

    def publish(self, name: str) -> None:
        """Give the files their name, the record last: it says that all are there."""
        for ending in (".parquet", ".rejected.parquet", ".json"):
            draft = self.draft(ending)
            draft.chmod(0o600)
            draft.replace(self.home / f"{name}{ending}")


@contextmanager
def drafts_in(home: Path) -> Iterator[Drafts]:
    """Give a place to write an accepted file to; nothing half written stays."""
    drafts = Drafts(home)
    try:
        yield drafts
    finally:
        for ending in (".parquet", ".rejected.parquet", ".json", ".again.parquet"):
            drafts.draft(ending).unlink(missing_ok=True)


def write_accepted(
    rows: Iterator[pl.DataFrame],
    source: Source,
    drafts: Drafts,
    *,
    timezone: str,
    path: str,
    customers: Customers | None = None,
) -> dict[str, object]:
    """Write the accepted and the rejected rows of a file; return what was counted.

    `rows` are the chunks of the file as they were read, `timezone` is the definition's,
    `path` the file's display path. With `customers` whose the rows are is left open
    (`flows.files.mapping`).
    """
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415  heavy

    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    ids = _Ids()
    aside: list[pl.DataFrame] = []
    failures: list[Exception] = []
    # Lines of one activity have its id in common.
    is_named = "activity_id" in source.columns and source.grain == "activity"
    rejected_schema = REJECTED_SCHEMA.to_frame().to_arrow().schema

    def decide(chunk: pl.DataFrame) -> SortedRows:
        return sorted_rows(
            chunk, source, timezone=timezone, path=path, customers=customers
        )

    def set_aside() -> None:
        lines = pl.concat([REJECTED_SCHEMA.to_frame(), *aside])
        aside.clear()
        if not lines.is_empty():
            rejected.write_table(lines.to_arrow())
            reasons.update(dict(lines["reason"].value_counts().iter_rows()))

    def accepted(*_: object) -> Iterator[pl.DataFrame]:
        try:
            for part in _ahead(decide, rows):
                counts["rows_read"] += part.rows_read
                counts["rows_anonymous"] += part.rows_anonymous
                counts["rows_rejected"] += part.rows_rejected
                counts["rows_accepted"] += part.accepted.height
                aside.append(part.rejected)
                if sum(lines.height for lines in aside) >= _REJECTED_LINES:
                    set_aside()
                if is_named:
                    ids.add(part.accepted["activity_id"])
                yield part.accepted
            set_aside()
        except Exception as error:  # noqa: BLE001  raised again below
            # A sink that is broken off may still make its file after it was removed.
            failures.append(error)

    _make(drafts.rejected)
    texts = [field.name for field in rejected_schema if field.name != "row_number"]
    with pq.ParquetWriter(
        drafts.rejected, rejected_schema, use_dictionary=texts
    ) as rejected:
        # Polars pulls the chunks and writes them with all its threads.
        schema = accepted_schema(source, is_named=customers is None)
        sink(register_io_source(accepted, schema=schema), drafts.accepted)
    if failures:
        raise failures[0]
    duplicates = _drop_duplicates(drafts, ids)
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


def sink(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows in their order into a file that only its owner may read."""
    _make(path)
    rows.sink_parquet(path, compression_level=1, maintain_order=True)


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


class _Ids:
    """The activity ids of a file, as far as it was read: eight bytes each."""

    def __init__(self) -> None:
        self._hashes: list[pl.Series] = []
        self._last = pl.Series(dtype=pl.String)
        self._are_ascending = True

    def add(self, ids: pl.Series) -> None:
        """Take in the ids of a chunk."""
        self._hashes.append(ids.hash())
        if self._are_ascending and not ids.is_empty():
            self._are_ascending = are_ascending(ids) and are_ascending(
                pl.concat([self._last, ids.head(1)])
            )
            self._last = ids.tail(1)

    def twice(self) -> pl.Series:
        """Return the hashes that come more than once."""
        if self._are_ascending:
            return pl.Series(dtype=pl.UInt64)
        return repeated(pl.concat(self._hashes))


def _drop_duplicates(drafts: Drafts, ids: _Ids) -> int:
    """Take out rows whose activity id an accepted row before them has; count them.

    Ids are compared by hash first, eight bytes a row; only ids whose hash comes twice
    are looked at as text.
    """
    twice = ids.twice()
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
    sink(accepted.filter(~pl.col("row_number").is_in(later.implode())), again)
    again.replace(drafts.accepted)
    return later.len()
