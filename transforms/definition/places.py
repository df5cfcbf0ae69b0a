"""Says where in a definition's text a fault is, in words that help.

Belongs here: the line of a key, near misses, and pydantic's errors in our words. Does
not belong here: what is a fault (`definition`, `definition.checks`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from transforms.errors import Fault, near

Key = tuple[str | int, ...]

_WORDS = {
    "string_type": "must be text, in quotes",
    "int_type": "must be a whole number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "decimal_type": "must be a number, without quotes",
    "is_instance_of": "must be a number, without quotes",
    "date_type": "must be a day such as 2024-01-31",
    "date_from_datetime_inexact": "must be a day such as 2024-01-31, without a time",
    "tuple_type": "must be a list, in square brackets",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


@dataclass(frozen=True)
class Places:
    """The text of a definition, and on which line each of its keys stands."""

    text: str
    path: str

    def fault(self, code: str, message: str, key: Key) -> Fault:
        """Return a fault at a key, with the line of it or of the table it is in."""
        return Fault(
            code=code,
            message=message,
            file=self.path,
            row=self.line_of(key),
            column=".".join(str(part) for part in key),
        )

    def line_of(self, key: Key) -> int | None:
        """Return the line of the longest part of the key that the text has."""
        for length in range(len(key), 0, -1):
            if key[:length] in self._lines:
                return self._lines[key[:length]]
        return None

    @cached_property
    def _lines(self) -> dict[Key, int]:
        lines: dict[Key, int] = {}
        seen: dict[Key, int] = {}
        table: Key = ()
        for number, line in enumerate(self.text.splitlines(), start=1):
            stripped = line.strip()
            if stripped.startswith("["):
                path = _keys_of(stripped)
                if path and stripped.startswith("[["):
                    seen[path] = seen.get(path, -1) + 1
                    lines.setdefault(path, number)  # `activity.files` of the only one
                    path = (*path, seen[path])
                table = path or table
                lines.setdefault(table, number)
            elif "=" in stripped:
                path = _keys_of(stripped.split("=", 1)[0] + "= 0")
                if path:
                    lines.setdefault((*table, *path), number)
        return lines


def _keys_of(line: str) -> Key:
    """Return the dotted key of one line of TOML, or nothing when it has none."""
    try:
        node: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str | int] = []
    while isinstance(node, dict | list) and node:
        if isinstance(node, list):
            node = node[-1]
            continue
        key, node = next(iter(node.items()))
        path.append(key)
    return tuple(path)


def unknown_key(key: Key, known: Collection[str], places: Places) -> Fault:
    """Return the fault of a key that the format does not have."""
    word = str(key[-1])
    return places.fault("unknown_key", f"unknown key '{word}'{near(word, known)}", key)


def pydantic_faults(
    error: ValidationError,
    raw: Mapping[str, Any],
    places: Places,
    *,
    inherited: Mapping[str, Collection[str]],
    fields: Mapping[str, Collection[str]],
) -> list[Fault]:
    """Return one fault per place, in our words.

    `raw` is what was validated; `inherited` names, per badge, the keys that came from
    `[defaults]`, where their faults are then shown; `fields` are the keys that each
    kind of table has.
    """
    found: dict[Key, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(real_place(detail, raw), []).append(detail)
    faults = []
    for location, details in found.items():
        key = _as_written(location, raw, inherited)
        table = next((p for p in reversed(location[:-1]) if isinstance(p, str)), "")
        faults.append(_fault(key, details, places, known=fields.get(table, ())))
    return faults


def real_place(detail: ErrorDetails, raw: Mapping[str, Any]) -> Key:
    """Return where an error is, without the parts that only name a union's branch."""
    location = detail["loc"]
    node: Any = raw
    kept: list[str | int] = []
    for index, part in enumerate(location):
        is_key = isinstance(node, Mapping) and part in node
        is_item = (
            isinstance(node, list | tuple)
            and isinstance(part, int)
            and part < len(node)
        )
        is_absent = index == len(location) - 1 and isinstance(node, Mapping)
        if is_key or is_item:
            node = node[part]
            kept.append(part)
        elif is_absent:
            kept.append(part)
    return tuple(kept)


def _as_written(
    location: Key, raw: Mapping[str, Any], inherited: Mapping[str, Collection[str]]
) -> Key:
    """Return the key as the file has it: our tuples are tables there."""
    if location[0] == "sources" and len(location) > 1:
        index = int(location[1])
        is_alone = len(raw["sources"]) == 1
        return (
            ("activity", *location[2:])
            if is_alone
            else ("activity", index, *location[2:])
        )
    if location[0] == "badges" and len(location) > 1:
        name = raw["badges"][int(location[1])]["name"]
        key = location[2:]
        if key and key[0] in inherited.get(name, ()):
            return ("defaults", *key)
        return ("badges", name, *key)
    return location


def _fault(
    key: Key, details: list[ErrorDetails], places: Places, *, known: Collection[str]
) -> Fault:
    """Return the fault of one place, which may have failed in several ways."""
    kinds = {detail["type"] for detail in details}
    first = details[0]
    word = str(key[-1])
    if "missing" in kinds:
        return places.fault("missing_key", f"'{word}' is missing: add it", key)
    if "extra_forbidden" in kinds:
        return unknown_key(key, known, places)
    if "literal_error" in kinds:
        expected = first["ctx"]["expected"]
        value = first["input"]
        close = near(str(value), [part.strip("' ") for part in _listed(expected)])
        message = f"'{value}' is not known here: write {expected}{close}"
        return places.fault("wrong_value", message, key)
    if "value_error" in kinds:
        message = str(first["ctx"]["error"])
        return places.fault("wrong_value", message, key)
    words = dict.fromkeys(_WORDS.get(d["type"], d["msg"]) for d in details)
    return places.fault("wrong_type", ", or ".join(words), key)


def _listed(expected: str) -> list[str]:
    return expected.replace(" or ", ",").split(",")
