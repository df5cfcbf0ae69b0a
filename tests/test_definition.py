"""What a definition may say, and that all of its faults are found at once."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from factories_definition import (
    ACTIVITY,
    BADGE,
    BADGE_META_ID,
    HEAD,
    badge_text,
    definition,
    definition_text,
)

from flows.files.finding import read_definition
from transforms.definition.definition import Duration, parse_definition
from transforms.errors import DefinitionRefused

COUNT = '{ kind = "activity_count", at_least = 1 }'
COLUMNS = 'customer_id = "c", occurred_at = "t"'
HELD = 'customer_id = "c", badge_meta_id = "b", earn_event_date = "d"'


def faults_of(text):
    """Return the faults of a text that is refused, by column."""
    with pytest.raises(DefinitionRefused) as caught:
        parse_definition(text, path="import.toml")
    return {fault.column: fault for fault in caught.value.faults}


def activity(more="", *, columns=COLUMNS):
    """Return an activity table with these columns and lines."""
    return f'[activity]\nfiles = ["a.csv"]\ncolumns = {{ {columns} }}\n{more}\n'


def test_the_small_one():
    """A small definition should be parsed with every default in place."""
    parsed = definition()
    (source,) = parsed.sources
    (badge,) = parsed.badges
    assert parsed.name == "grocery"
    assert source.name == "activity"
    assert source.columns["customer_id"] == "household_id"
    assert source.format.nulls == ("",)
    assert (badge.name, badge.series, badge.repeat) == ("regular", "", False)
    assert badge.rule.at_least == 2
    assert parsed.quality.max_rejected_share == Decimal("0.01")


def test_text_and_digest_are_of_what_was_parsed():
    """The definition should carry its text, and a digest that follows it."""
    text = definition_text()
    parsed = parse_definition(text, path="x.toml")
    assert parsed.text == text
    assert parsed.path == "x.toml"
    other = parse_definition(text + "\n# a comment\n", path="x.toml")
    assert parsed.digest != other.digest


def test_every_key_is_parsed():
    """Each key of the format should arrive in the model as the type that it has."""
    text = f"""
name = "all-keys"
description = "d"
owner = "o"
ticket = "t"
timezone = "Europe/Berlin"

[[activity]]
name = "shop"
files = ["shop/*.csv", "/var/data/*.csv"]
columns = {{ customer_id = "c", activity_id = ["bill", "till"], \
occurred_at = ["day", "time"], amount = "sum", quantity = "n", note = ["a", "b"] }}
constants = {{ channel = "shop" }}
types = {{ quantity = "integer" }}
timezone = "Europe/Vienna"
occurred_at_format = "%d.%m.%Y %H:%M"
ambiguous = "latest"
format = {{ delimiter = ";", encoding = "latin-1", decimal = ",", quote = "'", \
header = true, nulls = ["", "NULL"] }}
amount_decimals = 3

[[activity]]
name = "web"
files = ["web.parquet"]
columns = {{ customer_id = "c", occurred_at = "t", quantity = "q" }}
types = {{ quantity = "integer" }}
occurred_at_format = "epoch_milliseconds"

[defaults]
reference_id = "ref"
hold = "36h"
repeat = true

[badges.one]
badge_meta_id = "{BADGE_META_ID}"
where = "quantity > 1 AND channel = 'shop'"
rule = {{ kind = "total_amount", at_least = 99.955, within = "3mo", source = "shop" }}
max_occurrences = 3
counted_from = 2024-01-01
counted_until = "2024-07-01"
earned_from = 2024-02-01
earned_until = 2024-03-01
precision = "exact"
canary_customer_ids = [1, 2]
enrolled = true

[badges.two]
badge_meta_id = "{BADGE_META_ID}"
series = "second"
repeat = false
hold = "2w"
reference_id = "other"

[badges.two.rule]
kind = "any_of"
rules = [
  {{ kind = "streak", period = "week", periods = 4, at_least = 2 }},
  {{ kind = "distinct_count", of = "channel", at_least = 2, per = "year" }},
  {{ kind = "elapsed", since = "first_activity", after = "1y" }},
]

[quality]
max_rejected_share = 0
max_unmapped_share = 0.5
min_rows = 10

[guards]
max_awards = 1
max_awards_per_customer = 2
max_calls = 3
max_out_of_window_share = 1
approve_above = 0
allow_relative_expiry = true
allow_rolling_limit = true
take_over = true

