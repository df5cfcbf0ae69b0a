"""Finding, reading, accepting and keeping activity files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import stat
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from factories_definition import badge_text, definition
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.files.accepted_activity import load_activity, rejected_rows
from flows.files.accepting import drafts_in, write_accepted
from flows.files.activity_files import accept_file, accept_files
from flows.files.csv_rows import csv_rows
from flows.files.finding import EarlierFile, find_files
from flows.files.typed_rows import json_rows
from transforms.activity.accepted import accepted_schema
from transforms.activity.rows import LINE, LINE_FAULT, ROW_NUMBER, sorted_rows
from transforms.definition.definition import CsvFormat, Source
from transforms.errors import FilesRefused

COUNT = badge_text('{ kind = "activity_count", at_least = 1 }')
COLUMNS = (
    'customer_id = "customer", activity_id = "bill", occurred_at = "time", '
    'amount = "sum"'
)
HEADER = "customer,bill,time,sum\n"
ROWS = "1,b1,2024-01-05 10:00:00,1.50\n2,b2,2024-01-06 11:00:00,2.00\n"


class Place:
    """A folder with a definition and activity files, and a home beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.accepted = folder / "home" / "accepted"

    def put(self, name, content=HEADER + ROWS):
        """Write an activity file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def defined(self, *files, columns=COLUMNS, more="", timezone="UTC", rest=""):
        """Return a definition over files of the folder."""
        names = json.dumps(list(files) or ["*.csv"])
        return definition(
            head=f'name = "n"\ntimezone = "{timezone}"\n',
            activity=f"[activity]\nfiles = {names}\ncolumns = {{{columns}}}\n{more}\n",
            badges=COUNT,
            rest=rest,
            path=str(self.folder / "import.toml"),
        )

    def accept(self, *files, **settings):
        """Accept all files and return the definition with what became of them."""
        parsed = self.defined(*files, **settings)
        return parsed, accept_files(parsed, self.accepted)

    def rows(self, *files, **settings):
        """Return the activity of all files."""
        parsed, accepted = self.accept(*files, **settings)
        return load_activity(accepted, parsed).collect()

    def refusal(self, *files, **settings):
        """Return the faults of files that are refused."""
        parsed = self.defined(*files, **settings)
        with pytest.raises(FilesRefused) as caught:
            accept_files(parsed, self.accepted)
        return caught.value.faults


@pytest.fixture
def place(tmp_path):
    """Return an empty folder."""
    return Place(tmp_path)


def counts(file):
    """Return the books of a file, in their order, without those that are 0."""
    names = (
        *("read", "accepted", "anonymous", "unmapped"),
        *("excluded", "rejected", "duplicate"),
    )
    books = {name: getattr(file, f"rows_{name}") for name in names}
    assert books["read"] == sum(books.values()) - books["read"]
    return {name: count for name, count in books.items() if count}


# -- finding --------------------------------------------------------------------


def test_files_are_in_order_of_patterns_then_as_people_count(place):
    """Files should come by pattern, then file2 before file10, each once."""
    for name in ("b/f10.csv", "b/f2.csv", "b/f1.csv", "a/z.csv", "b/f02.csv"):
        place.put(name)
    found = find_files(place.defined("b/*.csv", "a/*.csv", "b/f1.csv", "**/z.csv"))
    assert [(file.path, file.file_order) for file in found] == [
        ("b/f1.csv", 0),
        ("b/f02.csv", 1),
        ("b/f2.csv", 2),
        ("b/f10.csv", 3),
        ("a/z.csv", 4),
    ]


def test_patterns_reach_beside_and_anywhere(place):
    """Patterns should go up from the definition's folder and may be absolute."""
    place.put("activity/a.csv")
    other = place.put("else/b.csv")
    inner = Place(place.folder / "imports")
    inner.folder.mkdir()
    found = find_files(inner.defined("../activity/*.csv", str(other)))
    assert [file.path for file in found] == ["../activity/a.csv", "../else/b.csv"]


def test_a_pattern_that_finds_nothing_is_refused(place):
    """Every pattern without a file should be named, a folder being no file."""
    place.put("a.csv")
    (place.folder / "d.csv").mkdir()
    faults = place.refusal("a.csv", "b*.csv", "d.csv")
    assert [fault.code for fault in faults] == ["no_files", "no_files"]
    assert "'b*.csv'" in faults[0].message
    assert "'d.csv'" in faults[1].message


def test_order_runs_on_over_sources(place):
    """Files of a later source should come after those of an earlier one."""
    place.put("a.csv")
    place.put("b.csv")
    parsed = definition(
        activity="".join(
            f'[[activity]]\nname = "{name}"\nfiles = ["{name}.csv"]\n'
            f"columns = {{ {COLUMNS} }}\n"
            for name in ("b", "a")
        ),
        badges=COUNT,
        path=str(place.folder / "import.toml"),
    )
    found = find_files(parsed)
    assert [(f.source, f.path, f.file_order) for f in found] == [
        ("b", "b.csv", 0),
        ("a", "a.csv", 1),
    ]


def earlier_of(files):
    """Return files as the ledger of a run knows them."""
    return [
        EarlierFile(source=f.source, path=f.path, fingerprint=f.fingerprint)
        for f in files
    ]


def missing(place, policy):
    """Return a definition over a*.csv with this `missing_files`."""
    parsed = place.defined("a*.csv")
    (source,) = parsed.sources
    source = source.model_copy(update={"missing_files": policy})
    return parsed.model_copy(update={"sources": (source,)})


def test_a_file_that_is_gone_is_refused(place):
    """A file that an earlier run stood on should be missed, unless not asked for."""
    path = place.put("a1.csv")
    place.put("a2.csv")
    parsed, files = place.accept("a*.csv")
    path.unlink()
    with pytest.raises(FilesRefused) as caught:
        find_files(parsed, earlier_of(files))
    assert [(f.code, f.file) for f in caught.value.faults] == [("file_gone", "a1.csv")]
    narrower = place.defined("a2*.csv")
    assert len(find_files(narrower, earlier_of(files))) == 1


