"""The example programmes award what was worked out for them by hand.

Each table was derived from the file of activity with a calendar, not with the program;
the lines beneath it say why the others get nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from factories_imports import Brand, brand

from flows.files.finding import read_definition
from flows.pipeline import plan_badges

# Worked out in `test_examples_customers`.
ELSEWHERE = ("member-since-2015", "three-friends")
FOLDER = Path(__file__).parent.parent / "data" / "imports" / "examples"


@dataclass(frozen=True)
class Example:
    """What a programme comes to at some moment; `-` in no column."""

    as_of: str
    awards: str


EXAMPLES = {
    # 102 bought on a 29 February and has three already; the next would be 2024-02-29.
    # 103 took a free sample first: the year begins with the purchase of January 2024.
    # 104's second anniversary is in November 2025.
    "anniversary": Example(
        as_of="2025-03-10T12:00:00+01:00",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        101       1           2023-03-05  1        A1
        101       2           2024-03-05  2        A1
        101       3           2025-03-05  3        A1
        102       1           2021-02-28  1        A3
        102       2           2022-02-28  2        A3
        102       3           2023-02-28  3        A3
        103       1           2025-01-15  1        A5
        104       1           2024-11-20  1        A6
        """,
    ),
    # 202 brought a bill of 22 January back, and came an eleventh time; 203 brought back
    # a part, which takes no visit. 204 has ten bills on nine days. 205 came ten times,
    # the first time exactly 90 days before the tenth, which is just outside.
    "visit-days": Example(
        as_of="2024-05-01T12:00:00+05:30",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        201       1           2024-03-22  10       V10
        202       1           2024-03-15  10       V22
        203       1           2024-01-28  10       V32
        """,
    ),
    # 301 reaches 1,000.00 to the cent in both years, in 2023 a minute before it ends.
    # 302 has 700 in each of two years, half an hour on each side of midnight. 303's
    # return comes after the sum was reached, 304's before: 900 - 200 + 250 is 950.
    "yearly-spender": Example(
        as_of="2025-01-10T12:00:00-05:00",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        301       2022        2022-11-25  1000     O2
        301       2023        2023-12-31  1000     O5
        303       2022        2022-03-03  1200     O8
        303       2024        2024-06-01  2500     O10
        """,
    ),
    # 401: garden and kitchen, kitchen again, then toys. 402: all three on one bill. 403
    # has books and garden; the toys were a gift and bags are no department.
    "three-categories": Example(
        as_of="2024-04-01T12:00:00+01:00",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        401       1           2024-03-01  3        LON|3
        402       1           2024-02-04  3        LON|4
        """,
    ),
    # 501 came on another day of each of eight weeks, 503 on sixteen Wednesdays. 502
    # came on seven Sundays, left one out and came on two more; 504 twice in four weeks.
    "weekly-streak": Example(
        as_of="2024-06-01T12:00:00-03:00",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        501       1           2024-02-19  8        weekly-streak.csv:9
        503       1           2024-02-21  8        weekly-streak.csv:26
        503       2           2024-04-17  8        weekly-streak.csv:34
        """,
    ),
    # 601 ordered a second before the week began in Singapore, 604 at the moment when it
    # was over; 602 at its first moment, 603 in its last second and with a voucher.
    "campaign-product": Example(
        as_of="2024-07-01T12:00:00+08:00",
        awards="""
        customer  occurrence  earn_day    measure  evidence
        602       1           2024-06-10  1        P3
        603       1           2024-06-16  1        P5
        """,
    ),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brand]:
    """Return a brand whose platform has the badges of all examples."""
    with brand(tmp_path_factory.mktemp("examples")) as made:
        for path in FOLDER.glob("*.toml"):
            for badge in read_definition(path).badges:
                made.sandbox.add_badge(
                    badge.badge_meta_id, badge.name, reference_id=badge.reference_id
                )
        yield made


def rows(table: str) -> list[dict[str, str]]:
    """Return the rows of a table; columns are two or more spaces apart."""
    lines = [re.split(r"\s{2,}", line.strip()) for line in table.strip().splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def shown(awards: pl.DataFrame) -> list[dict[str, str]]:
    """Return planned awards as the tables above have them."""
    ordered = awards.sort("customer_id", "earn_event_date")
    return [
        {
            "customer": str(row["customer_id"]),
            "occurrence": str(row["occurrence"]),
            "earn_day": str(row["earn_day"]),
            "measure": f"{row['measure']:g}",
            "evidence": row["evidence_activity_id"],
        }
        for row in ordered.iter_rows(named=True)
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_awards_what_was_worked_out_by_hand(shop: Brand, name: str) -> None:
    """Its plan has exactly these awards: no customer more, none less, none refused."""
    example = EXAMPLES[name]
    moment = datetime.fromisoformat(example.as_of)
    work = shop.work(definition=FOLDER / f"{name}.toml", as_of=moment)
    plan, _ = asyncio.run(plan_badges(work))

    assert shown(plan.planned) == rows(example.awards)
    assert (plan.refused_by, plan.wants_approval) == ([], False)
    assert sum(file.rows_rejected + file.rows_anonymous for file in plan.files) == 0


def test_every_example_is_listed_and_worked_out() -> None:
    """No definition lies in the folder that the README or this file does not know."""
    names = sorted(path.stem for path in FOLDER.glob("*.toml"))
    told = (FOLDER / "README.md").read_text("utf-8")

    assert names == sorted((*EXAMPLES, *ELSEWHERE))
    assert [name for name in names if f"({name}.toml)" not in told] == []
    assert max(path.stat().st_size for path in FOLDER.iterdir()) < 8_000
