"""Real files, each with one fault, and what becomes of each.

The files are in `files/`, byte for byte as a till or a spreadsheet might leave them.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from factories_definition import badge_text, definition

from flows.files.activity_files import AcceptedFile, accept_file
from flows.files.finding import find_files
from transforms.errors import FilesRefused

FILES = Path(__file__).parent / "files"
# Name → accepted, rejected, anonymous and duplicate rows.
COUNTED = {
    "amounts.csv": (1, 5, 0, 0),
    "broken-line.ndjson": (2, 1, 0, 0),
    "customers.csv": (2, 4, 1, 0),
    "duplicate.csv": (1, 0, 0, 1),
    "header-only.csv": (0, 0, 0, 0),
    "instants.csv": (1, 5, 0, 0),
    "ragged.csv": (1, 2, 0, 0),
}
# Name → the rejected rows, each with what its reason says.
REJECTED = {
    "amounts.csv": {
        3: "not a number",
        4: "not a number",
        5: "more than 2 decimals",
        6: "not a number",
        7: "not a number",
    },
    "broken-line.ndjson": {2: "no JSON"},
    "customers.csv": {
        3: "not a whole number",
        5: "not a whole number",
        6: "not a whole number",
        7: "not from 1 to",
    },
    "instants.csv": {
        3: "does not exist in America/New_York",
        4: "comes twice in America/New_York",
        5: "not a time in the format iso",
        6: "outside the years",
        7: "not a time in the format iso",
    },
    "ragged.csv": {3: "3 fields instead of 4", 4: "more than 4 fields"},
}
# Name → row, column and a word of the refusal.
REFUSED = {
    "doubled-column.csv": (1, "sum", "2 times"),
    "empty.csv": (None, None, "empty"),
    "latin-1.csv": (3, None, "format.encoding"),
    "missing-column.csv": (1, "sum", "columns.amount"),
    "nul-byte.csv": (3, None, "NUL byte"),
    "truncated.csv.gz": (None, None, "cut off"),
    "unclosed-quote.csv": (3, None, "not closed"),
}


def accepted(name: str, home: Path) -> AcceptedFile:
    """Return what becomes of one of the files."""
    parsed = definition(
        activity=f'[activity]\nfiles = ["{name}"]\ncolumns = {{ customer_id = '
        '"customer", activity_id = "bill", occurred_at = "time", amount = "sum" }\n',
        badges=badge_text('{ kind = "activity_count", at_least = 1 }'),
        path=str(FILES / "import.toml"),
    )
    (found,) = find_files(parsed)
    return accept_file(found, parsed, home)


def test_every_file_has_its_outcome() -> None:
    """A file that no table names would be tested by nothing."""
    assert {path.name for path in FILES.iterdir()} == {*COUNTED, *REFUSED}


@pytest.mark.parametrize("name", COUNTED)
def test_a_readable_file_is_counted(name: str, tmp_path: Path) -> None:
    """Every row is accepted, rejected, anonymous or a duplicate, with its reason."""
    file = accepted(name, tmp_path)
    counts = (
        file.rows_accepted,
        file.rows_rejected,
        file.rows_anonymous,
        file.rows_duplicate,
    )
    assert counts == COUNTED[name]
    assert file.rows_read == sum(counts)
    lines = pl.read_parquet(file.rejected_path)
    reasons = dict(lines.select("row_number", "reason").iter_rows())
    expected = REJECTED.get(name, {})
    assert reasons.keys() == expected.keys()
    assert {row: word for row, word in expected.items() if word in reasons[row]} == (
        expected
    )


@pytest.mark.parametrize("name", REFUSED)
def test_an_unreadable_file_is_refused(name: str, tmp_path: Path) -> None:
    """The refusal names file, row and column, and says what to change."""
    with pytest.raises(FilesRefused) as caught:
        accepted(name, tmp_path)
    (fault,) = caught.value.faults
    row, column, word = REFUSED[name]
    assert (fault.file, fault.row, fault.column) == (name, row, column)
    assert word in fault.message


def test_a_leading_zero_is_dropped(tmp_path: Path) -> None:
    """`0123` is customer 123, for ids are numbers."""
    rows = pl.read_parquet(accepted("customers.csv", tmp_path).accepted_path)
    assert rows["customer_id"].sort().to_list() == [1, 123]