[held]
files = ["held.csv"]
columns = {{ badge_meta_id = "b", customer_id = "c", earn_event_date = "d" }}
"""
    parsed = parse_definition(text, path="x.toml")
    shop, web = parsed.sources
    one, two = parsed.badges
    assert shop.columns["occurred_at"] == ("day", "time")
    assert shop.format.nulls == ("", "NULL")
    assert web.occurred_at_format == "epoch_milliseconds"
    assert one.rule.at_least == Decimal("99.955")
    assert one.rule.within == Duration(count=3, unit="mo")
    assert (one.counted_from, one.counted_until) == (
        date(2024, 1, 1),
        date(2024, 7, 1),
    )
    assert (one.hold, one.repeat, one.reference_id) == (
        Duration(count=36, unit="h"),
        True,
        "ref",
    )
    assert (two.hold, two.repeat, two.reference_id) == (
        Duration(count=2, unit="w"),
        False,
        "other",
    )
    assert [part.kind for part in two.rule.rules] == [
        "streak",
        "distinct_count",
        "elapsed",
    ]
    assert parsed.quality.max_rejected_share == Decimal(0)
    assert parsed.guards.max_out_of_window_share == Decimal(1)
    assert parsed.held is not None


@pytest.mark.parametrize(
    ("text", "count", "unit"),
    [
        ("36h", 36, "h"),
        ("1d", 1, "d"),
        ("2w", 2, "w"),
        ("3mo", 3, "mo"),
        ("1y", 1, "y"),
    ],
)
def test_durations(text, count, unit):
    """Each unit of a duration should be read."""
    badges = BADGE + f'hold = "{text}"\n'
    assert definition(badges=badges).badges[0].hold == Duration(count=count, unit=unit)


@pytest.mark.parametrize("text", ["1m", "d", "0d", "1.5d", "-1d", "1 d", "1D", "1h30"])
def test_wrong_durations(text):
    """A duration in any other form should be refused with examples."""
    faults = faults_of(definition_text(badges=BADGE + f'hold = "{text}"\n'))
    assert "36h, 1d, 2w, 3mo or 1y" in faults["badges.regular.hold"].message


def test_all_faults_at_once_with_their_places():
    """Faults of all kinds should be reported together, each with its line."""
    text = f"""\
nam = "x"
timezone = "America/NewYork"

[activity]
files = []
columns = {{ customer_id = "a" }}
ambigous = "reject"

[badges.one]
badge_meta_id = "xyz"
reference_id = "r"
where = "amonut > 0"
rule = {{ kind = "activity_cout", at_least = 1 }}

[badges.two]
badge_meta_id = "{BADGE_META_ID}"
reference_id = "r"
enroled = true
hold = "x"

[badges.two.rule]
kind = "total_amount"
at_least = 0
of = "store"

