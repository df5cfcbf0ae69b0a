"""What docs/definition.md says of the import definition is what parses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from factories_definition import ACTIVITY, BADGE, HEAD

from transforms.definition.definition import (
    Badge,
    CsvFormat,
    Customers,
    Definition,
    Guards,
    Held,
    Quality,
    Returns,
    Rule,
    Source,
    Strict,
    parse_definition,
)

TEXT = (Path(__file__).parent.parent / "docs" / "definition.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
# Not keys of the file: where it lies, what it says, and tables of other names.
INNER = {
    *("path", "text", "sources", "badges"),
    *("quality", "guards", "returns", "held", "customers"),
}
# The heading under which a table's keys stand, up to the next of these.
SECTIONS: dict[type[Strict], tuple[str, str]] = {
    Definition: ("## Head", "## `[activity]`"),
    Source: ("## `[activity]`", "`format`:"),
    CsvFormat: ("`format`:", "### What one activity is"),
    Badge: ("## `[badges.NAME]`", "### Rules"),
    Rule: ("### Rules", "### Where"),
    Quality: ("## `[quality]`", "## `[guards]`"),
    Guards: ("## `[guards]`", "## `[returns]`"),
    Returns: ("## `[returns]`", "## `[held]`"),
    Held: ("## `[held]`", "## `[customers]`"),
    Customers: ("## `[customers]`", "### How identifiers are read"),
}


def completed(block: str) -> str:
    """Return a block with the small definition's parts that it lacks."""
    head = "" if block.startswith("name =") else HEAD
    activity = "" if re.search(r"^\[+activity\]", block, re.MULTILINE) else ACTIVITY
    badge = "" if "[badges." in block else BADGE
    if re.search(r"^\[\[activity", block, re.MULTILINE):
        return f"{head}\n{block}\n{badge}"
    return f"{head}\n{block}\n{activity}\n{badge}"


@pytest.mark.parametrize("block", BLOCKS)
def test_each_example_is_a_definition(block: str) -> None:
    """Every TOML block parses, completed where it is a fragment."""
    assert parse_definition(completed(block), path="import.toml").badges


@pytest.mark.parametrize("model", SECTIONS)
def test_each_key_is_documented(model: type[Strict]) -> None:
    """Every key of a table has a row or a word in the section of that table."""
    opening, ending = SECTIONS[model]
    section = TEXT.split(f"\n{opening}\n", 1)[1].split(f"\n{ending}\n", 1)[0]
    missing = [
        key
        for key in model.model_fields
        if f"`{key}`" not in section and not (model is Definition and key in INNER)
    ]
    assert not missing
