"""What is done side by side while a file is accepted changes nothing about its rows."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event

import orjson
import polars as pl
import pytest
from factories_definition import badge_text, definition
from factories_imports import brand, visits
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.files.accepting import drafts_in, write_accepted
from flows.files.activity_files import accept_file, accept_files
from flows.files.file_bytes import digest_beside
from flows.files.finding import find_files, read_definition
from flows.pipeline import accept
from transforms.activity.rows import ROW_NUMBER, sorted_rows
from transforms.definition.definition import Source
from transforms.errors import FilesRefused

SOURCE = Source(
    files=("a",),
    columns={
        "customer_id": "customer",
        "activity_id": "bill",
        "occurred_at": "time",
        "amount": "sum",
    },
)


def chunk(first, bills, sums, customers=None):
    """Return rows as a reader gives them, the first with this number."""
    count = len(bills)
    return pl.DataFrame(
        {
            "customer": customers or ["7"] * count,
            "bill": bills,
            "time": ["2024-01-05T10:00:00Z"] * count,
            "sum": sums,
            ROW_NUMBER: range(first, first + count),
        },
        schema_overrides=dict.fromkeys(("customer", "bill", "time", "sum"), pl.String)
        | {ROW_NUMBER: pl.Int64},
    )


def written(folder, chunks):
    """Return the accepted rows, the rejected ones and the counts of some chunks."""
    with drafts_in(folder) as drafts:
        counts = write_accepted(
            iter(chunks), SOURCE, drafts, timezone="UTC", path="a.csv"
        )
        return (
            pl.read_parquet(drafts.accepted),
            pl.read_parquet(drafts.rejected),
            counts,
        )


# -- two threads decide about rows ----------------------------------------------


def test_rows_stay_in_their_order_when_a_later_chunk_is_decided_first(tmp_path):
    """A large chunk takes longer than the small ones behind it, and is before them."""
    large, small = 300_000, 5
    chunks, number = [], 2
    for count in (large, *[small] * 30):
        bills = [f"b{at}" for at in range(number, number + count)]
        bills[0] = "same"
        sums = ["1.50"] * (count - 1) + ["n/a"]
        chunks.append(chunk(number, bills, sums))
        number += count

    accepted, rejected, counts = written(tmp_path, chunks)

    assert accepted["row_number"].is_sorted()
    assert accepted["row_number"][0] == 2  # the first of the same id, and no other
    assert accepted.filter(pl.col("activity_id") == "same").height == 1
    assert rejected["row_number"].to_list() == [
        frame[ROW_NUMBER][-1] for frame in chunks
    ]
    assert counts["rows_accepted"] == large + 30 * small - 31 - 30
    assert counts["rows_duplicate"] == 30


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["7", "7", "8", " 9 ", "", "x", "0", "-1"]),
        st.sampled_from(["b1", "b2", " b1 ", "b3", "b4", "10", "9", ""]),
        st.sampled_from(["1.50", "2", "-3.25", "1e3", "", "n/a", "1.505"]),
    ),
    max_size=60,
)


@settings(max_examples=40)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=12))
def test_chunks_decided_side_by_side_are_what_they_are_as_one(
    tmp_path_factory, rows, cuts
):
    """However rows are cut into chunks, they are the ones that one decision gives."""
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]

    def of(some, first):
        customers, bills, sums = ([row[at] for row in some] for at in range(3))
        return chunk(first, bills, sums, customers)

    chunks = [of(rows[a:b], a + 2) for a, b in pairwise(edges)]
    accepted, rejected, counts = written(tmp_path_factory.mktemp("w"), chunks)

    whole = sorted_rows(of(rows, 2), SOURCE, timezone="UTC", path="a.csv")
    firsts = whole.accepted.unique("activity_id", keep="first", maintain_order=True)
    assert accepted.rows() == firsts.rows()
    assert rejected["row_number"].is_sorted()  # of one row, reasons come in any order
    assert sorted(rejected.rows()) == sorted(whole.rejected.rows())
    assert counts["rows_read"] == len(rows)
    assert counts["rows_accepted"] == firsts.height
    assert counts["rows_duplicate"] == whole.accepted.height - firsts.height
    assert counts["rows_rejected"] == whole.rows_rejected
    assert counts["rows_anonymous"] == whole.rows_anonymous


def test_few_chunks_are_held_at_once(tmp_path):
    """Reading waits for the deciding: the memory of a file is that of a few chunks."""
    held, most = set(), []

    def reading():
        for number in range(2, 202, 5):
            one = chunk(number, [f"b{number + at}" for at in range(5)], ["1.50"] * 5)
            held.add(number)
            weakref.finalize(one, held.discard, number)
            most.append(len(held))
            yield one
            del one

    _, _, counts = written(tmp_path, reading())

    assert counts["rows_read"] == 200
    assert max(most) <= 5


def test_a_file_that_breaks_in_its_midst_leaves_nothing(tmp_path):
    """Chunks that were decided before are given up with it, and nobody hangs."""

    def reading():
        for number in range(2, 52, 5):
            yield chunk(number, [f"b{number + at}" for at in range(5)], ["1.50"] * 5)
        raise FilesRefused.of("nul_byte", "a NUL byte", file="a.csv")

    with pytest.raises(FilesRefused, match="NUL byte"):
        written(tmp_path, reading())
    assert not list(tmp_path.iterdir())


# -- the digest of a large file is taken beside its rows -------------------------

HEADER = "customer,bill,time,sum\n"
ROWS_OF_A_FILE = (
    "7,b1,2024-01-05T10:00:00Z,1.50\n"
    "8,b2,2024-01-06T10:00:00Z,n/a\n"
    ",b3,2024-01-06T10:00:00Z,2.00\n"
    "9,b1,2024-01-07T10:00:00Z,2.00\n"
    "9,b4,2024-01-07T10:00:00Z,-2.25\n"
)
TEXT = HEADER + ROWS_OF_A_FILE
NEVER = 1 << 60  # bytes: the digest is taken before anything else


class Paced(type(Path())):
    """A path of which one reader waits for the other, and that may change meanwhile.

    The first to open it takes the digest, the second reads the rows.
    """

    def set_up(self, *, first_through, change=None, fails=False):
        """Say which of the two, "digest" or "rows", reads to its end before the other.

        With "writer" the digest waits until all rows are written. `change` is called
        when the first is through. Where the digest `fails`, the file can't be read to
        its end for it.
        """
        self.through, self.opened = Event(), []
        self.first, self.change, self.fails = first_through, change, fails
        return self

    def wait(self):
        """Wait for who comes first."""
        if self.first == "writer":
            drafts = self.parent / "home" / "accepted"
            while not any(  # the bad rows are written last
                path.stat().st_size > len("PAR1")
                for path in drafts.glob(".*.rejected.parquet")
            ):
                self.through.wait(0.01)
        else:
            assert self.through.wait(60)

    def open(self, *_arguments, **_options):
        """Open the file for one of its two readers."""
        role = ("digest", "rows")[len(self.opened)]
        self.opened.append(role)
        return Turn(self, role)


class Turn(io.BufferedReader):
    """A file that is read in turn with another reader of it."""

    def __init__(self, path, role):
        """Open the file for one of its readers."""
        super().__init__(io.FileIO(str(path)))
        self.path, self.role, self.count = path, role, 0

    def read(self, size=-1):
        """Read on, when it is one's turn."""
        if self.role == "rows" and self.path.first == "writer":
            return super().read(size)
        if self.role != self.path.first:
            self.path.wait()
        data = super().read(size)
        self.count += len(data)
        if not data and self.role == self.path.first:
            if self.path.change is not None:
                self.path.change()
            self.path.through.set()
        if not data and self.role == "digest" and self.path.fails:
            raise OSError(5, "Input/output error")
        return data


