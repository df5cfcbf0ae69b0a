"""Tests of qualifying in parts: the same is met, and nothing is left behind."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from factories_rules import activity_frame
from hypothesis import given
from hypothesis import strategies as st
from oracle import Activity

from flows.partitions import qualified, rows_that_fit, together
from transforms.definition.definition import Definition, parse_definition
from transforms.rules.ordering import Value, in_slices, ordered

AS_OF = datetime(2025, 1, 1, tzinfo=UTC)
BADGES = {
    "often": 'rule = { kind = "activity_count", at_least = 2, within = "5d" }',
    "much": 'rule = { kind = "total_amount", at_least = 0.10 }\nrepeat = true',
    "wide": 'rule = { kind = "distinct_count", of = "store", at_least = 2 }',
    "both": 'rule = { kind = "all_of", rules = [{ kind = "activity_count", '
    'at_least = 3 }, { kind = "streak", periods = 2, period = "day" }] }',
    "south": 'rule = { kind = "activity_count", at_least = 1 }\n'
    "where = \"store = 'S1'\"",
    "long": 'rule = { kind = "elapsed", since = "first_activity", after = "3d" }',
}


def definition_of(badges: dict[str, str]) -> Definition:
    """Return a definition with these badges."""
    return parse_definition(
        'name = "parts"\ntimezone = "Europe/Berlin"\n[activity]\nfiles = ["a.csv"]\n'
        'columns = { customer_id = "c", activity_id = "b", occurred_at = "t", '
        'amount = "v", store = "s" }\n'
        + "".join(
            f'[badges.{name}]\nbadge_meta_id = "653de334b3cda7078c7c68e{number}"\n'
            f'reference_id = "r"\n{keys}\n'
            for number, (name, keys) in enumerate(badges.items())
        ),
        path="parts.toml",
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Activity]:
    """Draw activity of some customers, near and far apart, with many ties."""
    start = datetime(2024, 3, 1, tzinfo=UTC)
    rows = st.builds(
        dict,
        customer_id=st.sampled_from((1, 2, 3, 4, 9, 2**31 + 5, 2**62)),
        activity_id=st.sampled_from(("a", "b", "c")),
        occurred_at=st.integers(0, 12).map(lambda n: start + timedelta(hours=8 * n)),
        amount=st.integers(-5, 9),
        file_order=st.integers(0, 2),
        store=st.sampled_from((None, "S1", "S2", "S3")),
    )
    return [
        Activity(row_number=number, columns={"store": row.pop("store")}, **row)
        for number, row in enumerate(draw(st.lists(rows, max_size=40)), start=2)
    ]


def met(
    frame: pl.LazyFrame, badges: dict[str, str], folder: Path, *, rows: int, most: int
) -> dict[str, pl.DataFrame]:
    """Return who met the badges, with so many rows a partition."""
    definition = definition_of(badges)
    return together(
        qualified(
            frame,
            definition.badges,
            definition,
            AS_OF,
            rows=rows,
            folder=folder,
            rows_a_partition=most,
            awards_a_part=most,
        )
    )


@given(histories(), st.integers(1, 20))
def test_badges_together_and_in_parts_are_met_as_each_alone(
    tmp_path_factory: pytest.TempPathFactory, history: list[Activity], most: int
) -> None:
    """Sharing one reading, and any number of partitions, changes nothing at all."""
    folder = tmp_path_factory.mktemp("parts")
    frame = activity_frame(history, {"store": pl.String})
    rows = len(history)
    together = met(frame, BADGES, folder, rows=rows, most=most)
    for name, keys in BADGES.items():
        alone = met(frame, {name: keys}, folder, rows=rows, most=100)
        assert together[name].equals(alone[name])
    assert not list(folder.iterdir())


@given(histories(), st.integers(1, 10))
def test_slices_keep_the_order_and_never_part_a_customer(
    history: list[Activity], rows: int
) -> None:
    """Whatever is counted of a slice is counted of all that a customer did."""
    frame = activity_frame(history, {"store": pl.String})
    whole = ordered(frame, [pl.lit(value=True)], [Value(column="amount")])
    parts = [part.rows for part in in_slices(whole, rows)]
    assert pl.concat(parts).equals(whole.rows)
    owners = [owner for part in parts for owner in part["customer_id"].unique()]
    assert len(owners) == len(set(owners))


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    """Parts of a run that died take no room for ever; those of a living one stay."""
    for name in ("old", "new"):
        (tmp_path / f".partitions-{name}").mkdir()
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / ".partitions-old", (yesterday, yesterday))
    history = [
        Activity(
            customer_id=number,
            activity_id=f"a{number}",
            occurred_at=datetime(2024, 3, 1, tzinfo=UTC),
        )
        for number in range(1, 10)
    ]
    frame = activity_frame(history, {"store": pl.String})
    found = met(frame, {"south": BADGES["often"]}, tmp_path, rows=9, most=1)
    assert found["south"].is_empty()
    assert [path.name for path in tmp_path.iterdir()] == [".partitions-new"]


def test_fewer_rows_are_looked_at_together_the_more_values_rules_have() -> None:
    """Memory is bounded whatever the badges ask for."""
    few = rows_that_fit(definition_of({"a": BADGES["wide"]}).badges)
    many = rows_that_fit(definition_of(BADGES).badges)
    assert many < few == 25_000_000


def test_more_rows_fit_where_a_badge_by_itself_looks_at_instants_alone() -> None:
    """Who met a rule fits too: as many rows more as it takes to meet it, up to four."""
    for keys, times in (
        ('rule = { kind = "activity_count", at_least = 1 }', 1),
        ('rule = { kind = "activity_count", at_least = 3 }\nrepeat = true', 3),
        ('rule = { kind = "activity_count", at_least = 20, within = "30d" }', 4),
        ('rule = { kind = "streak", periods = 2, period = "week" }', 2),
        (BADGES["long"], 1),
        ('rule = { kind = "total_amount", at_least = 20 }', 1),
        ('rule = { kind = "distinct_count", of = "store", at_least = 20 }', 1),
        (BADGES["both"], 1),
    ):
        alone = definition_of({"a": keys}).badges
        assert rows_that_fit(alone) == times * 25_000_000, keys
        assert rows_that_fit(alone, has_lines=True) == 25_000_000
        two = definition_of({"a": keys, "b": keys}).badges
        assert rows_that_fit(two) == 25_000_000