[quality]
max_rejected_share = 2
"""
    faults = faults_of(text)
    rows = {column: fault.row for column, fault in faults.items()}
    assert rows == {
        "name": None,
        "nam": 1,
        "timezone": 2,
        "activity.ambigous": 7,
        "badges.one.rule.kind": 13,
        "badges.two.enroled": 18,
        "badges.two.hold": 19,
        "activity.files": 5,
        "activity.columns.occurred_at": 6,
        "badges.two.rule.of": 24,
        "badges.two.rule.at_least": 23,
        "badges.two.rule.kind": 22,
        "quality.max_rejected_share": 27,
    }
    assert "did you mean 'enrolled'" in faults["badges.two.enroled"].message
    assert "did you mean 'activity_count'" in faults["badges.one.rule.kind"].message
    assert all(fault.file == "import.toml" for fault in faults.values())


def test_one_wrong_key_does_not_hide_others():
    """A badge with one wrong key should still be checked in all other ways."""
    badges = badge_text(
        '{ kind = "total_amount", at_least = 1.234, within = "3x", where = "sto > 1" }',
        more='enroled = true\nearned_from = 2024-02-01\nearned_until = "2024-01-01"',
    ) + badge_text(COUNT, name="second")
    assert set(faults_of(definition_text(badges=badges))) == {
        "badges.regular.enroled",
        "badges.regular.rule.within",
        "badges.regular.rule.at_least",
        "badges.regular.rule.where",
        "badges.regular.earned_until",
        "badges.second.badge_meta_id",
    }


def test_fault_of_defaults_is_shown_there_once():
    """A wrong value in [defaults] should be one fault there, not one a badge."""
    rest = '[defaults]\nhold = "soon"\nholdd = "1d"\n'
    badges = badge_text(COUNT) + badge_text(COUNT, name="b", more='series = "2"')
    faults = faults_of(definition_text(badges=badges, rest=rest))
    assert set(faults) == {"defaults.hold", "defaults.holdd"}
    assert faults["defaults.hold"].row is not None


def test_not_toml_names_the_line():
    """A text that is no TOML should be refused with the line that breaks."""
    with pytest.raises(DefinitionRefused) as caught:
        parse_definition('name = "x"\ntimezone = \n', path="x.toml")
    (fault,) = caught.value.faults
    assert (fault.code, fault.row, fault.file) == ("not_toml", 2, "x.toml")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("9" * 5000, "too long"),
        ("1e9999999999999999999", "too long"),
        ("1e-500", "too long"),
        ("1e500", "too long"),
        ("[" * 3000, "nested"),
        ("[" * 3000 + "]" * 3000, "nested"),
        ("{a=" * 2000, "nested"),
    ],
)
def test_values_that_nothing_can_hold_are_refused(value, word):
    """Endless numbers and nesting should be faults with a place, no traceback."""
    with pytest.raises(DefinitionRefused, match=word) as caught:
        definition(rest=f"[quality]\nmin_rows = 1\nmax_rejected_share = {value}\n")
    (fault,) = caught.value.faults
    assert fault.code == "not_toml"
    assert fault.row is None or word == "too long"


def test_key_given_twice_is_refused():
    """A key that stands twice should be refused: which one is meant is not known."""
    with pytest.raises(DefinitionRefused, match="not TOML"):
        parse_definition(definition_text(head=HEAD + 'name = "y"\n'), path="x.toml")


@pytest.mark.parametrize(
    ("column", "head", "code"),
    [
        ("name", 'timezone = "UTC"', "missing_key"),
        ("timezone", 'name = "a"', "missing_key"),
        ("name", 'name = 5\ntimezone = "UTC"', "wrong_type"),
        ("name", 'name = "../x"\ntimezone = "UTC"', "wrong_value"),
        ("name", 'name = "Grocery"\ntimezone = "UTC"', "wrong_value"),
        ("timezone", 'name = "a"\ntimezone = "EST5"', "wrong_value"),
        ("foo", 'name = "a"\ntimezone = "UTC"\nfoo = 1', "unknown_key"),
    ],
)
def test_head(column, head, code):
    """Each fault of the top keys should be named."""
    assert faults_of(definition_text(head=head))[column].code == code


@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        ("activity", "", "missing_key"),
        ("activity.files", f"[activity]\ncolumns = {{ {COLUMNS} }}", "missing_key"),
        ("activity.columns", '[activity]\nfiles = ["a"]', "missing_key"),
        ("activity.files", f"[activity]\nfiles = []\ncolumns = {{ {COLUMNS} }}", None),
        (
            "activity.files",
            f'[activity]\nfiles = ["gs://b/*.csv"]\ncolumns = {{ {COLUMNS} }}',
            "not_built",
        ),
        (
            "activity.files",
            f'[activity]\nfiles = "a.csv"\ncolumns = {{ {COLUMNS} }}',
            "wrong_type",
        ),
        ("activity.columns.occurred_at", activity(columns='customer_id = "c"'), None),
        ("activity.columns.customer_id", activity(columns='occurred_at = "c"'), None),
        (
            "activity.columns.customer_id",
            activity(columns='customer_id = ["a", "b"], occurred_at = "t"'),
            "wrong_value",
        ),
        (
            "activity.columns.amount",
            activity(columns=COLUMNS + ', amount = ["a", "b"]'),
            "wrong_value",
        ),
        (
            "activity.columns.weekday",
            activity(columns=COLUMNS + ', weekday = "w"'),
            None,
        ),
        (
            "activity.columns.row_number",
            activity(columns=COLUMNS + ', row_number = "w"'),
            "wrong_value",
        ),
        ("activity.columns.a b", activity(columns=COLUMNS + ', "a b" = "w"'), None),
        ("activity.columns.x", activity(columns=COLUMNS + ', x = ""'), "wrong_value"),
        ("activity.columns.x", activity(columns=COLUMNS + ", x = 1"), "wrong_type"),
        ("activity.types.amount", activity('types = { amount = "text" }'), None),
        (
            "activity.types.stor",
            activity('types = { stor = "text" }', columns=COLUMNS + ', store = "s"'),
            "wrong_value",
        ),
        (
            "activity.types.n",
            activity('types = { n = "integr" }', columns=COLUMNS + ', n = "s"'),
            "wrong_value",
        ),
        (
            "activity.columns.n",
            activity('types = { n = "integer" }', columns=COLUMNS + ', n = ["s", "t"]'),
            "wrong_value",
        ),
        ("activity.constants.amount", activity('constants = { amount = "1" }'), None),
        (
            "activity.constants.occurred_at",
            activity('constants = {occurred_at="1"}'),
            None,
        ),
        ("activity.constants.source", activity('constants = { source = "1" }'), None),
        ("activity.timezone", activity('timezone = "Mars"'), "wrong_value"),
        ("activity.amount_decimals", activity("amount_decimals = 9"), "out_of_range"),
        ("activity.amount_decimals", activity('amount_decimals = "2"'), "wrong_type"),
        ("activity.occurred_at_format", activity('occurred_at_format = "ISO"'), None),
        ("activity.occurred_at_format", activity('occurred_at_format = "%Q"'), None),
        ("activity.occurred_at_format", activity('occurred_at_format = "%H:%M"'), None),
        ("activity.ambiguous", activity('ambiguous = "first"'), "wrong_value"),
        ("activity.grain", activity('grain = "line_item"'), "missing_key"),
        ("activity.grain", activity('grain = "basket"'), "wrong_value"),
        ("activity.fresh_within", activity('fresh_within = "soon"'), "wrong_value"),
        ("activity.format.delimiter", activity('format = { delimiter = ";;" }'), None),
        ("activity.format.delimiter", activity('format = { delimiter = "€" }'), None),
        ("activity.format.quote", activity("format = { quote = ',' }"), None),
        ("activity.format.decimal", activity('format = { decimal = "x" }'), None),
        ("activity.format.encoding", activity('format = { encoding = "utf-9" }'), None),
        (
            "activity.format.encoding",
            activity('format = { encoding = "base64" }'),
            None,
        ),
        ("activity.format.delimeter", activity('format = { delimeter = ";" }'), None),
        (
            "activity.columns.customer_id",
            activity("format = { header = false }"),
            "wrong_value",
        ),
    ],
)
def test_activity(column, text, code):
    """Each fault of a source should be named."""
    fault = faults_of(definition_text(activity=text, badges=badge_text(COUNT)))[column]
    assert fault.code == (code or fault.code)


def test_headerless_columns_are_positions():
    """Without a header columns should be named by their position."""
    text = activity(
        "format = { header = false }", columns='customer_id = "2", occurred_at = "1"'
    )
    parsed = definition(activity=text, badges=badge_text(COUNT))
    assert parsed.sources[0].columns == {"customer_id": "2", "occurred_at": "1"}


def sources(*tables):
    """Return several [[activity]] tables."""
    return "\n".join(
        f'[[activity]]\nfiles = ["a"]\ncolumns = {{ {columns} }}\n{more}'
        for columns, more in tables
    )


def test_several_sources_need_names_of_their_own():
    """Several sources should each need a name that no other has."""
    badges = badge_text(COUNT)
    nameless = sources((COLUMNS, 'name = "a"'), (COLUMNS, ""))
    assert "activity.1.name" in faults_of(
        definition_text(activity=nameless, badges=badges)
    )
    same = sources((COLUMNS, 'name = "a"'), (COLUMNS, 'name = "a"'))
    fault = faults_of(definition_text(activity=same, badges=badges))["activity.1.name"]
    assert fault.code == "not_unique"


def test_fault_of_second_source_has_its_line():
    """A fault in the second [[activity]] should show the line there."""
    text = definition_text(
        activity=sources(
            (COLUMNS, 'name = "a"'), (COLUMNS, 'name = "b"\nambiguous = "x"')
        ),
        badges=badge_text(COUNT),
    )
    fault = faults_of(text)["activity.1.ambiguous"]
    assert text.splitlines()[fault.row - 1] == 'ambiguous = "x"'


def test_a_column_has_one_type_in_all_sources():
    """A column that is text in one source and a number in another should be refused."""
    with_n = COLUMNS + ', n = "n"'
    text = sources(
        (with_n, 'name = "a"'), (with_n, 'name = "b"\ntypes = { n = "integer" }')
    )
    faults = faults_of(definition_text(activity=text, badges=badge_text(COUNT)))
    assert "activity.1.types.n" in faults


@pytest.mark.parametrize(
    ("column", "rule", "code"),
    [
        ("at_least", '{ kind = "activity_count" }', "missing_key"),
        ("at_least", '{ kind = "activity_count", at_least = 0 }', "out_of_range"),
        ("at_least", '{ kind = "activity_count", at_least = 1.5 }', "wrong_type"),
        ("at_least", '{ kind = "activity_count", at_least = "5" }', "wrong_type"),
        ("at_least", '{ kind = "activity_count", at_least = true }', "wrong_type"),
        ("of", '{ kind = "activity_count", at_least = 1, of = "type" }', "wrong_value"),
        ("at_least", '{ kind = "total_amount", at_least = 0 }', "out_of_range"),
        ("at_least", '{ kind = "total_amount", at_least = 1.001 }', "out_of_range"),
        ("at_least", '{ kind = "total_amount", at_least = inf }', "wrong_type"),
        ("of", '{ kind = "distinct_count", at_least = 1 }', "missing_key"),
        (
            "of",
            '{ kind = "distinct_count", at_least = 1, of = "typ" }',
            "unknown_column",
        ),
        ("period", '{ kind = "streak", periods = 3 }', "missing_key"),
        ("periods", '{ kind = "streak", period = "day" }', "missing_key"),
        (
            "period",
            '{ kind = "streak", periods = 3, period = "year" }',
            "wrong_value",
        ),
        (
            "periods",
            '{ kind = "streak", periods = 0, period = "day" }',
            "out_of_range",
        ),
        ("since", '{ kind = "elapsed", after = "1y" }', "missing_key"),
        (
            "since",
            '{ kind = "elapsed", after = "1y", since = "customer.enrolled_at" }',
            "unknown_column",
        ),
        (
            "per",
            '{ kind = "activity_count", at_least = 1, within = "1d", per = "week" }',
            "wrong_value",
        ),
        (
            "per",
            '{ kind = "activity_count", at_least = 1, per = "day" }',
            "wrong_value",
        ),
        (
            "source",
            '{ kind = "activity_count", at_least = 1, source = "web" }',
            "unknown_source",
        ),
        (
            "where",
            '{ kind = "activity_count", at_least = 1, where = "1 + 1" }',
            "wrong_type",
        ),
        ("rules", '{ kind = "all_of" }', "missing_key"),
        (
            "rules.0.kind",
            '{ kind = "all_of", rules = [{ kind = "any_of", rules = [] }] }',
            "wrong_value",
        ),
        (
            "rules.0.at_least",
            '{ kind = "any_of", rules = [{ kind = "activity_count" }] }',
            "missing_key",
        ),
        (
            "rules.0.at_leats",
            '{ kind = "any_of", rules = [{ kind = "activity_count", at_leats = 1 }] }',
            "unknown_key",
        ),
        ("kind", "{ at_least = 1 }", "missing_key"),
    ],
)
def test_rules(column, rule, code):
    """Each fault of a rule should be named at the key that it concerns."""
    faults = faults_of(definition_text(badges=badge_text(rule)))
    assert faults[f"badges.regular.rule.{column}"].code == code


def test_total_amount_needs_an_amount():
    """A sum should be refused when no source maps an amount."""
    badges = badge_text('{ kind = "total_amount", at_least = 5 }')
    faults = faults_of(definition_text(activity=activity(), badges=badges))
    assert faults["badges.regular.rule.kind"].code == "unknown_column"


@pytest.mark.parametrize(
    ("column", "more", "code"),
    [
        ("where", 'where = "stor = 1"', "unknown_column"),
        ("max_occurrences", "max_occurrences = 2", "wrong_value"),
        ("max_occurrences", "max_occurrences = 0\nrepeat = true", "out_of_range"),
        ("earned_until", "earned_from = 2024-01-01\nearned_until = 2024-01-01", None),
        (
            "counted_until",
            "counted_from = 2024-01-02\ncounted_until = 2024-01-01",
            None,
        ),
        ("earned_from", 'earned_from = "1 May"', "wrong_value"),
        ("earned_from", "earned_from = 2024-01-01T00:00:00", "wrong_type"),
        ("canary_customer_ids", "canary_customer_ids = [0]", "out_of_range"),
        ("canary_customer_ids.0", 'canary_customer_ids = ["1"]', "wrong_type"),
        ("before_window", 'before_window = "earlier"', "wrong_value"),
        ("precision", 'precision = "hour"', "wrong_value"),
        ("repeat", 'repeat = "yes"', "wrong_type"),
        ("name", 'name = "other"', "unknown_key"),
        ("series", 'series = "a\\u001fb"', "wrong_value"),
    ],
)
def test_badges(column, more, code):
    """Each fault of a badge should be named."""
    fault = faults_of(definition_text(badges=badge_text(COUNT, more=more)))
    found = fault[f"badges.regular.{column}"]
    assert found.code == (code or found.code)


@pytest.mark.parametrize(
    ("column", "badges", "code"),
    [
        ("badges", "", "missing_key"),
        ("badges.x", "[badges]\nx = 1", "wrong_type"),
        ("badges.regular.rule", BADGE.replace("rule =", "rul ="), "missing_key"),
        ("badges.regular.rul", BADGE.replace("rule =", "rul ="), "unknown_key"),
        ("badges.regular.badge_meta_id", BADGE.replace(BADGE_META_ID, "6"), None),
        ("badges.regular.reference_id", BADGE.replace("retro-2017", ""), None),
        ("badges.Big Spender", badge_text(COUNT, name='"Big Spender"'), None),
        (
            "badges.regular.repeat",
            badge_text(
                f'{{ kind = "all_of", rules = [{COUNT}] }}', more="repeat = true"
            ),
            "wrong_value",
        ),
    ],
)
def test_badge_tables(column, badges, code):
    """Each fault of a badge's table as a whole should be named."""
    fault = faults_of(definition_text(badges=badges))[column]
    assert fault.code == (code or fault.code)


