"""Reads the bytes of an activity file: digest, decompression, encoding.

Belongs here: everything between the disk and lines of UTF-8. Does not belong here: how
lines become rows (`csv_rows`, `json_rows`).
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Event
from typing import IO

from transforms.errors import Fault, FilesRefused

# A block costs some 10 ms whatever is in it, and several are in memory at once.
BLOCK = 16 << 20
MAX_LINE = 64 << 20
_DIGESTED = 1 << 20
BOM = codecs.BOM_UTF8


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as they lie on the disk, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def digest_beside(
    path: Path, take: Callable[[Callable[[], str]], str]
) -> Iterator[Future[str]]:
    """Give the same while it is taken by another thread, so that other work goes on.

    `take` is called there with what reads the file; its answer is what is given. Who
    leaves before has the reading given up. Raises OSError if the file can't be opened;
    if it can't be read to its end, the Future does.
    """
    given_up = Event()

    def read() -> str:
        digest = hashlib.sha256()
        while data := file.read(_DIGESTED):
            if given_up.is_set():
                raise CancelledError
            digest.update(data)
        return digest.hexdigest()

    with path.open("rb") as file, ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(take, read)
        finally:
            given_up.set()


def utf8_blocks(
    path: Path, *, encoding: str, shown: str, block: int = BLOCK
) -> Iterator[bytes]:
    """Yield the text of a file as UTF-8, in blocks that may cut lines and letters.

    `.gz` and `.zst` files are decompressed, a byte order mark is dropped; a file that
    begins with the one of UTF-8 says by that what it is, whatever `encoding` says.
    Raises FilesRefused naming the line for bytes that are not in the encoding, for NUL
    bytes and for compression that ends too early. `shown` is the file's name there.
    """
    is_utf8 = codecs.lookup(encoding).name in {"utf-8", "utf-8-sig", "ascii"}
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    size = max(block, len(BOM))

    def refused(code: str, message: str, before: bytes) -> FilesRefused:
        # Lines are counted when one must be named, not for every file.
        text = utf8_blocks(path, encoding=encoding, shown=shown, block=block)
        row = 1 + before.count(b"\n")
        row += sum(part.count(b"\n") for part in islice(text, done))
        return FilesRefused(Fault(code=code, message=message, file=shown, row=row))

    for raw in chain(_decompressed(path, shown=shown, block=size), [b""]):
        if not done and raw.startswith(BOM) and not is_utf8:
            encoding, is_utf8 = "utf-8", True
            decoder = codecs.getincrementaldecoder(encoding)()
        text = raw
        if not (is_utf8 and raw.isascii() and not decoder.getstate()[0]):
            try:
                decoded = decoder.decode(raw, not raw)
            except UnicodeError as error:
                # UTF-16 that does not say which of the two it is has no bytes to name.
                bad, start, end = raw[:2], 0, 2
                if isinstance(error, UnicodeDecodeError):
                    bad, start, end = error.object, error.start, error.end
                raise refused(
                    "wrong_encoding",
                    f"the bytes {bad[start:end].hex(' ')} are not {encoding}: "
                    "set format.encoding to what the file is written in (latin-1, "
                    "utf-16 …)",
                    bad[:start],
                ) from None
            text = raw if is_utf8 else decoded.encode()
        if not done:
            text = text.removeprefix(BOM)
        if b"\0" in text:
            raise refused(
                "nul_byte",
                "a NUL byte: the file is not text, or not in the encoding that "
                f"format.encoding says ({encoding})",
                text[: text.index(b"\0")],
            )
        done += bool(raw)
        yield text


def refuse_long_line(line: bytes, *, shown: str, why: str) -> None:
    """Refuse a line that grows without end, before it fills the memory."""
    if len(line) > MAX_LINE:
        raise FilesRefused.of(
            "long_line", f"a line is longer than {MAX_LINE >> 20} MB: {why}", file=shown
        )


def _decompressed(path: Path, *, shown: str, block: int) -> Iterator[bytes]:
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  heavy

    try:
        with _opened(path) as file:
            read = file.read
            if isinstance(file, io.BufferedReader):
                read = partial(_to_line_end, file)
            while data := read(block):
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


def _to_line_end(file: io.BufferedReader, block: int) -> bytes:
    """Read a block that ends where a line does, if one does near the block's end.

    To cut it there and put the rest before the next one would copy both.
    """
    start, near = file.tell(), block >> 8
    file.seek(start + block - near)
    end = file.read(near).rfind(b"\n") + 1
    file.seek(start)
    return file.read(block - near + end if end else block)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for reading, decompressed by its ending."""
    import pyarrow as pa  # noqa: PLC0415  heavy

    if path.suffix == ".gz":
        with gzip.open(path, "rb") as unzipped:
            yield unzipped
    elif path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield stream
    else:
        with path.open("rb") as plain:
            yield plain