def test_a_file_that_is_gone_can_be_forgotten(place):
    """With missing_files = "forget" a file that is gone should be left out."""
    place.put("a1.csv").unlink()
    place.put("a2.csv")
    gone = [EarlierFile(source="activity", path="a1.csv", fingerprint="0")]
    found = find_files(missing(place, "forget"), gone)
    assert [file.path for file in found] == ["a2.csv"]


def test_a_source_of_which_nothing_is_left_is_refused(place):
    """With every file forgotten no award has a reason: that is hardly meant."""
    gone = [EarlierFile(source="activity", path="a1.csv", fingerprint="0")]
    with pytest.raises(FilesRefused, match=r"all activity files .* are gone") as caught:
        find_files(missing(place, "forget"), gone)
    assert caught.value.faults[0].code == "no_files"


def test_a_file_that_is_gone_can_be_kept(place):
    """With missing_files = "keep" its accepted rows should go on counting in place."""
    path = place.put("a1.csv")
    place.put("a2.csv")
    parsed = missing(place, "keep")
    first = accept_files(parsed, place.accepted)
    path.unlink()
    found = find_files(parsed, earlier_of(first))
    again = [accept_file(file, parsed, place.accepted) for file in found]
    assert [(f.path, f.file_order, f.is_read_now) for f in again] == [
        ("a1.csv", 0, False),
        ("a2.csv", 1, False),
    ]
    assert [f.fingerprint for f in again] == [f.fingerprint for f in first]


def test_a_kept_file_must_be_what_is_asked_for(place):
    """Kept rows that are lost, or were read otherwise, should be refused."""
    place.put("a1.csv")
    parsed = missing(place, "keep")
    files = accept_files(parsed, place.accepted)
    (place.folder / "a1.csv").unlink()
    (found,) = find_files(parsed, earlier_of(files))
    (source,) = parsed.sources
    other = parsed.model_copy(
        update={"sources": (source.model_copy(update={"ambiguous": "latest"}),)}
    )
    with pytest.raises(FilesRefused, match="read with other settings"):
        accept_file(found, other, place.accepted)
    files[0].accepted_path.unlink()
    with pytest.raises(FilesRefused, match="no longer there"):
        accept_file(found, parsed, place.accepted)


@pytest.mark.parametrize(
    ("pattern", "is_asked_for"),
    [
        ("in/a.csv", True),
        ("in/*.csv", True),
        ("in/../in/a.csv", True),
        ("**/a.csv", True),
        ("**/*", True),
        ("in/**/a.csv", True),
        ("*.csv", False),
        ("in/b*.csv", False),
        ("in/a.csv.gz", False),
        ("in/**/b/*.csv", False),
    ],
)
def test_patterns_ask_for_files_that_are_not_there(place, pattern, is_asked_for):
    """A file that is gone should be missed by exactly the patterns that matched it."""
    place.put("in/b.csv")
    place.put("in/a.csv.gz", gzip.compress(TEXT.encode()))
    place.put("c.csv")
    place.put("in/x/b/c.csv")
    gone = [EarlierFile(source="activity", path="in/a.csv", fingerprint="0")]
    try:
        find_files(place.defined(pattern), gone)
        found = set()
    except FilesRefused as error:
        found = {fault.code for fault in error.faults}
    assert ("file_gone" in found) == is_asked_for


# -- the formats ----------------------------------------------------------------


def test_csv_becomes_typed_activity(place):
    """A plain CSV file should be loaded with our columns in their types."""
    place.put("a.csv")
    activity = place.rows()
    assert activity.schema == pl.Schema(
        {
            "customer_id": pl.Int64,
            "activity_id": pl.String,
            "occurred_at": pl.Datetime("us", "UTC"),
            "amount": pl.Int64,
            "row_number": pl.Int64,
            "source": pl.String,
            "file_order": pl.Int32,
        }
    )
    assert activity.rows() == [
        (1, "b1", datetime(2024, 1, 5, 10, tzinfo=UTC), 150, 2, "activity", 0),
        (2, "b2", datetime(2024, 1, 6, 11, tzinfo=UTC), 200, 3, "activity", 0),
    ]


TEXT = HEADER + ROWS
JSON = (
    '{"customer": 1, "bill": "b1", "time": "2024-01-05 10:00:00", "sum": 1.5}\n'
    '{"customer": "2", "bill": "b2", "time": "2024-01-06T11:00:00", "sum": "2"}\n'
)


def parquet(**columns):
    """Return a Parquet file as bytes."""
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def gzipped(text: str) -> bytes:
    """Return a text as gzip, without the time: test names are made of it."""
    return gzip.compress(text.encode(), mtime=0)


