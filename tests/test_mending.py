"""Rejected rows that are mended and fed back: exactly they count, none twice."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from factories_imports import DEFINITION, brand, visits
from hypothesis import given
from hypothesis import strategies as st

from flows.files.accepted_activity import load_activity
from flows.files.activity_files import accept_files
from flows.files.finding import read_definition
from flows.partitions import qualified, together
from flows.pipeline import plan_badges
from flows.plans.mending import write_mends
from transforms.activity.accepted import current
from transforms.activity.mending import Mend, is_mended, next_round
from transforms.spreadsheets import guarded, unguarded

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
NAMES = ("who", "bill", "at", "sum", "store")
MAPPED = {
    "customer_id": "who",
    "activity_id": "bill",
    "occurred_at": "at",
    "amount": "sum",
    "store": "store",
}
# Who, bill, when, how much, where: as it should be. What begins like a formula is none.
CLEAN = [
    ("1", "b1", "2024-01-01 10:00:00", "5.00", "-North"),
    ("1", "b2", "2024-01-02 10:00:00", "-1.50", "Süd; Ost"),
    ("2", "b3", "2024-01-03 10:00:00", "9.99", 'the "Mall"'),
    ("2", "=b4", "2024-01-04 10:00:00", "0.10", "two\nlines"),
    ("3", "b5", "2024-01-05 10:00:00", "3.00", "West"),
    ("3", "b6", "2024-01-06 10:00:00", "4.00", "West"),
]
# Which cells of it came dirty: row, column → what stood there.
DIRT = {(0, 0): "l", (1, 2): "yesterday", (3, 3): "free", (4, 0): "3.0", (4, 3): "=1+1"}


def spoiled(rows, dirt=None):
    """Return rows with some cells as they came."""
    dirt = DIRT if dirt is None else dirt
    return [
        tuple(dirt.get((at, n), cell) for n, cell in enumerate(row))
        for at, row in enumerate(rows)
    ]


def written(
    rows, *, delimiter=",", encoding="utf-8", header=True, decimal=".", quote='"'
):
    """Return rows as the bytes of a CSV."""
    text = io.StringIO()
    style = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    writer = csv.writer(
        text, delimiter=delimiter, quotechar=quote or None, quoting=style
    )
    if header:
        writer.writerow(NAMES)
    for row in rows:
        writer.writerow([*row[:3], row[3].replace(".", decimal), row[4]])
    return text.getvalue().encode(encoding)


class Import:
    """A folder with one source, read and qualified as a plan does it."""

    def __init__(self, folder, files, *, mapped=None, more=""):
        self.folder = folder
        columns = json.dumps(mapped or MAPPED).replace('": ', '" = ')
        (folder / "import.toml").write_text(
            f'name = "n"\ntimezone = "UTC"\n[activity]\nfiles = {json.dumps(files)}\n'
            f"columns = {columns}\n{more}\n"
            '[badges.b]\nbadge_meta_id = "653de334b3cda7078c7c68eb"\n'
            'reference_id = "r"\nwhere = "store <> \'East\'"\n'
            'rule = { kind = "total_amount", at_least = 0.01 }\n'
        )
        self.definition = read_definition(folder / "import.toml")

    def put(self, name, content):
        """Write an activity file."""
        (self.folder / name).write_bytes(content)

    def files(self):
        """Return what became of the files."""
        return accept_files(self.definition, self.folder / "accepted")

    def mends(self, name="plan"):
        """Write what is to be mended as a plan does."""
        folder = self.folder / name
        return write_mends(self.definition, self.files(), folder), folder

    def counted(self):
        """Return all activity that counts, without its names and places."""
        activity = current(load_activity(self.files(), self.definition)).activity
        columns = ["customer_id", "occurred_at", "amount", "store"]
        return sorted(activity.select(columns).collect().rows())

    def awards(self):
        """Return who earned what when."""
        activity = current(load_activity(self.files(), self.definition)).activity
        (badge,) = self.definition.badges
        parts = qualified(
            *(activity, [badge], self.definition, AS_OF), rows=1, folder=self.folder
        )
        found = together(parts)[badge.name]
        return found.select("customer_id", "occurrence", "qualified_at").rows()


def mended(path: Path, truth, *, delimiter=",", header=True, decimal=".", quote='"'):
    """Mend a file as a person would: look at the rows, write what is right."""
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(
        csv.reader(
            io.StringIO(content.decode("utf-8-sig"), newline=""),
            delimiter=delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )
    )
    first = 1 if header else 0
    for row in rows[first:]:
        good = truth[int(row[-2])]
        assert row[-1]
        for at, cell in enumerate(good):
            right = cell.replace(".", decimal) if at == 3 else cell
            # Only what is wrong is touched: the guards stay as they came.
            if row[at].removeprefix("'") != right:
                row[at] = right
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


CASES = {
    "as it is": {},
    "semicolons and commas": {"delimiter": ";", "decimal": ","},
    "latin-1": {"encoding": "latin-1"},
    "UTF-16": {"encoding": "utf-16"},
    "without a header": {"header": False},
    "in other quotes": {"quote": "'"},
}


@pytest.mark.parametrize("style", CASES.values(), ids=CASES)
@pytest.mark.parametrize("has_ids", [True, False])
def test_mended_rows_count_as_if_they_had_come_clean(tmp_path, style, has_ids):
    """Whatever a CSV looks like: dirty, mended and fed back is as good as clean."""
    header = style.get("header", True)
    theirs = MAPPED if header else dict(zip(MAPPED, "12345", strict=True))
    if not has_ids:
        theirs = {k: v for k, v in theirs.items() if k != "activity_id"}
    form = {k: json.dumps(v) for k, v in style.items()}
    more = f"format = {{ {', '.join(f'{k} = {v}' for k, v in form.items())} }}"
    made = Import(tmp_path, ["*.csv"], mapped=theirs, more=more)
    made.put("may.csv", written(CLEAN, **style))
    clean = made.counted(), made.awards()
    made.put("may.csv", written(spoiled(CLEAN), **style))
    (told,), folder = made.mends()

    assert (told.rows, told.put_at, told.left_out) == (4, "may.csv.mended.1.csv", {})
    assert made.counted() != clean[0]
    first = 2 if header else 1
    truth = {first + at: row for at, row in enumerate(CLEAN)}
    read_back = {k: v for k, v in style.items() if k != "encoding"}
    made.put(told.put_at, (folder / told.file).read_bytes())
    assert sum(f.rows_accepted for f in made.files()) == 2  # nothing counts unmended
    made.put(told.put_at, mended(folder / told.file, truth, **read_back))
    assert (made.counted(), made.awards()) == clean
    (again,), _ = made.mends("second")
    assert (again.rows, again.file) == (0, None)
    assert "may.csv.mended.1.csv: mend them there" in again.note


def test_rows_of_json_and_parquet_come_back_as_csv(tmp_path):
    """Types and formats that aren't CSV are written so that they read the same."""
    made = Import(tmp_path, ["*.ndjson*", "*.parquet*"])
    stamps = [datetime.fromisoformat(row[2]) for row in CLEAN]
    frame = pl.DataFrame(
        {
            "who": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0],
            "bill": [10.0, 11, 12, 13, 14, 15],
            "at": stamps,
            "sum": [5.0, -1.5, 9.99, 0.1, 3.0, 4.0],
            "store": [row[4] for row in CLEAN],
            "more": [[1], [2], [], None, [5], [6]],
        }
    )

    def put(rows, table):
        lines = [dict(zip(NAMES, row, strict=True)) | {"x": {"y": 1}} for row in rows]
        text = "\n".join(json.dumps(line) for line in lines)
        made.put("may.ndjson", text.encode())
        table.write_parquet(tmp_path / "june.parquet")

    put(CLEAN, frame)
    clean = made.counted()
    dirty = frame.with_columns(
        who=pl.Series([1.5, 1.0, -2.0, 2.0, 3.0, 3.0]),
        at=pl.Series([*stamps[:5], datetime(2999, 1, 1)]),  # noqa: DTZ001
        sum=pl.Series([5.0, float("nan"), 9.99, 0.1, 3.0, 4.0]),
    )
    put(spoiled(CLEAN), dirty)
    mends, folder = made.mends()
    assert [m.left_out for m in mends] == [{}, {}]
    assert [m.rows for m in mends] == [4, 4]
    lines, table = mends
    with (folder / lines.file).open(encoding="utf-8-sig", newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["store"], row["x"]) == ("'-North", '{"y": 1}')
    assert row["rejected_because"] == "customer_id: not a whole number"
    made.put(
        lines.put_at,
        mended(folder / lines.file, dict(enumerate(CLEAN, start=1))),
    )
    truth = {
        n: (str(int(w)), str(int(b)), str(t), f"{s:.2f}", p)
        for n, (w, b, t, s, p, _) in enumerate(frame.rows(), start=1)
    }
    with (folder / table.file).open(encoding="utf-8-sig", newline="") as file:
        whole = list(csv.DictReader(file))
    assert [(row["rejected_row"], row["who"]) for row in whole] == [
        ("1", "1.5"),
        ("2", "1"),
        ("3", "-2"),
        ("6", "3"),
    ]
    assert whole[0]["at"] == "2024-01-01 10:00:00.000000"
    assert whole[1]["sum"] == "NaN"
    made.put(table.put_at, mended(folder / table.file, truth))
    assert made.counted() == clean


