"""Whose the rows of activity files are, by the brand's customer files."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from factories_customers import CUSTOMERS, Place, bills, mapped_definition, phone, who

from flows.files.accepted_activity import load_activity
from flows.files.mapping import KEPT_SECONDS
from transforms.activity.accepted import current
from transforms.errors import FilesRefused

ANN, BOB, CAT, DAN, EVE = (phone(number) for number in range(1, 6))


def owners(place: Place, text: str | None = None) -> dict[str, int]:
    """Return whom the accepted rows are of, by the identifier in the file."""
    found = place.read(text).activity.unique("source_customer_id")
    return dict(found.select("source_customer_id", "customer_id").iter_rows())


def faults(place: Place, text: str | None = None) -> list[str]:
    """Return why a brand's files are refused: place, column and code of each."""
    with pytest.raises(FilesRefused) as refused:
        place.read(text)
    return [
        f"{fault.file}:{fault.row} {fault.column} {fault.code}"
        for fault in refused.value.faults
    ]


def test_every_row_ends_in_one_count(tmp_path: Path) -> None:
    """Known, unknown, blank, unreadable, of two, suppressed and doubled rows."""
    place = Place(tmp_path)
    place.write(
        who__all=who(
            f"101,{ANN},,,", f"102,{BOB},,,", f"103,{BOB},,,", f"104,{DAN},,,"
        ),
        suppressed=f"phone\n+91 {DAN}\n",
        may=bills(ANN, BOB, CAT, DAN, "", "none", f"0{ANN}", f"+91{ANN}")
        + f"{ANN},b0,2017-05-09T12:00:00,1.00\n",
    )
    text = mapped_definition(
        customers=CUSTOMERS + 'exclude = ["suppressed.csv"]\n'
    ).replace('"*.csv"', '"may.csv"')
    read = place.read(text)
    assert read.counts() == {
        "read": 9,
        "accepted": 3,  # three ways to write Ann's number
        "anonymous": 1,
        "unmapped": 1,
        "excluded": 1,
        "rejected": 2,  # no number, and Bob's, which two customers have
        "duplicate": 1,
    }
    assert read.activity["customer_id"].to_list() == [101] * 3
    rejected = pl.read_parquet(read.files[0].rejected_path)
    assert rejected.select("row_number", "column_name", "reason", "value").rows() == [
        (3, "who", "customer_id: mobile of several customers", BOB),
        (7, "who", "customer_id: not a phone number", "none"),
    ]
    assert read.files[0].reasons == {
        "customer_id: mobile of several customers": 1,
        "customer_id: not a phone number": 1,
    }


# what the customer files say: id, phone, survivor | whose Ann's and Bob's rows are
MERGES = {
    "nobody merged": (["101,ANN,", "102,BOB,"], {"ANN": 101, "BOB": 102}),
    "merged into another": (["101,ANN,102", "102,BOB,"], {"ANN": 102, "BOB": 102}),
    "a chain": (["101,ANN,103", "103,CAT,102", "102,BOB,"], {"ANN": 102, "BOB": 102}),
    "survivor in no file": (["101,ANN,999", "102,BOB,"], {"ANN": 999, "BOB": 102}),
    "survives itself": (["101,ANN,101", "102,BOB,"], {"ANN": 101, "BOB": 102}),
    "one number, merged since": (
        ["101,ANN,102", "102,ANN,", "102,BOB,"],
        {"ANN": 102, "BOB": 102},
    ),
    "merged further since": (
        ["101,ANN,103", "103,CAT,102", "101,ANN,102", "102,BOB,"],
        {"ANN": 102, "BOB": 102},
    ),
    "two numbers of one": (["101,ANN,", "101,BOB,"], {"ANN": 101, "BOB": 101}),
    "of two customers": (["101,ANN,", "102,ANN,", "102,BOB,"], {"BOB": 102}),
}