def zstd(data):
    """Return bytes compressed."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("a.csv", TEXT, ""),
        ("a.csv", TEXT.removesuffix("\n"), ""),
        ("a.csv", "\ufeff" + TEXT, ""),
        ("a.csv", TEXT.replace("\n", "\r\n"), ""),
        ("a.csv", TEXT.replace("\n", "\n\n"), ""),
        ("a.csv", "\n" + TEXT, ""),
        ("a.txt", TEXT.replace(",", "|"), 'format = { delimiter = "|" }'),
        ("a.tsv", TEXT.replace(",", "\t"), 'format = { delimiter = "\\t" }'),
        ("a.csv", TEXT.encode("utf-16"), 'format = { encoding = "utf-16" }'),
        ("a.csv", TEXT.replace(",b", ',"b').replace(",20", '","20')[:-1] + '"', None),
        ("a.csv", TEXT.replace("b1", "'b1'"), 'format = { quote = "\'" }'),
        ("a.csv.gz", gzipped(TEXT), ""),
        ("a.CSV.gz", gzipped(TEXT), ""),
        ("a.csv.zst", zstd(TEXT.encode()), ""),
        ("a.csv.gz", gzipped(HEADER) + gzipped(ROWS), ""),
        ("a.csv.zst", zstd(HEADER.encode()) + zstd(ROWS.encode()), ""),
        ("a.ndjson", JSON, ""),
        ("a.jsonl.gz", gzipped(JSON.replace("\n", "\r\n\n")), ""),
        (
            "a.parquet",
            parquet(
                customer=[1, 2],
                bill=["b1", "b2"],
                time=[datetime(2024, 1, 5, 10), datetime(2024, 1, 6, 11)],  # noqa: DTZ001
                sum=[1.5, 2.0],
                unmapped=[[1], [2]],
            ),
            "",
        ),
    ],
)
def test_every_format_gives_the_same_activity(place, name, content, more):
    """The same rows should be accepted from every format that is read."""
    if more is None:  # quotes around some fields only
        more, content = "", TEXT.replace("b1", '"b1"').replace("2.00", '"2.00"')
    place.put(name, content)
    activity = place.rows(name, more=more)
    assert activity.select("customer_id", "activity_id", "amount").rows() == [
        (1, "b1", 150),
        (2, "b2", 200),
    ]
    assert activity["occurred_at"].to_list() == [
        datetime(2024, 1, 5, 10, tzinfo=UTC),
        datetime(2024, 1, 6, 11, tzinfo=UTC),
    ]


def test_unknown_ending_is_refused(place):
    """A file whose name says no format should be refused with what is read."""
    place.put("a.xlsx")
    (fault,) = place.refusal("a.xlsx")
    assert fault.code == "unknown_format"
    assert ".parquet" in fault.message


def test_latin_1_letters_survive(place):
    """Letters of another encoding should arrive as they are."""
    content = (HEADER + ROWS).replace("b1", "Grün").encode("latin-1")
    place.put("a.csv", content)
    activity = place.rows(more='format = { encoding = "latin-1" }')
    assert activity["activity_id"][0] == "Grün"


def test_headerless_columns_by_position(place):
    """Without a header columns should be found by position, rows counting from 1."""
    place.put("a.csv", ROWS)
    activity = place.rows(
        columns='customer_id = "1", occurred_at = "3"',
        more="format = { header = false }",
    )
    assert activity.select("customer_id", "row_number", "activity_id").rows() == [
        (1, 1, "a.csv:1"),
        (2, 2, "a.csv:2"),
    ]


def test_decimal_comma_and_nulls(place):
    """Amounts should follow the decimal sign, and null words should be no values."""
    place.put(
        "a.csv",
        "customer;bill;time;sum;note\n1;b1;2024-01-05;1,5;NULL\n2;b2;2024-01-05;-;x\n",
    )
    activity = place.rows(
        columns=COLUMNS + ', note = "note"',
        more='format = { delimiter = ";", decimal = ",", nulls = ["", "NULL", "-"] }',
    )
    assert activity.select("amount", "note").rows() == [(150, None), (None, "x")]


def test_columns_joined_constants_and_types(place):
    """Lists should be joined unmistakably; constants and types should hold."""
    place.put(
        "a.csv",
        "c,store,bill,day,clock,n\n"
        "1,a|b,c,2024-01-05,10:00,5\n"
        "2,a,b|c,2024-01-05,11:00,\n"
        "3,a,\\b,2024-01-05,12:00,x\n",
    )
    columns = (
        'customer_id = "c", activity_id = ["store", "bill"], '
        'occurred_at = ["day", "clock"], n = "n"'
    )
    more = 'constants = { channel = "shop" }\ntypes = { n = "integer" }'
    parsed, files = place.accept(
        columns=columns, more=more, rest="[quality]\nmax_rejected_share = 1"
    )
    activity = load_activity(files, parsed).collect()
    assert activity.select("activity_id", "n", "channel").rows() == [
        ("a\\|b|c", 5, "shop"),
        ("a|b\\|c", None, "shop"),
    ]
    assert activity["occurred_at"][1] == datetime(2024, 1, 5, 11, tzinfo=UTC)
    (line,) = rejected_rows(files).rows()
    assert line == ("a.csv", 4, "n", "n: not a whole number", "x")
    schema = accepted_schema(parsed.sources[0])
    assert list(schema)[-2:] == ["n", "channel"]


def test_typed_parquet_columns(place):
    """Typed columns of a Parquet file should be taken by what they are."""
    place.put(
        "a.parquet",
        parquet(
            c=pl.Series([5.0, 6.5, None], dtype=pl.Float64),
            bill=pl.Series([7, 8, 9], dtype=pl.UInt32),
            t=pl.Series([date(2024, 3, 31)] * 3),
            sum=pl.Series([Decimal("1.20")] * 3, dtype=pl.Decimal(9, 2)),
            kind=pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            n=pl.Series([1, 2, 3], dtype=pl.Int8),
            ok=[True, False, None],
            nothing=[None, None, None],
        ),
    )
    parsed, files = place.accept(
        "a.parquet",
        timezone="Europe/Berlin",
        columns='customer_id = "c", activity_id = "bill", occurred_at = "t", '
        'amount = "sum", kind = "kind", n = "n", ok = "ok", nothing = "nothing"',
        more='types = { n = "integer", ok = "boolean" }',
        rest="[quality]\nmax_rejected_share = 1",
    )
    assert counts(files[0]) == {"read": 3, "accepted": 1, "anonymous": 1, "rejected": 1}
    (row,) = load_activity(files, parsed).collect().to_dicts()
    assert row["activity_id"] == "7"
    assert row["occurred_at"] == datetime(2024, 3, 30, 23, tzinfo=UTC)
    assert (row["amount"], row["kind"], row["n"]) == (120, "a", 1)
    assert (row["ok"], row["nothing"]) == (True, None)


def test_coded_text_is_read_as_text(place):
    """A categorical customer id should be its text, never its code."""
    ids = pl.Series(["700", "x"], dtype=pl.Categorical)
    place.put("a.parquet", parquet(c=ids, t=["2024-01-05"] * 2))
    _, files = place.accept("a.parquet", columns='customer_id = "c", occurred_at = "t"')
    assert counts(files[0]) == {"read": 2, "accepted": 1, "rejected": 1}
    assert pl.read_parquet(files[0].accepted_path)["customer_id"].to_list() == [700]


def test_a_column_mapped_twice_must_fit_both(place):
    """A column that two of ours are mapped to should be checked for each."""
    place.put("a.parquet", parquet(c=[date(2024, 1, 5)], t=["2024-01-05"]))
    columns = 'customer_id = "c", occurred_at = "t", note = "c"'
    (fault,) = place.refusal("a.parquet", columns=columns)
    assert (fault.code, fault.column) == ("column_type", "c")
    assert "customer_id" in fault.message


@pytest.mark.parametrize("name", ["a.csv", "a.ndjson"])
def test_a_line_without_end_is_refused(place, name):
    """A line that grows without end should be refused before it fills the memory."""
    begin = HEADER.encode() if name == "a.csv" else b""
    place.put(name, begin + b'"' + b"x" * (65 << 20))
    (fault,) = place.refusal(name)
    assert fault.code == "long_line"


@pytest.mark.parametrize(
    ("column", "values", "more"),
    [
        ("c", [["1"], ["2"]], ""),
        ("c", [True, False], ""),
        ("t", [1, 2], ""),
        ("t", [1.5, 2.5], ""),
        ("t", [True, False], ""),
        ("t", [date(2024, 1, 1)] * 2, 'occurred_at_format = "epoch_seconds"'),
        ("sum", [date(2024, 1, 1)] * 2, ""),
        ("n", [b"x", b"y"], ""),
        ("n", [1.5, 2.5], 'types = { n = "date" }'),
        ("n", ["x", "y"], None),
    ],
)
def test_parquet_columns_of_a_wrong_type_are_refused(place, column, values, more):
    """A column whose type can't be what it is mapped to should be refused by name."""
    columns = {
        "c": [1, 2],
        "t": [datetime(2024, 1, 1)] * 2,  # noqa: DTZ001
        "sum": [1, 2],
        "n": ["x", "y"],
    }
    mapped = (
        'customer_id = "c", occurred_at = "t", amount = "sum", further = "n"'
        if more is not None
        else 'customer_id = "c", occurred_at = "t", further = "m"'
    )
    place.put("a.parquet", parquet(**{**columns, column: values}))
    more = (more or "").replace("n =", "further =")
    (fault,) = place.refusal("a.parquet", columns=mapped, more=more)
    is_missing = "m" in mapped.rsplit("further", 1)[1]
    assert fault.code == ("column_missing" if is_missing else "column_type")
    assert fault.column == ("m" if is_missing else column)