def test_series_tells_two_badges_of_one_id_apart():
    """Two badges should share a badge_meta_id only under different series."""
    first = badge_text(COUNT)
    same = badge_text(COUNT, name="second")
    other = badge_text(COUNT, name="second", more='series = "2"')
    assert (
        faults_of(definition_text(badges=first + same))[
            "badges.second.badge_meta_id"
        ].code
        == "not_unique"
    )
    assert len(definition(badges=first + other).badges) == 2


@pytest.mark.parametrize(
    ("column", "rest"),
    [
        ("quality.max_rejected_share", "[quality]\nmax_rejected_share = 1.5"),
        ("quality.min_rows", "[quality]\nmin_rows = -1"),
        ("quality.min_row", "[quality]\nmin_row = 1"),
        ("guards.max_awards", "[guards]\nmax_awards = -1"),
        ("guards.max_calls", "[guards]\nmax_calls = 1.5"),
        ("guards.max_out_of_window_share", "[guards]\nmax_out_of_window_share = -0.1"),
        ("guards", "guards = 1"),
        ("held.files", '[held]\ncolumns = { customer_id = "c" }'),
        (
            "held.columns.badge_meta_id",
            '[held]\nfiles = ["h"]\ncolumns = { customer_id = "c" }',
        ),
        (
            "held.columns.custmer_id",
            f'[held]\nfiles = ["h"]\ncolumns = {{ {HELD}, custmer_id = "x" }}',
        ),
        (
            "held.files",
            f'[held]\nfiles = ["gs://h"]\ncolumns = {{ {HELD} }}',
        ),
    ],
)
def test_other_tables(column, rest):
    """Each fault of quality, guards and held should be named."""
    head = HEAD + (rest if rest.startswith("guards =") else "")
    rest = "" if rest.startswith("guards =") else rest
    assert column in faults_of(definition_text(head=head, rest=rest))