def test_a_pattern_that_misses_the_mended_file_is_told(tmp_path):
    """Compressed files are mended in a plain CSV, which their pattern may not find."""
    made = Import(tmp_path, ["*.csv.gz"])
    made.put("may.csv.gz", gzip.compress(written(spoiled(CLEAN))))
    (told,), folder = made.mends()
    assert told.put_at == "may.csv.gz.mended.1.csv"
    assert "write '*.csv.gz*' in files" in told.note

    wide = Import(tmp_path, ["*.csv.gz*"])
    (wider,), _ = wide.mends("wide")
    assert "write" not in wider.note
    truth = dict(enumerate(CLEAN, start=2))
    wide.put(told.put_at, mended(folder / told.file, truth))
    counted = wide.counted()
    wide.put("may.csv.gz", gzip.compress(written(CLEAN)))
    (tmp_path / told.put_at).unlink()
    assert counted == wide.counted()


def test_what_another_row_has_already_is_left_out(tmp_path):
    """A row that would be a duplicate, or is corrected later, is not handed out."""
    made = Import(tmp_path, ["*.csv"])
    rows = [
        ("1", "a", "2024-01-01", "1", "x"),
        ("?", "a", "2024-01-02", "2", "x"),  # a duplicate, were it good
        ("?", "b", "2024-01-03", "3", "x"),  # corrected in June
        ("?", "c", "2024-01-04", "4", "x"),
        ("4", "c", "2024-01-05", "5", "x"),  # a duplicate of the one before, mended
        ("?", "d", "2024-01-06", "6", "x"),  # a correction of April's
    ]
    made.put("4.csv", written([("9", "d", "2024-01-01", "9", "x")]))
    made.put("5.csv", written(rows))
    made.put("6.csv", written([("2", "b", "2024-01-03", "7", "x")]))
    (told,), folder = made.mends()

    assert told.left_out == {
        "an earlier row of the file has the activity": 1,
        "a newer file has the activity": 1,
    }
    assert told.put_at == "5.csv.mended.1.csv"
    truth = {at: ("8", *row[1:]) for at, row in enumerate(rows, start=2)}
    made.put(told.put_at, mended(folder / told.file, truth))
    fed_back = made.counted()
    good = [("8" if row[0] == "?" else row[0], *row[1:]) for row in rows]
    made.put("5.csv", written(good))
    (tmp_path / told.put_at).unlink()
    assert fed_back == made.counted()


