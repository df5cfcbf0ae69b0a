"""What an operator writes down for a sandbox: switches, a file of badges, a definition.

Belongs here: reading those, and naming what is wrong with them. Does not belong here:
running anything (`running`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from flows.sandbox.records import Badge, Claim
from flows.sandbox.switches import Switches
from transforms.errors import Fault, SettingsRefused

if TYPE_CHECKING:  # a definition drags Polars in, which the sandbox does without
    from transforms.definition.definition import Definition


def switches_from(pairs: Iterable[str]) -> Switches:
    """Return the switches that `name=value` texts set; all wrong ones are named.

    `none` stands for no value, commas part the members of a set.
    """
    values: dict[str, Any] = {}
    faults = []
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not equals or name not in Switches.model_fields:
            faults.append(_unknown_switch(pair, name))
        else:
            values[name] = text
    try:
        switches = Switches.model_validate(values)
    except ValidationError as error:
        faults += [
            Fault(
                code="switch_value",
                column=str(one["loc"][0]),
                message=f"{one['input']!r}: {one['msg']}",
            )
            for one in error.errors()
        ]
    if faults:
        raise SettingsRefused(*faults)
    return switches


def _unknown_switch(pair: str, name: str) -> Fault:
    near = difflib.get_close_matches(name, Switches.model_fields, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "write it as name=value"
    message = f"{pair!r} sets no switch of the sandbox: {hint}"
    return Fault(code="switch_unknown", message=message)


def switches_described() -> list[tuple[str, str, str]]:
    """Return name, default and meaning of every switch."""
    return [
        (name, str(field.default), " ".join((field.description or "").split()))
        for name, field in Switches.model_fields.items()
    ]


def badges_from_file(path: Path) -> list[Badge]:
    """Return the badges of a JSON file: an array of objects with the keys of `Badge`.

    `badge_meta_id` and `name` are required. `reference_id` stands for a claim of
    `Historical_Import` with that reference.
    """
    try:
        rows = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _badges_refused(path, f"can't be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise _badges_refused(path, f"is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise _badges_refused(path, "is not a JSON array of badges")
    badges, faults = [], []
    for number, row in enumerate(rows, start=1):
        try:
            badges.append(_badge(row, number))
        except ValidationError as error:
            faults += [
                Fault(
                    code="badge_value",
                    file=str(path),
                    row=number,
                    column=".".join(map(str, one["loc"])),
                    message=one["msg"],
                )
                for one in error.errors()
            ]
    if faults:
        raise SettingsRefused(*faults)
    return badges


def _badges_refused(path: Path, message: str) -> SettingsRefused:
    return SettingsRefused(Fault(code="badges_file", file=str(path), message=message))


def _badge(row: Any, number: int) -> Badge:
    if isinstance(row, dict) and "reference_id" in row:
        claim = {"reference_id": row.pop("reference_id")}
        row = {"claims": [claim], **row}
    if isinstance(row, dict):
        row = {"numeric_id": number, **row}
    return Badge.model_validate(row)


def badges_of(definition: Definition, **fields: Any) -> list[Badge]:
    """Return a badge for each badge of an import definition.

    It is claimed for `Historical_Import` and the definition's reference ids, and its
    window is wide. `fields` are further fields of `Badge`, the same for all.
    """
    claims: dict[str, list[Claim]] = {}
    names: dict[str, str] = {}
    for badge in definition.badges:
        claim = Claim(reference_id=badge.reference_id)
        known = claims.setdefault(badge.badge_meta_id, [])
        if claim not in known:
            known.append(claim)
        names.setdefault(badge.badge_meta_id, badge.name)
    return [
        Badge(
            badge_meta_id=badge_meta_id,
            name=names[badge_meta_id],
            numeric_id=number,
            **{"claims": tuple(claims[badge_meta_id]), **fields},
        )
        for number, badge_meta_id in enumerate(claims, start=1)
    ]
