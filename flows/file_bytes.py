"""Reads the bytes of an activity file: digest, decompression, encoding.

Belongs here: everything between the disk and lines of UTF-8. Does not belong here: how
lines become rows (`csv_rows`, `json_rows`).
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa  # type: ignore[import-untyped]

from transforms.errors import FilesRefused

BLOCK = 16 << 20
_BOM = codecs.BOM_UTF8


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as they lie on the disk, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utf8_blocks(
    path: Path, *, encoding: str, shown: str, block: int = BLOCK
) -> Iterator[bytes]:
    """Yield the text of a file as UTF-8, in blocks that may cut lines and letters.

    `.gz` and `.zst` files are decompressed, a byte order mark is dropped. Raises
    FilesRefused naming the line for bytes that are not in the encoding, for NUL
    bytes and for compression that ends too early. `shown` is the file's name there.
    """
    lines = 1
    is_utf8 = codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}
    decoder = codecs.getincrementaldecoder(encoding)()
    is_first = True
    for raw in _decompressed(path, shown=shown, block=max(block, len(_BOM))):
        if is_utf8 and raw.isascii() and not decoder.getstate()[0]:
            text = raw
        else:
            text = _encoded(decoder, raw, encoding, shown, lines)
            text = raw if is_utf8 else text  # the same bytes, now known to be well
        if is_first and text:
            text = text.removeprefix(_BOM)
            is_first = False
        if b"\0" in text:
            at = lines + text.count(b"\n", 0, text.index(b"\0"))
            raise FilesRefused.of(
                "nul_byte",
                "a NUL byte: the file is not text, or not in the encoding that "
                f"format.encoding says ({encoding})",
                file=shown,
                row=at,
            )
        lines += text.count(b"\n")
        yield text
    _encoded(decoder, b"", encoding, shown, lines, is_last=True)


def _encoded(
    decoder: Any,
    raw: bytes,
    encoding: str,
    shown: str,
    lines: int,
    *,
    is_last: bool = False,
) -> bytes:
    """Return a block as UTF-8; the decoder keeps a letter that is cut."""
    try:
        text: str = decoder.decode(raw, is_last)
    except UnicodeDecodeError as error:
        bad = error.object[error.start : error.end]
        before = error.object[: error.start].count(b"\n")
        raise FilesRefused.of(
            "wrong_encoding",
            f"the bytes {bad.hex(' ')} are not {encoding}: set format.encoding to what "
            "the file is written in (latin-1, utf-16 …)",
            file=shown,
            row=lines + before,
        ) from None
    return text.encode()


def _decompressed(path: Path, *, shown: str, block: int) -> Iterator[bytes]:
    try:
        with _opened(path) as file:
            while data := file.read(block):
                yield data
    except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
        if getattr(error, "errno", None) is not None:  # the disk's own, not the file's
            raise FilesRefused.of(
                "unreadable", f"can't be read ({error})", file=shown
            ) from error
        raise FilesRefused.of(
            "broken_compression",
            f"the compressed file is cut off or damaged ({error}): export it again",
            file=shown,
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | pa.NativeFile]:
    """Open a file for reading, decompressed by its ending."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as unzipped:
            yield unzipped
    elif path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield stream
    else:
        with path.open("rb") as plain:
            yield plain
