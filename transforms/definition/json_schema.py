"""Describes the import definition as a JSON Schema, for editors.

Belongs here: the shape of the TOML file, derived from the models. Does not belong here:
which keys go together (`definition.checks`): a schema lets more pass than parsing does.
"""

from __future__ import annotations

from typing import Any

from transforms.definition.definition import Definition

_DURATION = {"type": "string", "pattern": "^0*[1-9][0-9]*(h|d|w|mo|y)$"}
_HEAD = ("name", "description", "owner", "ticket", "timezone")
_TABLES = ("quality", "guards", "returns", "held", "customers")


def definition_schema() -> dict[str, Any]:
    """Return the JSON Schema of a definition's TOML, a day being text.

    A badge may lack any key, for `[defaults]` may hold it.
    """
    whole = _as_toml(Definition.model_json_schema())
    parts, fields = whole["$defs"], whole["properties"]
    del parts["Duration"]
    badge = parts["Badge"]
    del badge["properties"]["name"], badge["required"]
    source, a_badge = {"$ref": "#/$defs/Source"}, {"$ref": "#/$defs/Badge"}
    several = {"type": "array", "items": source, "minItems": 1}
    badges = {
        "type": "object",
        "additionalProperties": a_badge,
        "minProperties": 1,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Import definition",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "timezone", "activity", "badges"],
        "properties": {
            **{key: fields[key] for key in _HEAD},
            "activity": {"anyOf": [source, several]},
            "defaults": a_badge,
            "badges": badges,
            **{key: fields[key] for key in _TABLES},
        },
        "$defs": parts,
    }


def _as_toml(node: Any) -> Any:
    """Return a schema in which durations are text and decimals are numbers."""
    if isinstance(node, list):
        return [_as_toml(part) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("$ref") == "#/$defs/Duration":
        return dict(_DURATION)
    choices = node.get("anyOf", [])
    if any(part.get("type") == "number" for part in choices):
        # Pydantic also takes a decimal as text, with a pattern; TOML has numbers.
        choices = [part for part in choices if part.get("type") != "string"]
        node = {**node, "anyOf": choices}
    return {
        key: _as_toml(part)
        for key, part in node.items()
        if not (key == "default" and part is None)
    }