class Place:
    """A folder with activity files and a definition over them, and a home."""

    def __init__(self, folder):
        self.folder, self.home = folder, folder / "home" / "accepted"

    def put(self, name, content=TEXT):
        """Write an activity file."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def defined(self, name):
        """Return a definition over one file."""
        columns = ", ".join(f'{ours} = "{own}"' for ours, own in SOURCE.columns.items())
        return definition(
            head='name = "n"\ntimezone = "UTC"\n',
            activity=f'[activity]\nfiles = ["{name}"]\ncolumns = {{{columns}}}\n',
            badges=badge_text('{ kind = "activity_count", at_least = 1 }'),
            path=str(self.folder / "import.toml"),
        )

    def accept(self, name, *, beside_from=0, location=None):
        """Accept a file; it may be opened in another way than others are."""
        parsed = self.defined(name)
        (found,) = find_files(parsed)
        found = replace(found, location=location or found.location)
        return accept_file(found, parsed, self.home, beside_from=beside_from)

    def kept(self):
        """Return what a home holds, by name: counts, and the rows of tables."""
        if not self.home.exists():
            return {}
        return {
            path.name: orjson.loads(path.read_bytes())
            if path.suffix == ".json"
            else pl.read_parquet(path).to_dicts()
            for path in self.home.iterdir()
        }

    def refusal(self, name, **options):
        """Return the fault of a file that is refused."""
        with pytest.raises(FilesRefused) as caught:
            self.accept(name, **options)
        (fault,) = caught.value.faults
        return fault


@pytest.fixture
def place(tmp_path):
    """Return an empty folder."""
    return Place(tmp_path)


def paced(place, name, **options):
    """Return the path of a file whose two readers take turns."""
    return Paced(place.folder / name).set_up(**options)


def parquet():
    """Return the rows of the file as Parquet."""
    buffer = io.BytesIO()
    pl.read_csv(TEXT.encode(), infer_schema=False).write_parquet(buffer)
    return buffer.getvalue()


CONTENTS = {
    "a.csv": TEXT,
    "a.csv.gz": gzip.compress(TEXT.encode()),
    "a.ndjson": pl.read_csv(TEXT.encode(), infer_schema=False).write_ndjson(),
    "a.parquet": parquet(),
    "header.csv": HEADER,
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_new_file_is_kept_as_if_its_digest_had_come_first(tmp_path, name):
    """Name, digest, rows and counts are those of a file that was read twice."""
    homes = []
    for folder, beside_from in (("beside", 0), ("before", NEVER)):
        (tmp_path / folder).mkdir()
        one = Place(tmp_path / folder)
        content = one.put(name, CONTENTS[name]).read_bytes()
        file = one.accept(name, beside_from=beside_from)
        assert file.content == hashlib.sha256(content).hexdigest()
        assert file.is_read_now
        homes.append(one.kept())

    assert homes[0] == homes[1]
    assert len(homes[0]) == 3


@pytest.mark.parametrize("first", ["digest", "rows", "writer"])
def test_a_new_file_is_kept_whichever_reader_is_the_quicker(place, first):
    """The digest may come before the first row, and after the last."""
    path = place.put("a.csv")
    file = place.accept("a.csv", location=paced(place, "a.csv", first_through=first))
    assert file.content == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file.rows_read, file.rows_accepted, file.rows_duplicate) == (5, 2, 1)
    assert (file.rows_rejected, file.rows_anonymous, file.is_read_now) == (1, 1, True)


@pytest.mark.parametrize("first", ["digest", "rows", "writer"])
@pytest.mark.parametrize("name", ["a.csv", "b.csv"])
def test_a_file_that_turns_out_to_be_known_is_not_kept_twice(place, name, first):
    """Touched, or under another name: what is kept stays, untouched, and is taken."""
    place.put("a.csv")
    before = place.accept("a.csv", beside_from=NEVER)
    states = {path: path.stat() for path in place.home.iterdir()}
    place.put(name)

    again = place.accept(name, location=paced(place, name, first_through=first))

    assert again == replace(before, path=name, is_read_now=False)
    assert {path: path.stat() for path in place.home.iterdir()} == states


def test_a_large_file_that_is_known_is_not_read_to_its_end_for_its_rows(place):
    """As soon as the digest says so, the rows are given up."""
    padding = "x" * 100
    lines = [f"7,b{n}-{padding},2024-01-05T10:00:00Z,1.50\n" for n in range(280_000)]
    place.put("a.csv", HEADER + "".join(lines))
    parsed = place.defined("a.csv")
    (before,) = accept_files(parsed, place.home)
    (found,) = find_files(parsed)
    turns, path = [], paced(place, "a.csv", first_through="digest")

    class Counted(Paced):
        """A path that says how much was read of it."""

        def open(self, *arguments, **options):
            """Open the file and remember it."""
            turns.append(super().open(*arguments, **options))
            return turns[-1]

    counted = Counted(path).set_up(first_through="digest")
    again = accept_file(replace(found, location=counted), parsed, place.home)

    assert again == replace(before, is_read_now=False)
    digest, rows = turns
    assert digest.count == path.stat().st_size > 32 << 20
    assert rows.count < path.stat().st_size / 2


@pytest.mark.parametrize("first", ["digest", "rows"])
@pytest.mark.parametrize("change", ["grown", "replaced", "rewritten", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(place, change, first):
    """Rows of one content are never kept under the digest of another."""
    path = place.put("a.csv")
    other = TEXT.replace("1.50", "9.99")

    def changing():
        if change == "grown":
            path.write_text(TEXT + "9,b9,2024-01-07T10:00:00Z,1\n")
        elif change == "rewritten":  # to the same length
            path.write_text(other)
            os.utime(path, (1, 1))
        elif change == "replaced":
            place.put("new.csv", other).replace(path)
        else:
            path.unlink()

    location = paced(place, "a.csv", first_through=first, change=changing)
    fault = place.refusal("a.csv", location=location)

    said = {"gone": ("unreadable", "can't be read")}
    code, words = said.get(change, ("file_changed", "changed while it was read"))
    assert (fault.code, fault.file) == (code, "a.csv")
    assert words in fault.message
    assert place.kept() == {}


REFUSED = {
    "header.csv": "customer,bill,when,sum\n" + ROWS_OF_A_FILE,
    "empty.csv": "",
    "nul.csv": TEXT + "7,b\0,2024-01-07T10:00:00Z,1\n",
    "latin.csv": TEXT.encode() + b"7,b\xe9,2024-01-07T10:00:00Z,1\n",
    "quote.csv": TEXT + '7,"b9,2024-01-07T10:00:00Z,1\n',
    "cut.csv.gz": gzip.compress(TEXT.encode() * 50)[:-9],
    "cut.parquet": parquet()[:-9],
    "a.json": "{}",
}


@pytest.mark.parametrize("first", ["digest", "rows", None])
@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_leaves_nothing(place, name, first):
    """It is refused in the same words as before, and nothing of it stays."""
    place.put(name, REFUSED[name])
    expected = place.refusal(name, beside_from=NEVER)
    is_text = first is not None and name.endswith(".csv")
    location = paced(place, name, first_through=first) if is_text else None
    if location is not None and first == "rows":
        # Of a file that is refused the rows are not read to the end.
        location.through.set()
    assert place.refusal(name, location=location) == expected
    assert place.kept() == {}


def test_a_file_that_can_not_be_opened_is_refused(place):
    """Its name and the system's reason are told, and nothing stays."""
    place.put("a.csv")

    class Locked(type(Path())):
        """A path that nobody may open."""

        def open(self, *_arguments, **_options):
            """Refuse."""
            raise PermissionError(13, "Permission denied")

    location = Locked(place.folder / "a.csv")
    fault = place.refusal("a.csv", location=location)
    assert fault == place.refusal("a.csv", location=location, beside_from=NEVER)
    assert (fault.code, fault.message) == (
        "unreadable",
        "can't be read (Permission denied)",
    )
    assert not place.home.exists()


