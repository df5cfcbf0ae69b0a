"""The JSON Schema that editors read is that of the models."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from factories_definition import BADGE, definition_text

from transforms.definition.json_schema import definition_schema

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs" / "definition.schema.json"
REGENERATE = (
    "python -c 'import json; from transforms.definition.json_schema import "
    "definition_schema as s; print(json.dumps(s(), indent=2))' "
    "> docs/definition.schema.json"
)


def errors(text: str) -> list[Any]:
    """Return what the schema finds wrong with a definition."""
    data = json.loads(json.dumps(tomllib.loads(text), default=str))
    validator = jsonschema.Draft202012Validator(definition_schema())
    return list(validator.iter_errors(data))


def test_the_file_is_up_to_date() -> None:
    """The file in docs/ is what the models give."""
    assert json.loads(FILE.read_text("utf-8")) == definition_schema(), REGENERATE


def test_the_example_is_valid() -> None:
    """The schema is one, and the sample import fits it."""
    jsonschema.Draft202012Validator.check_schema(definition_schema())
    path = ROOT / "data" / "imports" / "grocery-2017.toml"
    assert not errors(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "rest",
    [
        'badges.regular.colour = "red"',
        'badges.regular.hold = "soon"',
        "[quality]\nmax_rejected_share = '0.1'",
        '[customers]\nidentifier = "phone"\nfiles = []\ncolumns = {}',
        '[customers]\nidentifier = "mobile"\nfiles = []\ncolumns = {}\nwhom = 1',
    ],
)
def test_a_wrong_key_is_found(rest: str) -> None:
    """Unknown keys and tables, and values of another type, are errors."""
    badges = BADGE
    if rest.startswith("badges."):
        badges, rest = BADGE + rest.removeprefix("badges.regular."), ""
    assert errors(definition_text(badges=badges, rest=rest))