def test_broken_lines_are_handed_out_whole(tmp_path):
    """A line that is too long or too short is good for nothing until it is mended."""
    made = Import(tmp_path, ["*.csv"])
    lines = [
        "who,bill,at,sum,store",
        "1,b1,2024-01-01,1,50,Mall",  # a decimal comma too much
        "2,b2,2024-01-02",
        "3,b3,2024-01-03,2.00,West",
    ]
    made.put("may.csv", "\n".join(lines).encode())
    (told,), folder = made.mends()
    with (folder / told.file).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [
        [lines[1], "", "", "", "", "2", "line: more than 5 fields"],
        [lines[2], "", "", "", "", "3", "line: 3 fields instead of 5"],
    ]
    made.put(told.put_at, (folder / told.file).read_bytes())
    assert [row[0] for row in made.counted()] == [3]
    made.put(told.put_at, mended(folder / told.file, {2: CLEAN[0], 3: CLEAN[3]}))
    assert [row[0] for row in made.counted()] == [1, 2, 3]


def test_what_is_rejected_again_has_a_file_of_its_own(tmp_path):
    """Mended badly, a row is handed out once more; the first file stays as it is."""
    made = Import(tmp_path, ["*.csv"])
    made.put("may.csv", written(spoiled(CLEAN)))
    (told,), folder = made.mends()
    half = dict(enumerate(spoiled(CLEAN, {(0, 0): "I"}), start=2))
    made.put(told.put_at, mended(folder / told.file, half))
    first, second = made.mends("second")[0]
    assert (first.file, second.rows) == (None, 1)
    assert second.put_at == "may.csv.mended.2.csv"
    path = tmp_path / "second" / second.file
    made.put(second.put_at, mended(path, {2: CLEAN[0]}))
    counted = made.counted()
    for name in (told.put_at, second.put_at):
        (tmp_path / name).unlink()
    made.put("may.csv", written(CLEAN))
    assert counted == made.counted()