@pytest.mark.parametrize("first", ["digest", "rows"])
def test_a_file_of_which_no_digest_can_be_taken_is_refused(place, first):
    """A disk that fails while the digest is taken fails the file, whatever its rows."""
    place.put("a.csv")
    location = paced(place, "a.csv", first_through=first, fails=True)
    fault = place.refusal("a.csv", location=location)
    assert (fault.code, fault.message) == (
        "unreadable",
        "can't be read (Input/output error)",
    )
    assert place.kept() == {}


def test_who_leaves_has_the_reading_for_the_digest_given_up():
    """A refused file, or Ctrl-C, need not wait for the end of a large file."""
    with digest_beside(Path("/dev/zero"), lambda read: read()) as digest:
        assert not digest.done()
    assert digest.done()


def test_of_equal_files_the_first_counts_as_read_whichever_was_read(tmp_path):
    """Where files are accepted at once, a later one may be the quicker."""

    async def backwards(_name, function, calls, _told):
        return [function(*call) for call in reversed(calls)][::-1]

    with brand(tmp_path) as shop:
        shop.define()
        for name in ("a.csv", "b.csv"):
            (shop.folder / name).write_text(visits(range(1, 4)))
        parsed = read_definition(shop.definition)
        found = asyncio.run(accept(shop.work(), parsed, backwards))
        assert [file.is_read_now for file in found.files] == [True, False]
        again = asyncio.run(accept(shop.work(), parsed, backwards))
        assert [file.is_read_now for file in again.files] == [False, False]
