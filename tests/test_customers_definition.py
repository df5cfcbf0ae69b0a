"""What `[customers]` may say, and every fault of it with its place."""

from __future__ import annotations

import pytest
from factories_definition import badge_text, definition, definition_text

from transforms.definition.definition import parse_definition
from transforms.errors import DefinitionRefused

COLUMNS = 'identifier = "phone", customer_id = "id", enrolled_at = "joined"'
COUNT = '{ kind = "activity_count", at_least = 2 }'


def table(
    more: str = "",
    *,
    identifier: str = '"mobile"',
    files: str = '["who.csv"]',
    columns: str = COLUMNS,
) -> str:
    """Return a table `[customers]`, one part of it replaced."""
    return f"""\
[customers]
identifier = {identifier}
files = {files}
columns = {{ {columns} }}
{more}
"""


def faults(rest: str, *, badges: str = badge_text(COUNT)) -> list[str]:
    """Return place and code of every fault of a definition, with its line."""
    with pytest.raises(DefinitionRefused) as refused:
        parse_definition(definition_text(badges=badges, rest=rest), path="x.toml")
    assert all(fault.row for fault in refused.value.faults)
    return [f"{fault.column} {fault.code}" for fault in refused.value.faults]


def test_every_key_is_parsed() -> None:
    """Each key arrives as what it is."""
    more = """\
types = { points = "integer" }
country_code = "91"
where = "points > 3 AND enrolled_at < '2016-01-01T00:00:00Z' AND survivor_id IS NULL"
exclude = ["no.csv"]
timezone = "Asia/Kolkata"
enrolled_at_format = "%d.%m.%Y"
format = { delimiter = ";" }
"""
    columns = COLUMNS + ', survivor_id = "into", points = "p"'
    parsed = definition(rest=table(more, columns=columns)).customers
    assert parsed is not None
    assert parsed.identifier == "mobile"
    assert parsed.columns["points"] == "p"
    assert (parsed.exclude, parsed.country_code) == (("no.csv",), "91")
    assert parsed.format.delimiter == ";"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("[[customers]]", ["customers wrong_type"]),
        (table(identifier='"phone"'), ["customers.identifier wrong_value"]),
        (table(identifier="1"), ["customers.identifier wrong_value"]),
        ("[customers]\nfiles = []", None),
        (table(files="[]"), ["customers.files wrong_value"]),
        (table(files='"who.csv"'), ["customers.files wrong_type"]),
        (
            table(columns='identifier = "phone"'),
            ["customers.columns.customer_id missing_key"],
        ),
        (
            table(columns='customer_id = "id"'),
            ["customers.columns.identifier missing_key"],
        ),
        (
            table(columns=COLUMNS + ', x = ["a", "b"]'),
            ["customers.columns.x wrong_type"],
        ),
        (table(columns=COLUMNS + ', x = ""'), ["customers.columns.x wrong_value"]),
        (
            table(columns=COLUMNS + ', "a b" = "x"'),
            ["customers.columns.a b wrong_value"],
        ),
        (
            table('types = { enrolled_at = "date" }'),
            ["customers.types.enrolled_at wrong_value"],
        ),
        (table('types = { tier = "text" }'), ["customers.types.tier wrong_value"]),
        (table('country_code = "+91"'), ["customers.country_code wrong_value"]),
        (table("country_code = 91"), ["customers.country_code wrong_type"]),
        (
            table('country_code = "91"', identifier='"email"'),
            ["customers.country_code wrong_value"],
        ),
        (table('where = "tier = 1"'), ["customers.where unknown_column"]),
        (table('where = "amount > 1"'), ["customers.where unknown_column"]),
        (table('where = "joined >"'), ["customers.where not_sql"]),
        (table('exclude = [" "]'), ["customers.exclude wrong_value"]),
        (table('exclude = "x.csv"'), ["customers.exclude wrong_type"]),
        (table('timezone = "Mars"'), ["customers.timezone wrong_value"]),
        (
            table('enrolled_at_format = "%Q"'),
            ["customers.enrolled_at_format wrong_value"],
        ),
        (
            table('format = { delimiter = ";;" }'),
            ["customers.format.delimiter wrong_value"],
        ),
        (table('format = { x = ";" }'), ["customers.format.x unknown_key"]),
        (
            table(
                "format = { header = false }",
                columns='identifier = "1", customer_id = "b"',
            ),
            ["customers.columns.customer_id wrong_value"],
        ),
        (table("colour = 1"), ["customers.colour unknown_key"]),
    ],
)
def test_each_fault_is_named(rest: str, expected: list[str] | None) -> None:
    """One wrong key is one fault, with its place and its line."""
    found = faults(rest)
    if expected is None:
        expected = [
            "customers.identifier missing_key",
            "customers.columns missing_key",
        ]
    assert sorted(found) == sorted(expected)


def test_all_faults_are_told_at_once() -> None:
    """A fault of one table hides none of another."""
    rest = table('where = "x = 1"\ntimezone = "Mars"', identifier='"phone"')
    found = faults(rest, badges=badge_text('{ kind = "activity_count" }'))
    assert found == [
        "badges.regular.rule.at_least missing_key",
        "customers.identifier wrong_value",
        "customers.where unknown_column",
        "customers.timezone wrong_value",
    ]


@pytest.mark.parametrize(
    ("rule", "where", "fault"),
    [
        ('since = "customer.enrolled_at"', "customer.tier = 'A'", None),
        ('since = "customer.born"', "customer.enrolled_at IS NOT NULL", None),
        ('since = "customer.tier"', "TRUE", "rule.since unknown_column"),
        ('since = "enrolled_at"', "TRUE", "rule.since unknown_column"),
        ('since = "customer.enroled_at"', "TRUE", "rule.since unknown_column"),
        ('since = "first_activity"', "customer.phone = '1'", "where unknown_column"),
        ('since = "first_activity"', "tier = '1'", "where unknown_column"),
        ('since = "first_activity"', "shop.tier = '1'", "where not_allowed"),
        ('since = "first_activity"', "a.customer.tier = '1'", "where not_allowed"),
    ],
)
def test_what_rules_may_say_of_customers(
    rule: str, where: str, fault: str | None
) -> None:
    """Moments count as `since`, and all but the ids as `customer.…` in `where`."""
    columns = COLUMNS + ', tier = "t", born = "b"'
    rest = table('types = { born = "date" }', columns=columns)
    badges = badge_text(
        f'{{ kind = "elapsed", after = "1y", {rule} }}', more=f'where = "{where}"'
    )
    if fault is None:
        assert definition(badges=badges, rest=rest).customers is not None
    else:
        assert faults(rest, badges=badges) == [f"badges.regular.{fault}"]


def test_without_customers_their_columns_are_unknown() -> None:
    """A rule can't count from what no file says."""
    badges = badge_text(
        '{ kind = "elapsed", after = "1y", since = "customer.enrolled_at" }'
    )
    assert faults("", badges=badges) == ["badges.regular.rule.since unknown_column"]