def test_files_that_can_not_be_handed_out_say_why(tmp_path):
    """Gone, changed or read by two sources: the plan goes on and says so."""
    made = Import(tmp_path, ["*.csv"])
    made.put("may.csv", written(spoiled(CLEAN)))
    files = made.files()

    def told() -> Mend:
        (mend,) = write_mends(made.definition, files, tmp_path / "plan")
        assert (mend.rows, mend.file) == (0, None)
        return mend

    made.put("may.csv", written(CLEAN))
    assert "changed since" in told().note
    (tmp_path / "may.csv").unlink()
    assert "not there" in told().note
    (one,) = made.definition.sources
    both = {"sources": (one, one.model_copy(update={"name": "other"}))}
    made.definition = made.definition.model_copy(update=both)
    files += [replace(file, source="other") for file in files]
    notes = {mend.note for mend in write_mends(made.definition, files, tmp_path)}
    assert notes == {"several sources read this file: mend the file itself"}


def test_lines_are_handed_out_with_their_whole_activity(tmp_path):
    """A newer file replaces all lines of an activity: so all of them are in it."""
    made = Import(tmp_path, ["*.csv"], more='grain = "line_item"')
    rows = [
        ("1", "a", "2024-01-01 10:00:00", "1.00", "West"),
        ("1", "a", "2024-01-01 10:00:00", "2.00", "North"),
        ("2", "b", "2024-01-02 10:00:00", "3.00", "West"),
        ("1", "a", "2024-01-01 10:00:00", "4.00", "East"),
        ("3", "c", "2024-01-03 10:00:00", "5.00", "West"),
        ("3", "d", "2024-01-04 10:00:00", "6.00", "West"),
        ("3", "d", "2024-01-04 10:00:00", "7.00", "West"),
    ]
    made.put("may.csv", written(rows))
    clean = made.counted(), made.awards()
    dirt = {(1, 3): "two", (4, 1): "", (5, 2): "soon"}
    made.put("may.csv", written(spoiled(rows, dirt)))
    made.put("june.csv", written([("3", "d", "2024-01-05 10:00:00", "8.00", "West")]))
    (told,), folder = made.mends()
    assert (told.rows, told.put_at) == (2, "may.csv.mended.1.csv")
    assert told.left_out == {"without activity_id its activity can't be known": 1}
    with (folder / told.file).open(encoding="utf-8-sig", newline="") as file:
        whole = list(csv.DictReader(file))
    assert [row["sum"] for row in whole] == ["1.00", "two", "4.00", "6.00", "7.00"]
    assert [row["rejected_because"] for row in whole][::2] == [
        "good: it belongs to the same activity"
    ] * 2 + ["good: it belongs to the same activity"]
    truth = dict(enumerate(rows, start=2))
    made.put(told.put_at, mended(folder / told.file, truth))
    (tmp_path / "june.csv").unlink()
    lost = rows[:4] + rows[5:]
    fed_back = made.counted(), made.awards()
    (tmp_path / told.put_at).unlink()
    made.put("may.csv", written(lost))
    assert fed_back == (made.counted(), made.awards())
    assert clean != fed_back


