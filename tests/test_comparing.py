from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import polars as pl
from factories_imports import DEFINITION, Brand, brand, visits

from flows.commands.comparing import Compared, compared

NOON = "2017-05-{:02d}T16:00:00+00:00"


def compare(
    shop: Brand, first: str, second: str, output: Path | None = None
) -> Compared:
    """Compare two definitions that lie beside the activity."""
    paths = []
    for name, text in (("first", first), ("second", second)):
        path = shop.folder / f"{name}.toml"
        path.write_text(text)
        paths.append(path)
    work = shop.work(definition=paths[0])
    return asyncio.run(compared(work, paths[1], output))


def test_one_threshold_changed_gives_what_a_hand_counts(tmp_path: Path) -> None:
    """Two visits or three: who has two loses, who has three moves, one has neither."""
    with brand(tmp_path) as shop:
        shop.write(
            may=visits([1], each=1),
            more=visits([2], each=2, bill="c"),
            most=visits([3, 4], each=3, bill="d"),
        )
        shop.run()
        asked = shop.folder / "all.out"
        found = compare(
            shop, DEFINITION, DEFINITION.replace("at_least = 2", "at_least = 3"), asked
        )

        assert found.badges.to_dicts() == [
            {
                "badge": "regular",
                "first_awards": 3,
                "second_awards": 2,
                "gained": 0,
                "lost": 1,
                "moved": 2,
                "gained_held": 0,
                "lost_held": 1,
                "moved_held": 2,
            }
        ]
        rows = pl.read_csv(asked).select(
            "customer_id", "difference", "first_date", "second_date", "why", "status"
        )
        assert rows.rows() == [
            (2, "lost", NOON.format(2), None, "not_qualified", "issued"),
            (3, "moved", NOON.format(2), NOON.format(3), None, "issued"),
            (4, "moved", NOON.format(2), NOON.format(3), None, "issued"),
        ]


def test_the_other_way_round_gains(tmp_path: Path) -> None:
    """A lower threshold gains, and nobody has those awards yet."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1], each=1), more=visits([2], each=2, bill="c"))
        found = compare(
            shop, DEFINITION, DEFINITION.replace("at_least = 2", "at_least = 1")
        )
        (row,) = found.badges.to_dicts()

        assert (row["gained"], row["lost"], row["moved"]) == (1, 0, 1)
        assert row["moved_held"] == 0
        gained = found.differences.filter(pl.col("difference") == "gained")
        assert gained["customer_id"].to_list() == [1]
        assert gained["status"].to_list() == [None]


def test_bounds_explain_themselves(tmp_path: Path) -> None:
    """What a bound keeps out is lost for that reason, and not for the rule."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        bounded = DEFINITION.replace('reference_id = "retro"', "%s").replace(
            "%s", 'reference_id = "retro"\nearned_from = 2017-06-01'
        )
        found = compare(shop, DEFINITION, bounded)

        assert found.differences["why"].to_list() == ["outside_bounds"]


def test_a_badge_of_one_side_alone_is_gained_or_lost(tmp_path: Path) -> None:
    """Badges are paired by their id and series, not by their name."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        renamed = compare(
            shop, DEFINITION, DEFINITION.replace("badges.regular", "badges.visitor")
        )
        other = compare(
            shop, DEFINITION, DEFINITION.replace("c68eb", "c68ec"), tmp_path / "d.csv"
        )

        assert renamed.differences.is_empty()
        assert other.badges.select("gained", "lost").rows() == [(1, 0), (0, 1)]


def test_other_files_are_noticed(tmp_path: Path) -> None:
    """Two definitions that read other files are not compared in silence."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]), june=visits([2], bill="c"))
        found = compare(shop, DEFINITION, DEFINITION.replace('"*.csv"', '"may.csv"'))

        assert "windows" in found.notes[0]
        assert "same activity" in found.notes[1]


def test_the_command_compares_without_a_platform(tmp_path: Path) -> None:
    """`compare` ends with 0 whatever it finds, in words and in JSON."""
    with brand(tmp_path) as shop:
        shop.environ = {"RETROBADGE_HOME": str(shop.home.root)}
        shop.write(may=visits([1]))
        other = shop.folder / "other.toml"
        other.write_text(DEFINITION.replace("at_least = 2", "at_least = 3"))
        words = shop.command("compare", str(shop.definition), str(other))
        told = shop.command("compare", str(shop.definition), str(other), "--json")

    assert words.returncode == 0, words.stderr
    assert "lost" in words.stdout
    assert orjson.loads(told.stdout)["differences"] == 1