@pytest.mark.parametrize("case", MERGES)
def test_merged_customers_are_their_survivors(tmp_path: Path, case: str) -> None:
    """Merges are followed to their end."""
    lines, expected = MERGES[case]
    named = {"ANN": ANN, "BOB": BOB, "CAT": CAT}
    place = Place(tmp_path)
    rows = [f"{line},," for line in lines]
    for name, number in named.items():
        rows = [row.replace(name, number) for row in rows]
    place.write(who__all=who(*rows), may=bills(ANN, BOB))
    assert owners(place) == {named[name]: one for name, one in expected.items()}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["101,ANN,102,,", "102,BOB,101,,"], ["who/all.csv:2 None merged_in_a_circle"]),
        (["101,ANN,102,,", "101,BOB,103,,"], ["who/all.csv:3 None two_survivors"]),
        (
            ["104,ANN,101,,", "101,ANN,102,,", "101,BOB,103,,", "103,,105,,"],
            ["who/all.csv:4 None two_survivors"],
        ),
        (
            ["104,ANN,101,,", "101,,102,,", "102,,103,,", "103,BOB,101,,"],
            ["who/all.csv:3 None merged_in_a_circle"],
        ),
        (["x,ANN,,,", "0,BOB,,,"], ["who/all.csv:2 id row", "who/all.csv:3 id row"]),
        ([",ANN,,,"], ["who/all.csv:2 id row"]),
        (["101,ANN,x,,"], ["who/all.csv:2 into row"]),
        (["101,ANN,,never,"], ["who/all.csv:2 joined row"]),
        (["101,ANN,,,G", "101,BOB,,,S"], ["who/all.csv:3 tier customer_contradicted"]),
        (["101,ANN"], ["who/all.csv:2 None customers_line"]),
    ],
)
def test_what_the_customer_files_may_not_say(
    tmp_path: Path, rows: list[str], expected: list[str]
) -> None:
    """What can't be read or contradicts itself stops everything, with its row."""
    place = Place(tmp_path)
    lines = [row.replace("ANN", ANN).replace("BOB", BOB) for row in rows]
    place.write(who__all=who(*lines), may=bills(ANN))
    found = [one.replace(" customers_row", " row") for one in faults(place)]
    assert found == expected


def test_identifiers_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A customer file may hold junk: no activity is mapped by it, and that is said."""
    place = Place(tmp_path)
    place.write(who__all=who(f"101,{ANN},,,", "102,none,,,", "103,,,,"), may=bills(ANN))
    read = place.read()
    assert read.counts() == {"read": 1, "accepted": 1}
    (note,) = read.customers.notes
    assert note == (
        "customers: 1 identifiers in who/all.csv can't be read as mobile, so no "
        "activity is mapped by them; the first is in row 3: not a phone number"
    )


WHERE = {
    # where | phone → accepted, excluded or rejected
    "tier = 'GOLD'": {ANN: "accepted", BOB: "excluded", CAT: "excluded"},
    "tier <> 'GOLD'": {ANN: "excluded", BOB: "accepted", CAT: "excluded"},
    "tier IS NULL": {ANN: "excluded", BOB: "excluded", CAT: "accepted"},
    "customer_id > 101": {ANN: "excluded", BOB: "accepted", CAT: "accepted"},
    "enrolled_at < '2016-01-01T00:00:00Z'": {
        ANN: "accepted",
        BOB: "excluded",
        CAT: "excluded",
    },
}


@pytest.mark.parametrize("where", WHERE)
def test_where_leaves_customers_out(tmp_path: Path, where: str) -> None:
    """Whom `where` leaves out is excluded, not unmapped: he is known."""
    place = Place(tmp_path)
    rows = [f"101,{ANN},,2015-03-01,GOLD", f"102,{BOB},,2017-01-01,BLUE"]
    place.write(who__all=who(*rows, f"103,{CAT},,,"), may=bills(ANN, BOB, CAT))
    text = mapped_definition(customers=f'{CUSTOMERS}where = "{where}"\n')
    read = place.read(text)
    accepted = read.activity["source_customer_id"].to_list()
    found = {
        one: "accepted" if one in accepted else "excluded" for one in (ANN, BOB, CAT)
    }
    assert found == WHERE[where]
    assert read.counts().get("excluded", 0) == list(found.values()).count("excluded")


def test_where_can_say_which_of_two_rows_holds(tmp_path: Path) -> None:
    """A number of two customers is one's when `where` leaves the other row out."""
    place = Place(tmp_path)
    rows = [f"101,{ANN},,,OLD", f"102,{ANN},,,NOW", f",{BOB},,,OLD"]
    place.write(who__all=who(*rows), may=bills(ANN))
    text = mapped_definition(customers=CUSTOMERS + "where = \"tier = 'NOW'\"\n")
    assert owners(place, text) == {ANN: 102}


