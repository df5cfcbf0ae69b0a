"""The same activity gives the same awards, however it is cut into files.

Files are shuffled, split, overlapped, copied, renamed, touched and written in other
formats; rows go through the real accept, qualify and plan.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from factories_awards import AS_OF, TARGET, facts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.files.activity_files import accept_files
from flows.planning import Plan, Selection, made_plan
from flows.records.audit import NOTHING_KNOWN
from transforms.definition.definition import parse_definition
from transforms.errors import FilesRefused

NAMES = ("who", "bill", "at", "sum", "store")
BADGES = {
    "second": '{ kind = "activity_count", at_least = 2 }',
    "spender": '{ kind = "total_amount", at_least = 10, within = "30d" }',
    "traveller": '{ kind = "distinct_count", of = "store", at_least = 2 }',
    "every": '{ kind = "activity_count", at_least = 3 }\nrepeat = true',
    "weekly": '{ kind = "streak", periods = 2, period = "week" }',
}
IDS = {name: f"65{number:022x}" for number, name in enumerate(BADGES)}
ENDINGS = (".csv", ".csv.gz", ".ndjson", ".parquet")


def definition_text(*, has_ids: bool) -> str:
    """Return a definition over everything in a folder."""
    bill = 'activity_id = "bill", ' if has_ids else ""
    head = f"""\
