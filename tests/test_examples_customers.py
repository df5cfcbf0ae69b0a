"""Two example programmes award what was worked out by hand from their small files."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories_imports import Brand, brand

from flows.files.finding import read_definition

EXAMPLES = Path(__file__).parent.parent / "data" / "imports" / "examples"

# Worked out by hand; every row of the file is here.
#
# card   | joined     | what becomes of it
# 007001 | 2014-03-03 | a year later
# 007002 | 2012-02-29 | a year later there is no 29th of February: the 28th
# 007003 | 2015-12-31 | the last day that counts
# 007004 | 2016-01-01 | a day too late
# 007005 | 2013-06-10 | 5005 is 5006 now, who joined on 2015-08-20
# 007006 | 2015-08-20 | so 5006 has one award, by the own day of joining, proved by the
#        |            | first activity of both
# 007007 | 2012-01-15 | 5007 is 5008 now, who joined in 2017: too late
# 007008 | 2017-05-05 | too late
# 007009 | 2011-11-11 | staff: excluded
# 007010 | 2012-12-12 | opted out: excluded
# 007011 | 2015-07-07 | 5011 has two cards and one membership
# 007012 | 2015-07-07 | as above
# none   | 2015-08-08 | no card, so nobody's: anonymous
MEMBERS = """
customer | card   | earned on
5001     | 007001 | 2015-03-03
5002     | 007002 | 2013-02-28
5003     | 007003 | 2016-12-31
5006     | 007005 | 2016-08-20
5011     | 007011 | 2016-07-07
"""

# Worked out by hand:
#
# inviter | friends who joined, in order          | third different friend
# 6001    | 7001, 7002, 7003, 7004                | 7003 on 2 April; a fourth adds none
# 6002    | 7011, again, 7012, 7011 once more     | two different friends
# 6003    | 7021, 7023, 7022 (opened first)       | 7022 on 30 June, late at night
# 6004    | himself, 7031, 7032                   | two: nobody is his own friend
# 6005    | 7041, nobody, 7042                    | two
FRIENDS = """
customer | card | earned on
6001     | -    | 2017-04-02
6003     | -    | 2017-06-30
"""


def awarded(shop: Brand, name: str) -> list[tuple[str, ...]]:
    """Run an example against the sandbox; return what was issued, as in the tables."""
    path = EXAMPLES / f"{name}.toml"
    for badge in read_definition(path).badges:
        shop.sandbox.add_badge(
            badge.badge_meta_id, badge.name, reference_id=badge.reference_id
        )
    report = shop.run(definition=path)
    assert report.is_balanced
    query = """
        SELECT
            customer_id::VARCHAR, coalesce(source_customer_id, '-'), earn_day::VARCHAR
        FROM audit WHERE status = 'issued' ORDER BY customer_id
    """
    return shop.ask(query).rows()


def rows(table: str) -> list[tuple[str, ...]]:
    """Return the lines of a table below its heading."""
    lines = table.strip().splitlines()[1:]
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("member-since-2015", MEMBERS), ("three-friends", FRIENDS)],
)
def test_an_example_awards_what_was_worked_out(
    tmp_path: Path, name: str, expected: str
) -> None:
    """Every customer of the table is issued the badge on that day, and nobody else."""
    with brand(tmp_path) as shop:
        assert awarded(shop, name) == rows(expected)


def test_the_rows_of_the_enrolment_file_all_end_somewhere(tmp_path: Path) -> None:
    """Ten cards of members, one of staff, one opted out, and a row without a card."""
    with brand(tmp_path) as shop:
        awarded(shop, "member-since-2015")
        (file,) = shop.ask("SELECT * FROM source_files").to_dicts()
    counts = {
        name: file[f"rows_{name}"]
        for name in (
            "read",
            "accepted",
            "excluded",
            "anonymous",
            "unmapped",
            "rejected",
        )
    }
    assert counts == {
        "read": 13,
        "accepted": 10,
        "excluded": 2,
        "anonymous": 1,
        "unmapped": 0,
        "rejected": 0,
    }
