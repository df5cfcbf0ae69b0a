"""What translating a condition works with: kinds of values, refusals, the walk.

Belongs here: what every node shares. Does not belong here: the nodes themselves
(`conditions.operators`, `conditions.functions`), parsing (`conditions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NoReturn

import polars as pl
from sqlglot import exp

MAX_NESTING = 32


class Kind(StrEnum):
    """What a part of a condition gives."""

    TEXT = "text"
    NUMBER = "a number"
    TRUTH = "true or false"
    DAY = "a day"
    INSTANT = "an instant"
    NOTHING = "null"


@dataclass(frozen=True)
class Part:
    """A translated node; `literal` is the text of a string that stands in the SQL."""

    expr: pl.Expr
    kind: Kind
    literal: str | None = None


class RefusedError(Exception):
    """Why a condition is refused; becomes a fault with the condition's place."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def refuse(code: str, message: str) -> NoReturn:
    """Refuse the condition."""
    raise RefusedError(code, message)


class Translation:
    """Translates the nodes that a condition may have; refuses all others."""

    def __init__(
        self,
        nodes: Mapping[type[exp.Expr], Translate],
        columns: Mapping[str, pl.DataType],
        amount_decimals: int,
    ) -> None:
        self.nodes = nodes
        self.columns = columns
        self.amount_decimals = amount_decimals

    def part(self, node: exp.Expr, *, depth: int) -> Part:
        """Return a node as an expression."""
        if depth > 4 * MAX_NESTING:
            refuse("too_deep", f"is nested more than {MAX_NESTING} deep")
        translate = self.nodes.get(type(node))
        if translate is None:
            name = node.sql(dialect="postgres")[:60]
            refuse("not_allowed", f"'{name}' can't be used in a condition")
        unused = _unread_arguments(node)
        if unused:
            name = node.sql(dialect="postgres")[:60]
            refuse("not_allowed", f"{unused} can't be used in '{name}'")
        part = translate(self, node, depth + 1)
        if node.args.get("negate"):  # how the parser writes NOT LIKE and IS NOT
            return Part(~part.expr, Kind.TRUTH)
        return part

    def of_kind(self, node: exp.Expr, kind: Kind, depth: int) -> pl.Expr:
        """Return a node that must give one kind of value."""
        part = self.part(node, depth=depth)
        return as_kind(part, kind, node)

    def is_whole(self, node: exp.Expr) -> bool:
        """Return whether a node is a column of whole numbers, beyond 2^53 too."""
        name = column_name(node) if isinstance(node, exp.Column) else ""
        dtype = self.columns.get(name)
        return dtype is not None and dtype.is_integer() and name != "amount"

    def alike(self, nodes: list[exp.Expr], depth: int) -> tuple[list[pl.Expr], Kind]:
        """Return nodes that must give the same kind, literals read as that kind."""
        parts = [self.part(node, depth=depth) for node in nodes]
        kinds = [p.kind for p in parts if p.kind is not Kind.NOTHING]
        firm = [p.kind for p in parts if p.literal is None and p.kind in kinds]
        kind = next(iter([*firm, *kinds]), Kind.NOTHING)
        exprs = [
            as_kind(part, kind, node) for part, node in zip(parts, nodes, strict=True)
        ]
        return exprs, kind


def column_name(node: exp.Column) -> str:
    """Return the name of a column, `customer.` before those of customers."""
    return f"{node.table}.{node.name}" if node.table else node.name


def as_kind(part: Part, kind: Kind, node: exp.Expr) -> pl.Expr:
    """Return a part as one kind of value; a literal is read as that kind."""
    if part.kind is kind:
        return part.expr
    if part.kind is Kind.NOTHING or kind is Kind.NOTHING:
        return part.expr
    if part.literal is not None and kind is Kind.DAY:
        return pl.lit(read_day(part.literal))
    if part.literal is not None and kind is Kind.INSTANT:
        return pl.lit(read_instant(part.literal))
    name = node.sql(dialect="postgres")[:60]
    refuse("wrong_type", f"'{name}' is {part.kind}, and {kind} is needed there")


def read_day(text: str) -> date:
    """Return a literal as a day, or refuse it."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        refuse("wrong_value", f"'{text}' is no day such as 2024-01-31")


def read_instant(text: str) -> datetime:
    """Return a literal as an instant, or refuse it."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        refuse("wrong_value", f"'{text}' is no instant such as 2024-01-31T10:00:00Z")
    if found.tzinfo is None:
        message = f"'{text}' has no offset: add one, or compare occurred_date"
        refuse("wrong_value", message)
    return found.astimezone(UTC)


# What a node of each type holds and is translated; anything else it may hold, such as
# the ESCAPE of a LIKE or the sub-select of an IN, is refused.
_ARGUMENTS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Column: frozenset({"this", "table"}),
    exp.In: frozenset({"this", "expressions", "negate"}),
    exp.Between: frozenset({"this", "low", "high", "negate"}),
    exp.Like: frozenset({"this", "expression", "negate"}),
    exp.ILike: frozenset({"this", "expression", "negate"}),
    exp.Is: frozenset({"this", "expression", "negate"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.Coalesce: frozenset({"this", "expressions"}),
    exp.Round: frozenset({"this", "decimals"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Nullif: frozenset({"this", "expression"}),
    exp.Extract: frozenset({"this", "expression"}),
}
# Flags of the parser that change nothing here.
_HARMLESS = frozenset({"safe", "typed", "coalesce"})


def _unread_arguments(node: exp.Expr) -> str:
    common = {"this", "expression"} if isinstance(node, exp.Binary) else {"this"}
    allowed = _ARGUMENTS.get(type(node), common) | _HARMLESS
    given = [
        key
        for key, value in node.args.items()
        if key not in allowed and value not in (None, False, [])
    ]
    return ", ".join(given)


Translate = Callable[[Translation, Any, int], Part]
