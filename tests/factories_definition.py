"""Builds a small valid definition, as TOML text, that a test changes in one place."""

from __future__ import annotations

from transforms.definition.definition import Definition, parse_definition

BADGE_META_ID = "653de334b3cda7078c7c68eb"
HEAD = """\
name = "grocery"
timezone = "America/New_York"
"""
ACTIVITY = """\
[activity]
files = ["activity/*.csv"]
columns = { customer_id = "household_id", activity_id = "basket_id", \
occurred_at = "purchased_at", amount = "sales_value", type = "kind" }
"""
BADGE = f"""\
[badges.regular]
badge_meta_id = "{BADGE_META_ID}"
reference_id = "retro-2017"
where = "type = 'REGULAR' AND amount > 0"
rule = {{ kind = "activity_count", at_least = 2 }}
"""


def definition_text(
    *, head: str = HEAD, activity: str = ACTIVITY, badges: str = BADGE, rest: str = ""
) -> str:
    """Return the text of a valid definition; each part can be replaced."""
    return f"{head}\n{activity}\n{badges}\n{rest}"


def badge_text(rule: str, *, name: str = "regular", more: str = "") -> str:
    """Return the table of one badge with the rule given as an inline table."""
    return f"""\
[badges.{name}]
badge_meta_id = "{BADGE_META_ID}"
reference_id = "retro-2017"
rule = {rule}
{more}
"""


def definition(
    *,
    head: str = HEAD,
    activity: str = ACTIVITY,
    badges: str = BADGE,
    rest: str = "",
    path: str = "import.toml",
) -> Definition:
    """Return a valid small definition; each part of its text can be replaced."""
    text = definition_text(head=head, activity=activity, badges=badges, rest=rest)
    return parse_definition(text, path=path)