RETURNED = 'columns = { customer_id = "c", occurred_at = "t", activity_id = "b", '


def returning(keys, *, columns='of = "o"', more="", joined=RETURNED):
    """Return a definition whose sources have such columns, and these `[returns]`."""
    table = f'[activity]\nfiles = ["a.csv"]\n{joined}{columns} }}\n{more}\n'
    return definition_text(
        activity=table,
        badges=badge_text(COUNT),
        rest=f"[returns]\n{keys}\n",
    )


def test_returns_are_parsed():
    """Returns should be negative, cancel in full and reduce in part, unless said."""
    keys = 'where = "of <> \'\'"\nparent = "of"'
    parsed = parse_definition(returning(keys), path="x.toml").returns
    assert (parsed.where, parsed.parent) == ("of <> ''", "of")
    assert (parsed.amounts, parsed.full, parsed.partial) == (
        *("negative", "cancel", "reduce"),
    )


@pytest.mark.parametrize(
    ("column", "keys", "code", "given"),
    [
        ("returns.where", 'parent = "of"', "missing_key", {}),
        ("returns.parent", "where = \"of <> ''\"", "missing_key", {}),
        (
            "returns.parents",
            'where = "of <> \'\'"\nparent = "of"\nparents = "of"',
            "unknown_key",
            {},
        ),
        ("returns.where", 'where = "oof > 1"\nparent = "of"', "unknown_column", {}),
        ("returns.where", 'where = "of"\nparent = "of"', "wrong_type", {}),
        ("returns.parent", 'where = "of <> \'\'"\nparent = "oof"', None, {}),
        (
            "returns.parent",
            'where = "of <> \'\'"\nparent = "activity_id"',
            "wrong_value",
            {},
        ),
        (
            "returns.parent",
            'where = "of > 1"\nparent = "of"',
            "wrong_value",
            {"more": 'types = { of = "decimal" }'},
        ),
        (
            "returns.parent",
            'where = "of <> \'\'"\nparent = "of"',
            "wrong_value",
            {"columns": 'of = ["s", "o"]'},
        ),
        (
            "returns.parent",
            'where = "of <> \'\'"\nparent = "of"',
            "unknown_column",
            {"joined": 'columns = { customer_id = "c", occurred_at = "t", '},
        ),
        (
            "returns.amounts",
            'where = "of <> \'\'"\nparent = "of"\namounts = "minus"',
            "wrong_value",
            {},
        ),
        (
            "returns.full",
            'where = "of <> \'\'"\nparent = "of"\nfull = "reduce"',
            "wrong_value",
            {},
        ),
        (
            "returns.partial",
            'where = "of <> \'\'"\nparent = "of"\npartial = "cancel"',
            "wrong_value",
            {},
        ),
        (
            "returns.partial",
            'where = "of <> \'\'"\nparent = "of"',
            "not_built",
            {"more": 'grain = "line_item"'},
        ),
    ],
)
def test_returns(column, keys, code, given):
    """Each fault of returns should be named, and nothing else found."""
    found = faults_of(returning(keys, **given))
    assert list(found) == [column]
    assert code in {None, found[column].code}


