"""Looks at the bytes of many texts at once.

Belongs here: bytes as a column, and what they say of all texts of a column. Does not
belong here: what a value may look like (`activity.values`), and lines
(`flows.files.csv_rows`).

A pattern is tried on each text by itself, which takes some thirty nanoseconds; a look
at the bytes that all of them are made of takes one or two.
"""

from __future__ import annotations

from typing import Any

import polars as pl


def as_bytes(data: Any) -> pl.Series:
    """Return a buffer as UInt8, not copied."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  heavy

    buffers = [None, pa.py_buffer(data)]
    size = buffers[1].size
    found = pl.from_arrow(pa.Array.from_buffers(pa.uint8(), size, buffers))
    if not isinstance(found, pl.Series):
        raise TypeError(type(found))
    return found


class Letters:
    """The texts of a column end to end, without those that are null."""

    def __init__(self, texts: pl.Series) -> None:
        if texts.null_count():
            texts = texts.drop_nulls()
        self.count = texts.len()
        self.lengths = texts.str.len_bytes()
        laid = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
        size, data = int(self.lengths.sum()), laid.buffers()[2]
        # Of an array that is part of another the buffer holds more than its texts.
        self.is_known = laid.offset == 0 and (data.size if data else 0) == size
        self.bytes = as_bytes(data if data and self.is_known else b"")

    def length(self) -> int | None:
        """Return the length that all texts have; None if they differ."""
        low, high = self.lengths.min(), self.lengths.max()
        return low if self.is_known and low == high and isinstance(low, int) else None

    def shortest(self) -> int:
        """Return the least length, 0 if there is no text."""
        low = self.lengths.min()
        return low if self.is_known and isinstance(low, int) else 0

    def count_digits(self) -> int:
        """Return how many of the bytes are digits."""
        return int((self.bytes - ord("0") < 10).sum())  # what is below wraps around

    def are_visible(self) -> bool:
        """Tell whether all are ASCII, and none is a space or a control character."""
        return self.is_known and bool(
            (self.bytes - ord("!") <= ord("~") - ord("!")).all()
        )

    def are_digits_or(self, others: str) -> bool:
        """Tell whether there is nothing but digits and these characters."""
        fits = self.bytes - ord("0") < 10
        for other in others:
            fits |= self.bytes == ord(other)
        return self.is_known and bool(fits.all())

    def every(self, length: int, at: int) -> pl.Series:
        """Return the byte at a place of each text; all have one length."""
        return self.bytes.gather_every(length, at)

    def from_end(self, back: int) -> pl.Series:
        """Return the byte so far before the end of each text; none is shorter."""
        ends = self.lengths.cast(pl.Int64).cum_sum()
        return self.bytes.gather(ends - back)