def test_without_quotes_what_needs_them_is_left_out(tmp_path):
    """A source whose files quote nothing can't hold every value of another format."""
    made = Import(tmp_path, ["*"], more='format = { quote = "" }')
    made.definition = made.definition.model_copy()
    lines = [dict(zip(NAMES, row, strict=True)) for row in spoiled(CLEAN)]
    lines[0]["store"] = "a,b"
    lines[1]["store"] = "a\0b"
    (tmp_path / "import.toml").rename(tmp_path.parent / "elsewhere.toml")
    made.put("may.ndjson", "\n".join(json.dumps(line) for line in lines).encode())
    (told,), folder = made.mends(name="../plan")
    assert told.left_out == {"a CSV can't hold it unchanged": 3}
    assert told.rows == 1
    assert b'"' not in (folder / told.file).read_bytes()


@given(st.lists(st.text("=+-@'\t\r 1a,.", max_size=5), min_size=1))
def test_guards_are_taken_back_exactly(texts):
    """What was made inert is itself again, and no formula is left in it."""
    column = pl.Series(texts, dtype=pl.String)
    safe = guarded(column)
    assert unguarded(safe).to_list() == texts
    for text in safe:
        is_number = text.lstrip("+-").replace(",", ".").replace(".", "", 1).isdigit()
        assert not text.startswith(("=", "@", "\t", "\r")) or is_number
        assert not text.startswith(("+", "-")) or is_number or text.strip("+-.,") == ""


def test_names_stand_behind_their_original():
    """Rounds are counted from the original's name."""
    assert next_round("a/may.csv") == "a/may.csv.mended.1.csv"
    assert next_round("a/may.csv.mended.9.csv") == "a/may.csv.mended.10.csv"
    assert is_mended("may.csv.mended.1.csv")
    assert not is_mended("mended.1.csv")


def test_a_dirty_file_becomes_the_awards_of_a_clean_one(tmp_path: Path) -> None:
    """Plan, mend, plan: the second plan has every award of a clean import."""
    wide = f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n"
    truth = visits(range(1, 7))
    with brand(tmp_path) as shop:
        shop.define(wide)
        shop.write(may=truth)
        clean, _ = asyncio.run(plan_badges(shop.work()))
        dirty = truth.replace("\n3,b3-1,2017-05-02T12", "\nthree,b3-1,2017-05-02T24")
        shop.write(may=dirty.replace("5,b5-0", "'5,b5-0"))
        spoilt, folder = asyncio.run(plan_badges(shop.work()))
        assert spoilt.planned.height == clean.planned.height - 2
        (told,) = spoilt.mends
        path = folder / told.file
        text = path.read_text("utf-8-sig")
        assert text.splitlines()[0] == (
            '"who","bill","at","paid","rejected_row","rejected_because"'
        )
        assert "customer_id: not a whole number; occurred_at: not a time" in text
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        page = (folder / "plan.html").read_text("utf-8")
        assert "may.csv.mended.1.csv" in page
        said = json.loads((folder / "plan.json").read_bytes())["mend"]
        assert said[0]["put_at"] == "may.csv.mended.1.csv"

        right = text.replace("three", "3").replace("T24", "T12").replace("'5", "5")
        (shop.folder / told.put_at).write_text(right, encoding="utf-8-sig")
        again, _ = asyncio.run(plan_badges(shop.work()))
        assert ids(again) == ids(clean)
        report = shop.run()
        assert report.as_json()["statuses"] == {"issued": 6}
        assert report.is_balanced