def test_json_values(place):
    """JSON numbers, booleans and nulls should be read; broken lines are rejected."""
    lines = [
        {"c": 553162563, "t": 1704448800, "sum": 0.1 + 0.2, "x": True},
        {"c": 5.0, "t": 1704448800, "sum": 19.99, "x": 1.5},
        {"c": "6", "t": "1704448800", "sum": None},
        {"c": 7, "t": 1704448800, "sum": 1.005},
        {"c": 8, "t": 1704448800, "sum": [1]},
        {"c": 2**64, "t": 1704448800},
        {"c": None, "t": 1704448800, "x": "é"},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"c": 1\n[1]\n\n'
    place.put("a.ndjson", text)
    parsed, files = place.accept(
        "a.ndjson",
        columns='customer_id = "c", occurred_at = "t", amount = "sum", x = "x"',
        more='occurred_at_format = "epoch_seconds"',
        rest="[quality]\nmax_rejected_share = 1",
    )
    assert counts(files[0]) == {"read": 9, "accepted": 3, "anonymous": 1, "rejected": 5}
    activity = load_activity(files, parsed).collect()
    assert activity.select("customer_id", "amount", "x", "row_number").rows() == [
        (553162563, 30, "true", 1),
        (5, 1999, "1.5", 2),
        (6, None, None, 3),
    ]
    assert [
        (row["row_number"], row["reason"]) for row in rejected_rows(files).to_dicts()
    ] == [
        (4, "amount: more than 2 decimals"),
        (5, "line: 'sum' is a list or an object, not a value"),
        (6, "customer_id: not from 1 to 9223372036854775807"),
        (8, "line: no JSON"),
        (9, "line: no JSON object"),
    ]


def test_json_without_a_mapped_column_is_refused(place):
    """A key that no line has should be refused as a missing column."""
    place.put("a.ndjson", '{"c": 1, "t": "2024-01-05"}\n')
    (fault,) = place.refusal(
        "a.ndjson", columns='customer_id = "c", occurred_at = "t", store = "s"'
    )
    assert (fault.code, fault.column) == ("column_missing", "s")


def test_json_lines_come_in_chunks(tmp_path):
    """Lines beyond one chunk should keep their numbers."""
    path = tmp_path / "a.ndjson"
    path.write_text('{"c":1,"t":"x"}\n' * 250_001)
    source = Source(files=("a",), columns={"customer_id": "c", "occurred_at": "t"})
    chunks = list(json_rows(path, source, shown="a"))
    assert len(chunks) == 3
    numbers = pl.concat(chunks)[ROW_NUMBER]
    assert numbers.to_list() == list(range(1, 250_002))


# -- broken lines ---------------------------------------------------------------


def test_ragged_lines_are_rejected_with_their_row(place):
    """Lines with too few or too many fields should be rejected, blank ones skipped."""
    place.put(
        "a.csv",
        HEADER
        + "1,b1,2024-01-05,1\n"
        + "2,b2,2024-01-05\n"
        + "\n"
        + "3,b3,2024-01-05,1,\n"
        + "4,b4,2024-01-05,1,x,y\n"
        + "   \n"
        + "5\n"
        + "6,b6,2024-01-05,\n",
    )
    parsed, files = place.accept(rest="[quality]\nmax_rejected_share = 1")
    activity = load_activity(files, parsed).collect()
    assert activity.select("customer_id", "row_number").rows() == [(1, 2), (6, 9)]
    assert counts(files[0]) == {"read": 6, "accepted": 2, "rejected": 4}
    assert rejected_rows(files).select("row_number", "reason", "value").rows() == [
        (3, "line: 3 fields instead of 4", "2,b2,2024-01-05"),
        (5, "line: more than 4 fields", "3,b3,2024-01-05,1,"),
        (6, "line: more than 4 fields", "4,b4,2024-01-05,1,x"),
        (8, "line: 1 fields instead of 4", "5"),
    ]


def test_rows_are_logical_and_quoted_line_breaks_are_no_rows(place):
    """A line break inside quotes should not count as a row."""
    place.put(
        "a.csv",
        "customer,note,bill,time,sum\n"
        '1,"a\nb\n\nc",b1,2024-01-05,1\n'
        "2,x,b2,2024-01-05,1\n",
    )
    activity = place.rows(columns=COLUMNS + ', note = "note"')
    assert activity.select("row_number", "note").rows() == [(2, "a\nb\n\nc"), (3, "x")]


def test_quotes_inside_fields_are_kept(place):
    """A quote inside an unquoted field should stay there and swallow no rows."""
    lines = [f'{n},b{n} 5" pipe,2024-01-05,1\n' for n in range(1, 8)]
    place.put("a.csv", HEADER + "".join(lines))
    activity = place.rows()
    assert activity["activity_id"].to_list() == [f'b{n} 5" pipe' for n in range(1, 8)]
    assert activity["row_number"].to_list() == list(range(2, 9))


def test_mixed_line_ends(place):
    """A file of both kinds of line ends should be read whole, quotes or not."""
    place.put("a.csv", HEADER + "1,b1,2024-01-05,1\r\n2,b2,2024-01-05,1\n")
    place.put("b.csv", HEADER + '3,"b\n3",2024-01-05,1\r\n4,b4,2024-01-05,1\n')
    assert place.rows("a.csv")["customer_id"].to_list() == [1, 2]
    assert place.rows("b.csv")["activity_id"].to_list() == ["b\n3", "b4"]


@pytest.mark.parametrize(
    ("content", "code", "row"),
    [
        (b"", "empty_file", None),
        (b"\n\n", "empty_file", None),
        (b"\xef\xbb\xbf", "empty_file", None),
        (HEADER.encode() + b"1,b\xff1,2024-01-05,1\n", "wrong_encoding", 2),
        (HEADER.encode() + b"1,b1,2024-01-05,1\n2,\xc3", "wrong_encoding", 3),
        (HEADER.encode() + b"1,b1,2024-01-05,1\n2,b\x002,2024,1\n", "nul_byte", 3),
        (TEXT.encode("utf-16-le"), "nul_byte", 1),
        (HEADER.encode() + b'1,b1,2024,1\n2,"b2,2024,1\n3,b3,2024,1\n', "bad_quote", 3),
        (HEADER.encode() + b'1,"b1"x,2024-01-05,1\n', "bad_quote", 2),
        (b'customer,"bill\n1,b1\n', "bad_header", 1),
        (b"customer,bill,time\n1,b1,2024-01-05\n", "column_missing", 1),
        (b"customer;bill;time;sum\n1;b1;2024-01-05;1\n", "column_missing", 1),
        (b"customer,bill,time,sum,sum\n1,b1,2024-01-05,1,1\n", "column_doubled", 1),
    ],
)
def test_files_that_are_not_as_declared_are_refused(place, content, code, row):
    """A file that can't be read as declared should be refused with place and key."""
    place.put("a.csv", content)
    fault = place.refusal()[0]
    assert (fault.code, fault.row, fault.file) == (code, row, "a.csv")
    assert not list(place.accepted.iterdir())


def test_utf16_that_does_not_say_which_is_refused(place):
    """UTF-16 without its mark could be either of two: a refusal, no traceback."""
    place.put("a.csv", (HEADER + ROWS).encode("utf-16-be"))
    (fault,) = place.refusal(more='format = { encoding = "utf-16" }')
    assert (fault.code, fault.row) == ("wrong_encoding", 1)
    assert "00 63" in fault.message


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_the_mark_of_utf8_says_what_a_file_is(place, encoding):
    """A file that begins with UTF-8's mark is UTF-8, whatever the others are."""
    place.put("a.csv", (HEADER + "1,é中,2024-01-05,1\n").encode("utf-8-sig"))
    rows = place.rows(more=f'format = {{ encoding = "{encoding}" }}')
    assert rows["activity_id"].to_list() == ["é中"]


def test_a_mark_inside_a_file_is_a_letter(place):
    """Only the first three bytes of a file can be its mark."""
    place.put("a.csv", HEADER + "\ufeff1,b1,2024-01-05,1\n\ufeff\n")
    _, (file,) = place.accept()
    assert counts(file) == {"read": 2, "rejected": 2}


def test_blank_lines_before_the_first_row_count_once(place):
    """Without a header too, a row has the number that an editor shows."""
    place.put("a.csv", "\n\n1,2024-01-05\n")
    rows = place.rows(
        columns='customer_id = "1", occurred_at = "2"',
        more="format = { header = false }",
    )
    assert rows["row_number"].to_list() == [3]


def test_odd_carriage_returns_never_become_part_of_a_value(place):
    """Lines that end twice are lines; a return inside a bare field is refused."""
    columns = COLUMNS + ', word = "word"'
    text = "customer,bill,time,sum,word\r\n1,b1,2024-01-05,1,x\r\r\n"
    place.put("a.csv", text)
    assert place.rows(columns=columns)["word"].to_list() == ["x"]
    place.put("a.csv", HEADER + "1,b\r1,2024-01-05,1\n")
    (fault,) = place.refusal()
    assert (fault.code, fault.row) == ("bad_quote", 2)


@pytest.mark.parametrize(
    "lines",
    [
        ['"1","b1","2024-01-05","1"', '"2",b2","2024-01-06",","3"'],
        ['"1","b1,"2024-01-05","1"', '"1"""b1","2024-01-05","","b1"'],
        ['"1","b"1","2024-01-05","1"'],
        ['"1","b1"x,"2024-01-05","1"'],
        ['1,b"1,2024-01-05,"1"', '2,b"2,2024-01-05,"1"x'],
    ],
)
def test_quotes_where_they_should_not_be_make_no_rows(place, lines):
    """What Python's csv can't take apart is refused, and never guessed at."""
    place.put("a.csv", "\n".join([HEADER.strip(), *lines, ""]))
    (fault,) = place.refusal()
    assert fault.code == "bad_quote"


def test_long_whole_numbers_in_json_are_exact(place):
    """Ids of more than 64 bits are not rounded to one and the same."""
    ids = [2**64 + 1, 2**64 + 2, -(2**70), 10**300]
    lines = [f'{{"c": 1, "b": {one}, "t": "2024-01-05"}}' for one in ids]
    place.put("a.ndjson", "\n".join(lines))
    columns = 'customer_id = "c", activity_id = "b", occurred_at = "t"'
    rows = place.rows("a.ndjson", columns=columns)
    assert rows["activity_id"].to_list() == [str(one) for one in ids]


def test_refusal_says_which_key_to_change(place):
    """A refusal should name the key of the definition that may be wrong."""
    place.put("a.csv", b"custmer;bill;time;sum\n")
    faults = place.refusal()
    assert {fault.column for fault in faults} == {"customer", "bill", "time", "sum"}
    assert all("format.delimiter" in fault.message for fault in faults)
    place.put("a.csv", HEADER.replace("customer", "custmer"))
    (fault,) = place.refusal()
    assert "did you mean 'custmer'" in fault.message
    assert "columns.customer_id" in fault.message
    place.put("a.csv", HEADER.encode() + b"\xff")
    assert "format.encoding" in place.refusal()[0].message


def test_doubled_column_that_is_not_mapped_is_no_matter(place):
    """A name that stands twice should only be refused where it is mapped."""
    place.put("a.csv", "x,customer,x,time\n,1,,2024-01-05\n")
    columns = 'customer_id = "customer", occurred_at = "time"'
    assert place.rows(columns=columns).height == 1


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_truncated_compression_is_refused(place, name):
    """Compressed files that are cut off or no such files should be refused."""
    text = HEADER + "".join(f"{n},b{n},2024-01-05,1\n" for n in range(1, 5000))
    compress = gzip.compress if name.endswith("gz") else zstd
    whole = compress(text.encode())
    for content in (whole[: len(whole) // 2], whole[:-3], b"no compression", TEXT):
        place.put(name, content)
        (fault,) = place.refusal(name)
        assert fault.code == "broken_compression", content[:10]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", None])
def test_broken_parquet_is_refused(place, content):
    """A Parquet file that is cut off, or none, should be refused."""
    whole = parquet(c=list(range(1000)), t=["2024-01-05"] * 1000)
    place.put("a.parquet", whole[:-20] if content is None else content)
    (fault,) = place.refusal("a.parquet", columns='customer_id = "c", occurred_at="t"')
    assert (fault.code, fault.file) == ("broken_parquet", "a.parquet")


def test_header_alone_has_no_rows(place):
    """A file with nothing but its header should be accepted with no rows."""
    place.put("a.csv", HEADER)
    _, files = place.accept()
    assert counts(files[0]) == {}


ALPHABETS = st.sampled_from(['ab ,;"', 'a"\n,', 'é中\U0001f600,"', "a\t|,'\n"])


@st.composite
def tables(draw):
    """Return rows of random text, some of them too short or too long."""
    alphabet = draw(ALPHABETS)
    field = st.text(alphabet, max_size=6)
    row = st.lists(field, min_size=1, max_size=5) | st.lists(
        field, min_size=3, max_size=3
    )
    return draw(st.lists(row, max_size=12))


@settings(max_examples=300, deadline=None)
@given(
    rows=tables(),
    style=st.tuples(
        st.sampled_from(",;\t"),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ),
    has_last_end=st.booleans(),
    block=st.sampled_from([4, 9, 50, 10_000]),
)
def test_csv_is_read_as_it_was_written(
    tmp_path_factory, rows, style, has_last_end, block
):
    """Whatever a CSV writer writes should come back: every field, every row number."""
    delimiter, end, quoting = style
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([["x", "y", "z"], *rows])
    written = text.getvalue()
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes((written if has_last_end else written.removesuffix(end)).encode())
    source = Source(
        files=("a",),
        columns={"customer_id": "x", "occurred_at": "y", "z": "z"},
        format=CsvFormat(delimiter=delimiter),
    )
    chunks = list(csv_rows(path, source, shown="a", block=block))
    found = pl.concat(chunks)
    whole = found.filter(pl.col(LINE_FAULT).is_null())
    numbered = list(enumerate(rows, start=2))
    assert whole.select(ROW_NUMBER, "x", "y", "z").rows() == [
        (number, *row) for number, row in numbered if len(row) == 3
    ]
    broken = found.filter(pl.col(LINE_FAULT).is_not_null())
    assert broken[ROW_NUMBER].to_list() == [
        number
        for number, row in numbered
        if len(row) != 3 and (len(row) > 3 or delimiter.join(row).strip())
    ]
    short = broken.filter(pl.col(LINE_FAULT).str.contains("instead"))
    assert short[LINE].to_list() == [
        delimiter.join(row)
        for _, row in numbered
        if len(row) < 3 and delimiter.join(row).strip()
    ]


DIRTY = {
    "x": st.sampled_from(["7", "7", "7", "12", "007", "+7", " 7", "", "0", "x"]),
    "y": st.sampled_from(
        [
            *["2024-01-05T10:00:00Z"] * 4,
            "2024-01-05T10:00:60Z",
            "2024- 1- 5T10:00:00Z",
            "2024-02-30T10:00:00Z",
            "2024-01-05",
            "",
        ]
    ),
    "z": st.sampled_from(["1.50", "1.50", "-2.25", "1", "1.500", "1e3", " 3.00 ", ""]),
}


@st.composite
def dirty_rows(draw):
    """Return rows of which some are bad, too short, too long or blank."""
    whole = st.tuples(*DIRTY.values()).map(list)
    row = st.one_of(*[whole] * 8, st.lists(st.sampled_from("17 "), max_size=4))
    return draw(st.lists(row.filter(lambda fields: fields != [""]), max_size=12))


@settings(max_examples=100, deadline=None)
@given(
    rows=dirty_rows(),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([30, 90, 10_000]),
)
def test_quotes_change_nothing(tmp_path_factory, rows, end, block):
    """Rows proved by their bytes should be those that are proved one by one."""
    source = Source(
        files=("a",),
        columns={"customer_id": "x", "occurred_at": "y", "amount": "z"},
    )
    path = tmp_path_factory.getbasetemp() / "quoted.csv"
    found = []
    for quote in ("", '"'):
        lines = [",".join(f"{quote}{field}{quote}" for field in row) for row in rows]
        path.write_bytes("".join(line + end for line in ["x,y,z", *lines]).encode())
        chunks = pl.concat(csv_rows(path, source, shown="a", block=block))
        rows_of = sorted_rows(chunks, source, timezone="UTC", path="a")
        found.append(
            (
                rows_of.accepted.rows(),
                rows_of.rejected.rows(),
                (rows_of.rows_read, rows_of.rows_anonymous, rows_of.rows_rejected),
            )
        )
    assert found[0] == found[1]


# -- accepting and keeping ------------------------------------------------------


def test_a_kept_file_is_not_read_again(place):
    """A file should be read once, however often it is accepted, under any name."""
    path = place.put("a.csv")
    _, (first,) = place.accept()
    _, (again,) = place.accept()
    assert (first.is_read_now, again.is_read_now) == (True, False)
    assert counts(again) == counts(first) == {"read": 2, "accepted": 2}
    assert first.accepted_path.stat().st_ino == again.accepted_path.stat().st_ino
    path.rename(place.folder / "b.csv")
    _, (renamed,) = place.accept()
    assert (renamed.is_read_now, renamed.path) == (False, "b.csv")


@pytest.mark.parametrize(
    "settings",
    [
        {"more": 'ambiguous = "latest"'},
        {"more": "amount_decimals = 3"},
        {"more": 'constants = { a = "b" }'},
        {"timezone": "Europe/Berlin"},
        {"more": 'timezone = "Europe/Berlin"'},
        {"columns": COLUMNS + ', x = "sum"'},
        {"more": 'format = { nulls = ["x"] }'},
    ],
)
def test_other_settings_read_the_file_again(place, settings):
    """A setting that may change what is accepted should make a file unread."""
    place.put("a.csv")
    _, (first,) = place.accept()
    _, (other,) = place.accept(**settings)
    assert other.is_read_now
    assert other.fingerprint != first.fingerprint


def test_changed_content_is_read_again(place):
    """A file whose content changed should be read again."""
    place.put("a.csv")
    place.accept()
    place.put("a.csv", TEXT + "3,b3,2024-01-07,1\n")
    _, (file,) = place.accept()
    assert file.is_read_now
    assert file.rows_read == 3


def test_settings_that_do_not_matter_keep_the_file(place):
    """The name of the source, and a zone said twice, should not read a file again."""
    place.put("a.csv")
    place.accept()
    _, (file,) = place.accept(more='name = "shop"\ntimezone = "UTC"')
    assert not file.is_read_now


def test_rows_without_id_are_named_by_their_file(place):
    """Without activity_id an id should be file and row, and move with the file."""
    path = place.put("a.csv")
    columns = 'customer_id = "customer", occurred_at = "time"'
    assert place.rows(columns=columns)["activity_id"].to_list() == [
        "a.csv:2",
        "a.csv:3",
    ]
    path.rename(place.folder / "b.csv")
    assert place.rows(columns=columns)["activity_id"].to_list() == [
        "b.csv:2",
        "b.csv:3",
    ]


def test_home_is_private_and_holds_whole_files_only(place):
    """Accepted files should be readable by their owner only, with no drafts left."""
    place.put("a.csv")
    _, (file,) = place.accept()
    names = sorted(path.name for path in place.accepted.iterdir())
    assert names == sorted(
        f"{file.fingerprint}{ending}"
        for ending in (".json", ".parquet", ".rejected.parquet")
    )
    for path in place.accepted.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.accepted.stat().st_mode) == 0o700


def test_a_record_of_another_version_is_read_again(place):
    """Counts that this version did not write should make a file unread."""
    place.put("a.csv")
    for record in (b"{}", b'{"rows": 1}', b"{"):
        _, (file,) = place.accept()
        (place.accepted / f"{file.fingerprint}.json").write_bytes(record)
        _, (again,) = place.accept()
        assert again.is_read_now


def test_a_half_kept_file_is_read_again(place):
    """An accepted file that lacks a part should be made anew."""
    place.put("a.csv")
    _, (file,) = place.accept()
    file.rejected_path.unlink()
    _, (again,) = place.accept()
    assert again.is_read_now
    assert again.rejected_path.is_file()


def test_a_file_that_grows_while_it_is_read_is_refused(place):
    """A file that changes between digest and end of reading should be refused."""
    path = place.put("a.csv")
    parsed = place.defined()
    (found,) = find_files(parsed)

    class Growing(type(found.location)):
        """A path whose file grows when it is opened for the second time."""

        opened = 0

        def open(self, *arguments, **options):
            """Open the file; on the second time a row has been added before."""
            Growing.opened += 1
            if Growing.opened == 2:
                path.write_text(TEXT + "3,b3,2024-01-07,1\n")
            return super().open(*arguments, **options)

    growing = type(found)(
        source=found.source,
        path=found.path,
        location=Growing(found.location),
        file_order=0,
    )
    with pytest.raises(FilesRefused, match="changed while it was read"):
        accept_file(growing, parsed, place.accepted)
    assert not list(place.accepted.iterdir())


def test_unreadable_file_is_refused(place):
    """A file that vanished after it was found should be refused by name."""
    path = place.put("a.csv")
    parsed = place.defined()
    (found,) = find_files(parsed)
    path.unlink()
    with pytest.raises(FilesRefused, match=r"a\.csv: can't be read"):
        accept_file(found, parsed, place.accepted)


def test_duplicates_are_counted_and_the_first_accepted_stays(place):
    """A repeated id should be a duplicate of the first row that was accepted."""
    place.put(
        "a.csv",
        HEADER
        + "x,b1,2024-01-05,1\n"  # rejected, so not the first
        + ",b1,2024-01-05,2\n"  # anonymous, so not either
        + "1,b1,2024-01-05,3\n"
        + "2,b1,2024-01-05,4\n"
        + "3,b2,2024-01-05,5\n"
        + "1, b1 ,2024-01-05,6\n",
    )
    parsed, files = place.accept(rest="[quality]\nmax_rejected_share = 1")
    assert counts(files[0]) == {
        "read": 6,
        "accepted": 2,
        "anonymous": 1,
        "rejected": 1,
        "duplicate": 2,
    }
    activity = load_activity(files, parsed).collect()
    assert activity.select("customer_id", "amount").rows() == [(1, 300), (3, 500)]


@pytest.mark.parametrize(
    ("chunks", "duplicates"),
    [
        ([["1", "2"], ["3"]], 0),
        ([["1", "2"], [], ["2", "3"]], 1),
        ([["1", "2"], ["1"], ["2"]], 2),
        ([["9", "10"], ["9"]], 1),
        ([["2", "1"], ["3"]], 0),
    ],
)
def test_duplicates_hold_from_one_chunk_to_the_next(tmp_path, chunks, duplicates):
    """An id should be known in the next chunk, whether ids ascend or not."""
    source = Source(
        files=("a",),
        columns={"customer_id": "x", "activity_id": "y", "occurred_at": "z"},
    )
    rows, number = [], 2
    for ids in chunks:
        frame = pl.DataFrame({"y": ids}, schema={"y": pl.String}).with_columns(
            pl.lit("7").alias("x"), pl.lit("2024-01-05").alias("z")
        )
        numbers = pl.int_range(number, number + len(ids), eager=True)
        rows.append(frame.with_columns(numbers.alias(ROW_NUMBER)))
        number += len(ids)
    with drafts_in(tmp_path) as drafts:
        counted = write_accepted(iter(rows), source, drafts, timezone="UTC", path="a")
    assert counted["rows_duplicate"] == duplicates


def test_duplicates_hold_across_chunks(place):
    """An id at the end of a long file should be known from its beginning."""
    count = 600_000
    ids = pl.int_range(count, eager=True).cast(pl.String)
    ids[count - 1] = "0"
    ids[count - 2] = "300000"
    place.put(
        "a.parquet",
        parquet(
            customer=pl.int_range(1, count + 1, eager=True),
            bill=ids,
            time=pl.repeat(datetime(2024, 1, 5), count, eager=True),  # noqa: DTZ001
            sum=pl.repeat(1, count, eager=True),
        ),
    )
    parsed, files = place.accept("a.parquet")
    assert counts(files[0]) == {"read": count, "accepted": count - 2, "duplicate": 2}
    rows = load_activity(files, parsed).select("row_number").collect().to_series()
    assert rows.to_list() == list(range(1, count - 1))


def test_without_id_equal_rows_all_count(place):
    """Without activity_id no row should be a duplicate, equal ones included."""
    place.put("a.csv", HEADER + "1,b,2024-01-05,1\n" * 3)
    _, files = place.accept(columns='customer_id = "customer", occurred_at = "time"')
    assert counts(files[0]) == {"read": 3, "accepted": 3}


def test_same_content_twice_is_refused_without_ids_only(place):
    """Two files of one content should be refused where no id tells rows apart."""
    place.put("a.csv")
    place.put("b.csv")
    assert place.rows().height == 4
    columns = 'customer_id = "customer", occurred_at = "time"'
    parsed, files = place.accept(columns=columns)
    with pytest.raises(FilesRefused, match=r"b\.csv: has the same content as a\.csv"):
        load_activity(files, parsed)


def test_sources_of_different_columns_and_decimals(place):
    """Sources should be laid side by side: nulls for gaps, amounts of one scale."""
    place.put("a.csv")
    place.put("w.csv", "c,t,cents,page\n7,2024-01-05,5,home\n")
    parsed = definition(
        activity=(
            f'[[activity]]\nname = "shop"\nfiles = ["a.csv"]\ncolumns = {{{COLUMNS}}}\n'
            '[[activity]]\nname = "web"\nfiles = ["w.csv"]\namount_decimals = 0\n'
            'columns = { customer_id = "c", occurred_at = "t", amount = "cents", '
            'page = "page" }\n'
        ),
        badges=COUNT,
        path=str(place.folder / "import.toml"),
    )
    files = accept_files(parsed, place.accepted)
    activity = load_activity(files, parsed).collect()
    assert activity.select(
        "source", "file_order", "customer_id", "amount", "page"
    ).rows() == [
        ("shop", 0, 1, 150, None),
        ("shop", 0, 2, 200, None),
        ("web", 1, 7, 500, "home"),
    ]


def test_progress_hears_of_each_file(place):
    """Progress should be told of every file when it is accepted."""
    place.put("a.csv")
    place.put("b.csv")
    heard = []
    accept_files(place.defined(), place.accepted, progress=heard.append)
    assert [file.path for file in heard] == ["a.csv", "b.csv"]


def test_rejected_rows_of_no_files():
    """Without files there should be no rejected rows, in the same columns."""
    assert rejected_rows([]).columns == [
        "path",
        "row_number",
        "column_name",
        "reason",
        "value",
    ]
