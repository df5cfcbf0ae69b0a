"""Qualifies activity by every kind of rule, against the best SQL that asks the same.

Belongs here: the rules, their SQL, and the sizes they are tried at. Both sides read the
same Parquet file and answer the same: customer, instant, and the activity that met the
rule; the sums of what they answer are compared. The floor is reading the columns that
the rule needs, and doing nothing with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

BADGE = "653de334b3cda7078c7c68eb"
ZONE = "America/New_York"
AS_OF = datetime.fromisoformat("2018-06-01T00:00:00+00:00")
_DAY = 86_400_000_000
_LOCAL = f"occurred_at AT TIME ZONE '{ZONE}'"
_INSTANTS = "SELECT *, epoch_us(occurred_at) AS us FROM activity"


@dataclass(frozen=True)
class Case:
    """A rule, and the SQL that asks for customer_id, us and activity_id of the same."""

    name: str
    rule: str
    query: str


def _first(inner: str, condition: str, by: str = "us") -> str:
    """Return SQL for each customer's first row of `inner` where a condition holds."""
    return f"""SELECT customer_id, min({by}) AS us,
        arg_min(activity_id, {by}) AS activity_id
        FROM ({inner}) WHERE {condition} GROUP BY customer_id"""


def _per(period: str) -> str:
    return (
        f"SELECT *, epoch_us(occurred_at) AS us, "
        f"date_trunc('{period}', {_LOCAL}) AS period FROM activity"
    )


def _weeks(owner: str, weeks: str) -> str:
    """Return SQL for the weeks of each owner that end so many in a row."""
    return f"""
        SELECT *, count(*) OVER (PARTITION BY {owner}, week - 7 * place::INTEGER
            ORDER BY week) AS in_a_row,
            lag(last_us, 2) OVER (PARTITION BY {owner} ORDER BY week) AS opened
        FROM (SELECT *, row_number() OVER (PARTITION BY {owner} ORDER BY week) AS place
            FROM ({weeks}))"""


_WEEKS = f"""SELECT customer_id, date_trunc('week', {_LOCAL})::DATE AS week,
    min(epoch_us(occurred_at)) AS us, max(epoch_us(occurred_at)) AS last_us,
    arg_min(activity_id, occurred_at) AS activity_id FROM activity GROUP BY ALL"""
_WEEKS_OF_YEARS = f"""SELECT customer_id, date_trunc('week', {_LOCAL})::DATE AS week,
    year({_LOCAL}) AS year,
    min(epoch_us(occurred_at)) AS us, max(epoch_us(occurred_at)) AS last_us,
    arg_min(activity_id, occurred_at) AS activity_id FROM activity GROUP BY ALL"""
_COUNT = """SELECT customer_id, epoch_us(occurred_at) AS us, activity_id FROM activity
    QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY occurred_at) = 20"""
_TOTAL = _first(
    f"""SELECT *, sum(amount) OVER (PARTITION BY customer_id ORDER BY us) AS measure
        FROM ({_INSTANTS})""",
    "measure >= 150000",
)

CASES = (
    Case("activity_count", '{ kind = "activity_count", at_least = 20 }', _COUNT),
    Case(
        "activity_count within",
        '{ kind = "activity_count", at_least = 8, within = "30d" }',
        _first(
            f"""SELECT *, lag(us, 7) OVER (PARTITION BY customer_id ORDER BY us)
                AS since FROM ({_INSTANTS})""",
            f"since > us - {30 * _DAY}",
        ),
    ),
    Case(
        "activity_count per",
        '{ kind = "activity_count", at_least = 7, per = "month" }',
        _first(
            f"""SELECT *, row_number() OVER
                (PARTITION BY customer_id, period ORDER BY us) AS nth
                FROM ({_per("month")})""",
            "nth = 7",
        ),
    ),
    Case("total_amount", '{ kind = "total_amount", at_least = 1500 }', _TOTAL),
    Case(
        "total_amount within",
        '{ kind = "total_amount", at_least = 800, within = "30d" }',
        _first(
            f"""SELECT *, sum(amount) OVER (PARTITION BY customer_id ORDER BY us
                RANGE BETWEEN {30 * _DAY - 1} PRECEDING AND CURRENT ROW) AS measure
                FROM ({_INSTANTS})""",
            "measure >= 80000",
        ),
    ),
    Case(
        "total_amount per",
        '{ kind = "total_amount", at_least = 1500, per = "quarter" }',
        _first(
            f"""SELECT *, sum(amount) OVER
                (PARTITION BY customer_id, period ORDER BY us) AS measure
                FROM ({_per("quarter")})""",
            "measure >= 150000",
        ),
    ),
    Case(
        "distinct_count",
        '{ kind = "distinct_count", of = "store", at_least = 10 }',
        """SELECT customer_id, us, activity_id FROM (
            SELECT customer_id, store, min(epoch_us(occurred_at)) AS us,
            arg_min(activity_id, occurred_at) AS activity_id
            FROM activity GROUP BY ALL
        ) QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY us) = 10""",
    ),
    Case(
        "distinct_count within",
        '{ kind = "distinct_count", of = "store", at_least = 4, within = "30d" }',
        _first(
            f"""SELECT *, count(DISTINCT store) OVER (PARTITION BY customer_id
                ORDER BY us RANGE BETWEEN {30 * _DAY - 1} PRECEDING AND CURRENT ROW)
                AS measure FROM ({_INSTANTS})""",
            "measure >= 4",
        ),
    ),
    Case(
        "distinct_count per",
        '{ kind = "distinct_count", of = "store", at_least = 4, per = "month" }',
        _first(
            f"""SELECT customer_id, us, activity_id, row_number() OVER
                (PARTITION BY customer_id, period ORDER BY us) AS nth FROM (
                SELECT customer_id, period, store, min(us) AS us,
                arg_min(activity_id, us) AS activity_id
                FROM ({_per("month")}) GROUP BY ALL)""",
            "nth = 4",
        ),
    ),
    Case(
        "streak",
        '{ kind = "streak", periods = 6, period = "week" }',
        _first(_weeks("customer_id", _WEEKS), "in_a_row >= 6"),
    ),
    Case(
        "streak within",
        '{ kind = "streak", periods = 3, period = "week", within = "10d" }',
        _first(
            _weeks("customer_id", _WEEKS),
            f"in_a_row >= 3 AND opened > us - {10 * _DAY}",
        ),
    ),
    Case(
        "streak per",
        '{ kind = "streak", periods = 6, period = "week", per = "year" }',
        _first(_weeks("customer_id, year", _WEEKS_OF_YEARS), "in_a_row >= 6"),
    ),
    Case(
        "elapsed",
        '{ kind = "elapsed", since = "first_activity", after = "90d" }',
        f"""SELECT customer_id, epoch_us(date_trunc('day', (min(occurred_at)
            + INTERVAL 90 DAY) AT TIME ZONE '{ZONE}') AT TIME ZONE '{ZONE}') AS us,
            arg_min(activity_id, occurred_at) AS activity_id
            FROM activity GROUP BY customer_id""",
    ),
    Case(
        "all_of count and total",
        """{ kind = "all_of", rules = [{ kind = "activity_count", at_least = 20 },
            { kind = "total_amount", at_least = 1500 }] }""",
        f"""SELECT customer_id, max(us) AS us, arg_max(activity_id, us) AS activity_id
            FROM (({_COUNT}) UNION ALL ({_TOTAL}))
            GROUP BY customer_id HAVING count(*) = 2""",
    ),
)