def ids(plan):
    """Return the awards of a plan."""
    return sorted(plan.planned.select("award_id", "earn_event_date").rows())


def test_too_many_rejected_rows_refuse_the_plan(tmp_path: Path) -> None:
    """Above the share: exit 1, no plan, and the three commonest reasons with counts."""
    bad = [
        *["x,b,2017-05-01T08:00:00,1.00"] * 4,
        *["7,b,2017-05-01T08:00:00,free"] * 3,
        *["7,b,soon,1.00"] * 2,
        "7,,2017-05-01T08:00:00,1.00",
    ]
    with brand(tmp_path) as shop:
        shop.define(f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n")
        shop.write(may=visits(range(1, 5)) + "\n".join(bad))
        done = shop.command("plan", str(shop.definition), "--json")
        plans = list(shop.home.plans.iterdir())

    assert (done.returncode, plans) == (1, [])
    (fault,) = json.loads(done.stdout)["errors"]
    assert (fault["code"], fault["file"]) == ("too_many_rejected", "may.csv")
    assert fault["message"] == (
        "10 of 18 rows are rejected (55.6%), and quality.max_rejected_share is 0.5. "
        "Most often: customer_id: not a whole number (4); amount: not a number (3); "
        "occurred_at: not a time in the format iso (2)"
    )


def test_rows_of_mapped_customers_are_mended_too(tmp_path: Path) -> None:
    """An identifier that can't be read, or is of two, is mended like any value."""
    table = (
        '[customers]\nidentifier = "mobile"\ncountry_code = "49"\nfiles = ["who.tsv"]\n'
        'columns = { identifier = "phone", customer_id = "id" }\n'
        'format = { delimiter = "\\t" }\n[quality]\nmax_rejected_share = 0.9\n'
    )
    phones = {1: "+49 170 1111111", 2: "+49 170 2222222", 3: "+49 170 3333333"}
    lines = [f"{phones[n]}\t{n}" for n in phones] + [f"{phones[3]}\t4"]
    rows = [
        f"{phone},{bill},2017-05-0{day}T12:00:00,9.99"
        for bill, phone, day in (
            ("a", phones[1], 1),
            ("b", phones[1], 2),
            ("c", phones[2], 1),
            ("d", "0170 222", 2),  # of which some digits are missing
            ("e", phones[3], 3),  # of 3 and of 4
        )
    ]
    with brand(tmp_path) as shop:
        shop.define(f"{DEFINITION}\n{table}")
        (shop.folder / "who.tsv").write_text("\n".join(["phone\tid", *lines, ""]))
        shop.write(may="\n".join(["who,bill,at,paid", *rows, ""]))
        plan, folder = asyncio.run(plan_badges(shop.work()))
        assert plan.planned["customer_id"].to_list() == [1]
        (told,) = plan.mends
        assert (told.rows, told.left_out) == (2, {})
        text = (folder / told.file).read_text("utf-8-sig")
        assert "mobile of several customers" in text
        mended_text = text.replace("0170 222", phones[2]).replace(phones[3], phones[2])
        (shop.folder / told.put_at).write_text(mended_text, encoding="utf-8-sig")
        again, _ = asyncio.run(plan_badges(shop.work()))
        assert sorted(again.planned["customer_id"]) == [1, 2]
        assert sum(again.rows_current.values()) == 5