def test_returns_of_lines_may_keep_what_came_back_in_part():
    """Lines go with returns where a partial return changes nothing."""
    keys = 'where = "of <> \'\'"\nparent = "of"\npartial = "keep"'
    text = returning(keys, more='grain = "line_item"')
    assert parse_definition(text, path="x.toml").returns.partial == "keep"


def test_read_definition(tmp_path: Path):
    """A definition should be read from its file, byte order mark or not."""
    path = tmp_path / "import.toml"
    path.write_bytes(b"\xef\xbb\xbf" + definition_text().encode())
    assert read_definition(path).path == str(path)


def test_read_definition_refuses(tmp_path: Path):
    """A file that is missing, no file, or not UTF-8 should be refused by name."""
    path = tmp_path / "import.toml"
    with pytest.raises(DefinitionRefused, match="no such file"):
        read_definition(path)
    with pytest.raises(DefinitionRefused, match="can't be read"):
        read_definition(tmp_path)
    path.write_bytes(b'name = "x"\ndescription = "caf\xe9"\n')
    with pytest.raises(DefinitionRefused, match=r"2: .*UTF-8") as caught:
        read_definition(path)
    assert caught.value.faults[0].file == str(path)


def test_activity_text_is_not_touched_by_braces():
    """The factories' activity should be the one that the readme shows."""
    assert definition(activity=ACTIVITY).sources[0].files == ("activity/*.csv",)