def ours(path: Path, rule: str, rows: int) -> Any:
    """Qualify by one rule, in as many partitions as the rows ask for."""
    (met,) = _met(path, definition_of(rule), rows).values()
    return partial(
        _summary,
        met.select(
            "customer_id",
            us=pl.col("qualified_at").to_physical(),
            activity_id="evidence_activity_id",
        ),
    )


def all_at_once(path: Path, rows: int) -> None:
    """Qualify by every rule at once, as the badges of one definition."""
    _met(path, definition_of(*(case.rule for case in CASES)), rows)


def _met(path: Path, definition: Any, rows: int) -> dict[str, pl.DataFrame]:
    from flows.partitions import qualified, together  # noqa: PLC0415

    return together(
        qualified(
            pl.scan_parquet(path),
            definition.badges,
            definition,
            AS_OF,
            rows=rows,
            folder=path.parent,
        )
    )


def duckdb(path: Path, query: str) -> Any:
    """Ask the same in SQL, with as many threads."""
    import duckdb as database  # noqa: PLC0415

    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        connection.read_parquet(str(path)).create_view("activity")
        met = connection.sql(query).pl()
    return partial(_summary, met)


def floor(path: Path, rule: str) -> None:
    """Read the columns that a rule needs, and do nothing with them."""
    from transforms.rules.qualifications import required_columns  # noqa: PLC0415

    wanted = required_columns(definition_of(rule).badges[0])
    scan = pl.scan_parquet(path)
    names = [name for name in scan.collect_schema().names() if name in wanted]
    scan.select(names).collect()


def _summary(met: pl.DataFrame) -> tuple[int, int]:
    """Return how many met the rule, and a sum that any other answer would change."""
    whole = met.select(pl.all().cast(pl.Int64)).select(
        pl.col("customer_id") % 9_973 * (pl.col("us") % 99_991)
        + pl.col("activity_id") % 999_983
    )
    return met.height, int(whole.to_series().sum())


def definition_of(*rules: str) -> Any:
    """Return a definition with one badge per rule."""
    from transforms.definition.definition import parse_definition  # noqa: PLC0415

    badges = "\n".join(
        f'[badges.b{number}]\nbadge_meta_id = "{BADGE[:-1]}{number:x}"\n'
        f'reference_id = "r"\n[badges.b{number}.rule]\n{_as_table(rule)}'
        for number, rule in enumerate(rules)
    )
    text = f"""
name = "bench"
timezone = "{ZONE}"
[activity]
files = ["activity.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid", store = "store", type = "kind" }}
{badges}
"""
    return parse_definition(text, path="bench.toml")


def _as_table(rule: str) -> str:
    """Return an inline table as lines, so that a long rule is still TOML."""
    import tomllib  # noqa: PLC0415

    inline = tomllib.loads(f"rule = {' '.join(rule.split())}")["rule"]
    return "".join(f"{key} = {_as_value(value)}\n" for key, value in inline.items())


def _as_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_as_value, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {_as_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}"
    return f'"{value}"' if isinstance(value, str) else str(value)
