"""Finds the customer that a question is about, by id or by identifier.

Belongs here: the brand's customer files, and the platform's look-up where they don't
say. Does not belong here: the answer to the question (`flows.commands.explaining`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

import polars as pl

from flows.files.customer_files import CustomerFiles
from flows.platform.capillary import Line
from flows.platform.reading import look_up
from transforms.activity.identifiers import IdentifierKind, read_identifiers
from transforms.customers.mapping import Fate
from transforms.customers.survivors import merged_into
from transforms.definition.definition import Definition
from transforms.errors import PlanRefused

IDENTIFIERS = get_args(IdentifierKind)


@dataclass(frozen=True)
class Identifier:
    """A customer as people name one: `mobile:+91 98123 45678`."""

    kind: IdentifierKind
    value: str

    @classmethod
    def read(cls, text: str) -> Identifier | None:
        """Return the identifier in a text; None where it names no kind of them."""
        kind, colon, value = text.partition(":")
        if not colon or kind not in IDENTIFIERS or not value.strip():
            return None
        return cls(cast("IdentifierKind", kind), value.strip())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The customer that is meant.

    `identifiers` are its own, in their one form; `merged` the customers who were merged
    into it.
    """

    customer_id: int
    identifiers: pl.Series
    merged: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


async def asked_customer(
    asked: int | Identifier,
    definition: Definition,
    files: CustomerFiles | None,
    line: Line | None,
) -> Asked:
    """Return who is meant: survivors stand for the merged.

    Without `line` no platform is asked. Raises PlanRefused where nobody is known by an
    identifier, or several are.
    """
    notes: list[str] = []
    if isinstance(asked, int):
        customer_id = asked
    else:
        found, named = _by_files(asked, definition, files)
        if found is None:
            found, note = await _by_platform(asked, named, definition, line)
            notes.append(note)
        customer_id = found
    if files is None:
        return Asked(
            customer_id=customer_id,
            identifiers=pl.Series([], dtype=pl.String),
            notes=tuple(notes),
        )
    survivor_id = files.known.survivor_of(customer_id)
    if survivor_id != customer_id:
        notes.append(f"customer {customer_id} was merged into {survivor_id}")
    merged = merged_into(survivor_id, files.known.survivors)
    if merged:
        told = ", ".join(map(str, merged))
        notes.append(f"what customer {told} was awarded before the merge is among this")
    return Asked(
        customer_id=survivor_id,
        identifiers=files.known.identifiers_of(survivor_id),
        merged=tuple(merged),
        notes=tuple(notes),
    )


def _by_files(
    asked: Identifier, definition: Definition, files: CustomerFiles | None
) -> tuple[int | None, str | None]:
    """Return whose the identifier is by the customer files, and its one form."""
    customers = definition.customers
    read = read_identifiers(
        pl.Series([asked.value]),
        (),
        kind=asked.kind,
        country_code=None if customers is None else customers.country_code,
    )
    one, reason = read["identifier"][0], read["reason"][0]
    if one is None:
        raise PlanRefused.of(
            "customer_unreadable", f"--customer {asked.kind}:{asked.value}: {reason}"
        )
    if files is None or customers is None or customers.identifier != asked.kind:
        return None, one
    found = files.known.fates.filter(pl.col("identifier") == one)
    if found.is_empty():
        return None, one
    customer_id, fate = found["customer_id"][0], found["fate"][0]
    if customer_id is None:
        why = "several customers have it"
        if fate == Fate.EXCLUDED:
            why = "it is excluded, and the customer files don't say whose it is"
        raise PlanRefused.of("customer_not_clear", f"{asked.kind} {one}: {why}")
    return int(customer_id), one


async def _by_platform(
    asked: Identifier, one: str | None, definition: Definition, line: Line | None
) -> tuple[int, str]:
    """Return whom the platform knows by an identifier, and what it says besides."""
    customers = definition.customers
    maps = customers is not None and customers.identifier == asked.kind
    known = "no customer file knows it" if maps else f"no {asked.kind} is mapped here"
    if line is None:
        raise PlanRefused.of(
            "customer_unknown",
            f"{asked.kind} {one}: {known}: give the platform's numeric customer id, or "
            "ask the platform with --online",
        )
    found = await look_up(line, asked.kind, str(one))
    if found.customer_id is None:
        raise PlanRefused.of(
            "customer_unknown",
            f"{asked.kind} {one}: {known}, and the platform says: {found.said}",
        )
    merged = ", as the survivor of a merge" if found.is_survivor else ""
    return (
        found.customer_id,
        f"{known}: the platform looked it up{merged}: customer {found.customer_id}",
    )