@pytest.mark.parametrize(
    ("listed", "excluded"),
    [
        (f"phone\n0{ANN}\n", 2),  # and under her other number
        ("id\n101\n", 2),
        ("id\n102\n", 2),  # as she was called before the merge
        (f"id,phone\n,{CAT}\n103,\n", 1),  # Cat and Dan are one
        (f"phone\n{EVE}\n", 1),  # in no customer file, and yet not unmapped
        ("phone\n\n", 0),
    ],
)
def test_suppression_lists(tmp_path: Path, listed: str, excluded: int) -> None:
    """A list names numbers or customers; all numbers of a customer are excluded."""
    place = Place(tmp_path)
    place.write(
        who__all=who(f"101,{ANN},,,", f"102,{BOB},101,,", f"103,{CAT},,,"),
        list__a=listed,
        may=bills(ANN, BOB, CAT, EVE),
    )
    text = mapped_definition(customers=CUSTOMERS + 'exclude = ["list/*.csv"]\n')
    counts = place.read(text).counts()
    assert counts.get("excluded", 0) == excluded
    assert counts.get("unmapped", 0) == (0 if EVE in listed else 1)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("mail\nx\n", ["list/a.csv:None None column_missing"]),
        ("phone\nnone\n", ["list/a.csv:2 phone customers_row"]),
        ("id\nnone\n", ["list/a.csv:2 id customers_row"]),
    ],
)
def test_a_suppression_list_is_read_whole_or_not(
    tmp_path: Path, listed: str, expected: list[str]
) -> None:
    """A row that can't be read may be someone who must not be awarded."""
    place = Place(tmp_path)
    place.write(who__all=who(f"101,{ANN},,,"), list__a=listed, may=bills(ANN))
    text = mapped_definition(customers=CUSTOMERS + 'exclude = ["list/*.csv"]\n')
    assert faults(place, text) == expected


def test_missing_customer_files_are_refused(tmp_path: Path) -> None:
    """A pattern that matches nothing is named, with its key."""
    place = Place(tmp_path)
    place.write(may=bills(ANN))
    (fault,) = faults(place)
    assert fault.endswith("visits.toml:None customers.files no_files")
    place.write(who__all=who(f"101,{ANN},,,"))
    (fault,) = faults(
        place, mapped_definition(customers=CUSTOMERS + 'exclude = ["none.csv"]\n')
    )
    assert fault.endswith("visits.toml:None customers.exclude no_files")


def test_the_newest_file_says_what_is_known_of_a_customer(tmp_path: Path) -> None:
    """Attributes are the newest file's; identifiers of all files go on counting."""
    place = Place(tmp_path)
    place.write(
        who__a2=who(f"101,{ANN},,2015-03-01,BLUE", f"102,{BOB},101,2012-01-01,OLD"),
        who__a10=who(f"101,{CAT},,,GOLD"),
        may=bills(ANN, BOB, CAT),
    )
    rows = place.read().activity.unique(
        ["customer_id", "customer.tier", "customer.enrolled_at"]
    )
    assert rows["customer_id"].to_list() == [101]
    assert rows["customer.tier"].to_list() == ["GOLD"]
    # The day of her own row: who was merged into her enrolled as another.
    assert [f"{one:%F %H}" for one in rows["customer.enrolled_at"]] == ["2015-03-01 05"]


def test_another_customer_file_maps_the_kept_rows_anew(tmp_path: Path) -> None:
    """Activity is read once; whose it is, is looked at each time."""
    place = Place(tmp_path)
    place.write(who__all=who(f"101,{ANN},,,"), may=bills(ANN, BOB))
    first = place.read()
    assert first.files[0].is_read_now
    place.write(who__all=who(f"201,{ANN},,,", f"202,{BOB},,,"))
    second = place.read()
    assert not second.files[0].is_read_now
    assert second.files[0].fingerprint == first.files[0].fingerprint
    assert second.activity["customer_id"].to_list() == [201, 202]
    assert second.counts() == {"read": 2, "accepted": 2}
    place.write(who__all=who(f"101,{ANN},,,"))
    assert place.read().counts() == first.counts()


def test_mapped_rows_that_nobody_takes_are_removed(tmp_path: Path) -> None:
    """A customer file that changes nightly does not fill the disk."""
    place = Place(tmp_path)
    place.write(may=bills(ANN))
    paths = []
    for night in range(3):
        place.write(who__all=who(f"{night + 1},{ANN},,,"))
        paths.append(place.read().files[0].accepted_path)
        record = paths[-1].with_suffix(".json")
        if night == 0:
            old = record.stat().st_mtime - KEPT_SECONDS - 60
            os.utime(record, (old, old))
    assert [path.exists() for path in paths] == [False, True, True]
    assert place.read().files[0].accepted_path == paths[-1]


def test_identifiers_are_private(tmp_path: Path) -> None:
    """What is kept of customers is for its owner alone."""
    place = Place(tmp_path)
    place.write(who__all=who(f"101,{ANN},,,"), may=bills(ANN, BOB))
    place.read()
    modes = {path.stat().st_mode & 0o77 for path in (tmp_path / "home").iterdir()}
    assert modes == {0}


