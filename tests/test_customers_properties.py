"""What holds for all customer files, whatever they say and in whatever order."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from factories_customers import CUSTOMERS, Place, mapped_definition, phone, who
from factories_definition import definition
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.activity.accepted import listed_columns
from transforms.activity.values import INSTANT
from transforms.customers.mapping import KnownCustomers, fates_of, known_customers
from transforms.definition.definition import Customers
from transforms.rules.qualifications import qualifications

PHONES = [phone(number) for number in range(6)]
AS_OF = datetime(2018, 1, 1, tzinfo=UTC)

# A customer: which numbers it has, whom it was merged into (an older one: no circles),
# and whether `where` leaves it out.
PEOPLE = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), min_size=1, max_size=3),
        st.one_of(st.none(), st.integers(0, 7)),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


def rows_of(
    people: list[tuple[list[int], int | None, bool]],
) -> list[dict[str, object]]:
    """Return the rows of customer files: a row for each number of each customer."""
    return [
        {
            "identifier": f"91{PHONES[number]}",
            "customer_id": 100 + at,
            "survivor_id": 100 + into if into is not None and into < at else None,
            "enrolled_at": AS_OF,
            "tier": f"tier {at}",
            "is_wanted": is_wanted,
        }
        for at, (numbers, into, is_wanted) in enumerate(people)
        for number in numbers
    ]


def customers() -> Customers:
    """Return a table `[customers]`."""
    found = definition(rest=CUSTOMERS).customers
    assert found is not None
    return found


def known(
    rows: list[dict[str, object]], suppressed: list[int], files: list[int]
) -> KnownCustomers:
    """Return what customer rows say that stand in these files, in this order."""
    schema = {**listed_columns(customers()), "is_wanted": pl.Boolean()}
    listed = pl.DataFrame(rows, schema=schema).with_columns(
        file_order=pl.Series(files, dtype=pl.Int32),
        shown=pl.lit("who.csv"),
        row_number=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    schema = {"identifier": pl.String(), "customer_id": pl.Int64()}
    unwelcome = [{"identifier": f"91{PHONES[at]}"} for at in suppressed]
    return known_customers(listed, pl.DataFrame(unwelcome, schema=schema), customers())


def awards(found: KnownCustomers) -> pl.DataFrame:
    """Return who visited twice, where each number visits once."""
    fates = fates_of(pl.Series(PHONES), found, customers())
    activity = fates.filter(pl.col("fate") == "mapped").with_columns(
        activity_id="source_customer_id",
        occurred_at=pl.lit(AS_OF, dtype=INSTANT),
        source=pl.lit("activity"),
        file_order=pl.lit(0, dtype=pl.Int32),
        row_number=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    (badge,) = definition(badges=BADGE).badges
    return qualifications(
        activity.lazy(), badge, timezone="UTC", as_of=AS_OF, amount_decimals=2
    )


BADGE = """
[badges.regular]
badge_meta_id = "653de334b3cda7078c7c68eb"
reference_id = "retro"
rule = { kind = "activity_count", at_least = 2 }
"""


@settings(deadline=None, max_examples=40)
@given(
    PEOPLE, st.lists(st.integers(0, 5), max_size=1), st.randoms(use_true_random=False)
)
def test_order_and_files_do_not_matter(
    people: list[tuple[list[int], int | None, bool]],
    suppressed: list[int],
    chance: random.Random,
) -> None:
    """The same rows in any order and any files say the same, and award the same."""
    rows = rows_of(people)
    first = known(rows, suppressed, [0] * len(rows))
    shuffled = rows[:]
    chance.shuffle(shuffled)
    files = [chance.randrange(3) for _ in rows]
    other = known(shuffled, suppressed, files)
    assert first.fates.equals(other.fates)
    assert awards(first).equals(awards(other))
    key = "customer_id"
    assert first.survivors.sort(key).equals(other.survivors.sort(key))
    assert first.attributes.sort(key).equals(other.attributes.sort(key))


@settings(deadline=None, max_examples=40)
@given(PEOPLE, st.lists(st.integers(0, 5), max_size=2))
def test_a_slow_and_simple_mapping_agrees(
    people: list[tuple[list[int], int | None, bool]], suppressed: list[int]
) -> None:
    """Whose each number is, worked out number by number."""
    rows = rows_of(people)
    into = {row["customer_id"]: row["survivor_id"] for row in rows}

    def end(customer_id: object) -> object:
        while into.get(customer_id) is not None:
            customer_id = into[customer_id]
        return customer_id

    unwelcome = {f"91{PHONES[at]}" for at in suppressed}
    unwanted = {end(r["customer_id"]) for r in rows if r["identifier"] in unwelcome}
    expected = []
    for number in PHONES:
        mine = [row for row in rows if row["identifier"] == f"91{number}"]
        owners = {end(row["customer_id"]) for row in mine if row["is_wanted"]}
        if f"91{number}" in unwelcome or (mine and not owners):
            expected.append("excluded")
        elif not mine:
            expected.append("unmapped")
        elif len(owners) > 1:
            expected.append("several")
        else:
            expected.append("excluded" if owners <= unwanted else f"{owners}")
    found = fates_of(
        pl.Series(PHONES), known(rows, suppressed, [0] * len(rows)), customers()
    )
    assert [
        f"{{{customer_id}}}" if fate == "mapped" else fate
        for customer_id, fate in found.select("customer_id", "fate").iter_rows()
    ] == expected


# what stands in a row | in which count it must end
KINDS = {
    "accepted": [f"+91 {PHONES[0]}", PHONES[0], f"0{PHONES[0]}"],
    "unmapped": [PHONES[4]],
    "rejected": [PHONES[1], "none", "12", "91x"],
    "excluded": [PHONES[2], f"0091{PHONES[3]}"],
    "anonymous": ["", "  "],
}
IN_FILES = st.lists(
    st.sampled_from([(kind, text) for kind in KINDS for text in KINDS[kind]]),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(IN_FILES, min_size=1, max_size=3))
def test_every_row_ends_in_exactly_one_count(
    files: list[list[tuple[str, str]]],
) -> None:
    """Any mix of good and bad rows: each count is what it must be, and nothing more."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.write(
            who__all=who(
                f"101,{PHONES[0]},,,",
                f"102,{PHONES[1]},,,",
                f"103,{PHONES[1]},,,",
                f"104,{PHONES[2]},,,STAFF",
                f"105,{PHONES[3]},,,",
            ),
            list__a="id\n105\n",
        )
        for at, rows in enumerate(files):
            lines = [
                f"{text},{at}-{number},2017-05-01T12:00:00,1"
                for number, (_, text) in enumerate(rows)
            ]
            place.write(**{f"in__{at}": "\n".join(["who,bill,at,paid", *lines, ""])})
        more = "where = \"tier IS NULL\"\nexclude = ['list/*.csv']\n"
        text = mapped_definition(customers=CUSTOMERS + more)
        read = place.read(text.replace('"*.csv"', '"in/*.csv"'))
        accepted = read.activity
        for at, rows in enumerate(files):
            counts = read.counts(at)
            assert counts.pop("read", 0) == len(rows)
            assert counts == dict(Counter(kind for kind, _ in rows))
        assert set(accepted["customer_id"]) <= {101}
        assert accepted.height == sum(file.rows_accepted for file in read.files)