name = "same"
timezone = "America/New_York"
[activity]
files = ["**/*.*"]
columns = {{ customer_id = "who", {bill}occurred_at = "at", amount = "sum", \
store = "store" }}
"""
    return head + "".join(
        f'[badges.{name}]\nbadge_meta_id = "{IDS[name]}"\nreference_id = "r"\n'
        f"rule = {rule}\n"
        for name, rule in BADGES.items()
    )


# -- what there is --------------------------------------------------------------

# Rows that are set aside, or belong to nobody, among those that count.
ODD = st.sampled_from(
    [
        {"sum": "free"},
        {"who": ""},
        {"who": "1e5"},
        {"at": "2017-02-30"},
        {"at": "2017-03-12 02:30:00"},
        {"sum": ""},
        {},
        {},
        {},
    ]
)


def moment(hour: int) -> str:
    """Return the local time of so many hours after the year began."""
    at = datetime(2017, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    return f"{at:%Y-%m-%d %H:%M:%S}"


@st.composite
def activities(draw: st.DrawFn, *, has_ties: bool = True) -> list[dict[str, str]]:
    """Draw activity of few customers: each row has an id and one content."""
    hours = st.integers(0, 24 * 60)
    count = draw(st.integers(1, 14))
    at = draw(st.lists(hours, min_size=count, max_size=count, unique=not has_ties))
    rows = []
    for number, hour in enumerate(at):
        row = {
            "who": str(draw(st.sampled_from([1, 2, 7]))),
            "bill": f"b{number}",
            "at": moment(hour),
            "sum": draw(st.sampled_from(["4.00", "6.50", "-2.00", "12", "0.01"])),
            "store": draw(st.sampled_from(["N", "S"])),
        }
        rows.append(row | draw(ODD))
    return rows


@dataclass(frozen=True)
class Layout:
    """Files by path: which rows each has, in order, and how old it claims to be."""

    files: Mapping[str, Sequence[int]]
    touched: Mapping[str, int]


@st.composite
def layouts(draw: st.DrawFn, count: int, *, is_overlapped: bool) -> Layout:
    """Draw a way to lay rows out in files."""
    names = st.text("ab19", min_size=1, max_size=3)
    folders = st.sampled_from(["", "x/", "y/z/"])
    paths = st.builds(
        lambda f, n, e: f"{f}{n}{e}", folders, names, st.sampled_from(ENDINGS)
    )
    chosen = draw(st.lists(paths, min_size=1, max_size=4, unique=True))
    homes = [draw(st.sampled_from(chosen)) for _ in range(count)]
    files: dict[str, list[int]] = {path: [] for path in chosen}
    for row in draw(st.permutations(range(count))):
        files[homes[row]].append(row)
    if is_overlapped:
        for path in chosen:
            more = draw(st.lists(st.integers(0, count - 1), max_size=count))
            files[path] = draw(st.permutations([*files[path], *more]))
    touched = {path: draw(st.integers(0, 10**9)) for path in chosen}
    return Layout(files, touched)


def laid_out(folder: Path, rows: Sequence[Mapping[str, str]], layout: Layout) -> None:
    """Write the files of a layout."""
    for path, chosen in layout.files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(written([rows[at] for at in chosen], path))
        os.utime(place, (layout.touched[path],) * 2)


def written(rows: Sequence[Mapping[str, str]], path: str) -> bytes:
    """Return rows in the format that a path asks for."""
    if path.endswith(".ndjson"):
        nobody: dict[str, Any] = dict.fromkeys(NAMES)
        lines = [json.dumps(row) for row in rows] or [json.dumps(nobody)]
        return "\n".join(lines).encode()
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(NAMES, pl.String))
    if path.endswith(".parquet"):
        with tempfile.TemporaryDirectory() as place:
            frame.write_parquet(Path(place, "f"))
            return Path(place, "f").read_bytes()
    text = frame.write_csv().encode()
    return gzip.compress(text, mtime=0) if path.endswith(".gz") else text


# -- what comes of it -----------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder, empty for each example."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def planned(place: Path, home: Path, *, has_ids: bool = True) -> Plan:
    """Return the plan for the files in a folder, as `plan` makes it."""
    text = definition_text(has_ids=has_ids)
    definition = parse_definition(text, path=str(place / "same.toml"))
    return made_plan(
        definition,
        accept_files(definition, home),
        {name: facts(badge_meta_id=IDS[name]) for name in BADGES},
        Selection(as_of=AS_OF),
        known_awards=lambda *_: pl.DataFrame(schema=NOTHING_KNOWN),
        held=None,
        target=TARGET,
        batch_size=100,
        requests_per_minute=90,
    )


def awards(plan: Plan, *without: str) -> list[tuple[Any, ...]]:
    """Return all that is said of the awards of a plan, in one order."""
    return sorted(plan.awards.drop("target", *without).rows(), key=repr)


def in_one_file(count: int) -> Layout:
    """Return the plainest layout."""
    return Layout({"all.csv": range(count)}, {"all.csv": 0})


quickly = settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@quickly
@given(st.data())
def test_activities_with_ids_may_lie_anywhere_and_often(data):
    """Shuffled, split, overlapped, copied, renamed and touched: all the same awards."""
    rows = data.draw(activities())
    layout = data.draw(layouts(len(rows), is_overlapped=True))
    with folder() as place:
        laid_out(place / "one", rows, in_one_file(len(rows)))
        laid_out(place / "many", rows, layout)
        one = planned(place / "one", place / "home")
        many = planned(place / "many", place / "home")
        assert awards(many) == awards(one)
        # A second time everything is kept, and nothing else.
        again = planned(place / "many", place / "home")
        assert awards(again) == awards(one)
        assert not any(file.is_read_now for file in again.files)


@quickly
@given(st.data())
def test_rows_without_ids_may_be_cut_into_any_files(data):
    """Without ids each row counts once for each time it is there: split, it is once."""
    rows = data.draw(activities(has_ties=False))
    layout = data.draw(layouts(len(rows), is_overlapped=False))
    with folder() as place:
        laid_out(place / "one", rows, in_one_file(len(rows)))
        laid_out(place / "many", rows, layout)
        one = planned(place / "one", place / "home", has_ids=False)
        many = planned(place / "many", place / "home", has_ids=False)
        # Where a row lies is the only name that it has.
        by_place = "evidence_activity_id"
        assert awards(many, by_place) == awards(one, by_place)


@pytest.mark.parametrize("copy", ["b.csv", "x/a.csv", "0.csv"])
def test_a_copy_without_ids_is_refused_and_named(tmp_path, copy):
    """Its rows would count twice: the refusal names both files."""
    row = {"who": "1", "bill": "b", "at": "2017-01-01", "sum": "5", "store": "N"}
    both = Layout({"a.csv": [0], copy: [0]}, {"a.csv": 5, copy: 5})
    laid_out(tmp_path / "many", [row], both)
    with pytest.raises(FilesRefused) as refused:
        planned(tmp_path / "many", tmp_path / "home", has_ids=False)
    assert "a.csv" in str(refused.value)
    assert copy in str(refused.value)
    assert "activity_id" in str(refused.value)


def test_days_on_which_nothing_happened_are_no_copies(tmp_path):
    """Two files without a row have the same content, and nothing to count twice."""
    row = {"who": "1", "bill": "b", "at": "2017-01-01", "sum": "5", "store": "N"}
    files = {"a.csv": [], "b.csv": [], "c.csv": [0]}
    laid_out(tmp_path / "many", [row], Layout(files, dict.fromkeys(files, 5)))
    plan = planned(tmp_path / "many", tmp_path / "home", has_ids=False)
    assert [file.rows_accepted for file in plan.files] == [0, 0, 1]


def test_a_link_to_a_file_is_no_second_file(tmp_path):
    """A file that is found by two names counts once, without ids too."""
    row = {"who": "1", "bill": "b", "at": "2017-01-01", "sum": "5", "store": "N"}
    laid_out(tmp_path / "many", [row], Layout({"a.csv": [0]}, {"a.csv": 5}))
    (tmp_path / "many" / "b.csv").symlink_to("a.csv")
    plan = planned(tmp_path / "many", tmp_path / "home", has_ids=False)
    assert [file.path for file in plan.files] == ["a.csv"]