def test_customer_files_of_other_formats(tmp_path: Path) -> None:
    """Parquet and NDJSON say the same, typed or not, and so do gaps made by pandas."""
    rows = {
        "phone": pl.Series([9800000001, 9800000002]),
        "id": pl.Series([101.0, 102.0]),
        "into": pl.Series([102.0, None]),
        "joined": pl.Series(["2015-03-01", "2016-03-01"]).str.to_date(),
        "tier": pl.Series([None, "GOLD"]),
    }
    place = Place(tmp_path)
    place.write(may=bills(ANN, BOB))
    (tmp_path / "who").mkdir()
    frame = pl.DataFrame(rows)
    text = mapped_definition().replace("who/*.csv", "who/*.*")
    found = []
    for ending in ("parquet", "ndjson"):
        path = tmp_path / "who" / f"all.{ending}"
        if ending == "parquet":
            frame.write_parquet(path)
        else:
            whole = frame.with_columns(pl.col("id", "into").cast(pl.Int64))
            whole.write_ndjson(path)
        found.append(place.read(text).activity.drop("source", "file_order"))
        path.unlink()
    assert found[0].equals(found[1])
    assert found[0]["customer_id"].to_list() == [102, 102]
    assert [f"{one:%F}" for one in found[0]["customer.enrolled_at"]] == [
        "2016-03-01",
        "2016-03-01",
    ]


def test_moments_of_another_type_are_refused(tmp_path: Path) -> None:
    """A whole number is no day, unless the format says that it is an epoch."""
    place = Place(tmp_path)
    place.write(may=bills(ANN))
    (tmp_path / "who").mkdir()
    rows = [{"phone": ANN, "id": 1, "into": None, "joined": 1425168000, "tier": ""}]
    pl.DataFrame(rows).write_parquet(tmp_path / "who" / "all.parquet")
    text = mapped_definition().replace("who/*.csv", "who/*.parquet")
    assert faults(place, text) == ["who/all.parquet:1 joined customers_row"]
    style = 'enrolled_at_format = "epoch_seconds"\n'
    text = text.replace("\n[badges", f"\n{style}[badges")
    (moment,) = place.read(text).activity["customer.enrolled_at"]
    assert f"{moment:%F}" == "2015-03-01"


@pytest.mark.parametrize("text", ["id,phone,into,joined,tier\n", ""])
def test_an_empty_customer_file_knows_nobody(tmp_path: Path, text: str) -> None:
    """Then all rows are unmapped: which the guard refuses."""
    place = Place(tmp_path)
    place.write(who__all=text, may=bills(ANN))
    if text:
        assert place.read().counts() == {"read": 1, "unmapped": 1}
    else:
        (fault, *_) = faults(place)
        assert fault.startswith("who/all.csv:")


def test_empty_activity_is_mapped_to_nothing(tmp_path: Path) -> None:
    """A file without rows has no one in it."""
    place = Place(tmp_path)
    place.write(who__all=who(f"101,{ANN},,,"), may=bills())
    read = place.read()
    assert read.counts() == {}
    assert read.activity.is_empty()


def test_the_newest_file_decides_although_nobody_is_known_by_it(tmp_path: Path) -> None:
    """A bill that was corrected to another number is not its former owner's.

    | bill | may   | newer                          | whose it is |
    |------|-------|--------------------------------|-------------|
    | b0   | Ann   | not there                      | Ann's       |
    | b1   | Ann   | of a number that nobody knows  | nobody's    |
    | b2   | Ann   | of two customers               | nobody's    |
    | b3   | Ann   | suppressed                     | nobody's    |
    | b4   | Ann   | Bob                            | Bob's       |
    | b5   | Cat's, whom nobody knows | Ann         | Ann's       |

    Each row of the older file is accepted, and superseded or not.
    """
    place = Place(tmp_path)
    two, gone = phone(8), phone(9)
    place.write(
        who__all=who(
            *(f"101,{ANN},,,", f"102,{BOB},,,", f"103,{two},,,", f"104,{two},,,"),
            f"105,{gone},,,",
        ),
        list__a="id\n105\n",
        may=bills(ANN, ANN, ANN, ANN, ANN, CAT),
    )
    newer = bills("x", CAT, two, gone, BOB, ANN).splitlines()
    place.write(newer="\n".join([newer[0], *newer[2:], ""]))
    customers = CUSTOMERS + 'exclude = ["list/*.csv"]\n'
    read = place.read(mapped_definition(customers=customers))
    rows = read.activity.sort("activity_id")
    assert rows.select("activity_id", "customer_id").rows() == [
        *(("b0", 101), ("b4", 102), ("b5", 101))
    ]
    found = current(load_activity(read.files, read.definition))
    assert found.rows_current == {0: 1, 1: 2}
    assert found.rows_superseded == {0: 4, 1: 0}
    assert [file.rows_accepted for file in read.files] == [5, 2]
    assert read.counts(0) == {"read": 6, "accepted": 5, "unmapped": 1}
    assert read.counts(1) == {
        "read": 5,
        "accepted": 2,
        "unmapped": 1,
        "excluded": 1,
        "rejected": 1,
    }
