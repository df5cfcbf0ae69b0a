"""Turns the text of a `where` into a Polars expression.

Belongs here: what a condition may say, and what it means. Does not belong here: which
conditions a rule joins, and the built-in columns themselves (`rules`).

A condition is SQL. It is parsed, and each node of the tree that comes out is either
translated here or refused: there is no other way from the text to Polars, so what
was checked is what runs. Text is never handed to an SQL engine, which might read files.

Meanings where dialects differ: null is unknown (three-valued logic), and an activity
for which a condition is unknown does not pass; `/` divides exactly, by zero gives null;
`%` has the sign of the left side; LIKE minds case, ILIKE does not; text compared with a
date column is a day (`occurred_date >= '2024-01-31'`), with `occurred_at` an instant
that must carry its offset. Names of columns mind case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from transforms.conditions.functions import FUNCTIONS
from transforms.conditions.nodes import (
    MAX_NESTING,
    Kind,
    RefusedError,
    Translation,
    column_name,
    refuse,
)
from transforms.conditions.operators import OPERATORS
from transforms.errors import DefinitionRefused, Fault

_MAX_LENGTH = 20_000
_SHOWN = 120  # characters of a condition in a message
_PREFIXES = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
_NODES = {**OPERATORS, **FUNCTIONS}


def condition(
    text: str,
    columns: Mapping[str, pl.DataType],
    *,
    place: str,
    amount_decimals: int,
) -> pl.Expr:
    """Return a condition over these columns as a Boolean expression.

    `columns` are the columns that may be used, with their types. `amount` (Int64 minor
    units) is in currency units in a condition: the double nearest to it, hence equal
    to the same number written as a literal. Raises DefinitionRefused, the fault's
    `column` being `place`.
    """
    try:
        tree = _parsed(text)
        part = Translation(_NODES, columns, amount_decimals).part(tree, depth=0)
        if part.kind not in {Kind.TRUTH, Kind.NOTHING}:
            refuse("wrong_type", f"gives {part.kind}, not true or false")
    except RefusedError as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        fault = Fault(code=error.code, message=f"{error} in: {shown}", column=place)
        raise DefinitionRefused(fault) from None
    return part.expr.cast(pl.Boolean)


def columns_in(text: str) -> frozenset[str]:
    """Return the names of the columns that a condition uses."""
    try:
        tree = _parsed(text)
    except RefusedError as error:
        fault = Fault(code=error.code, message=f"{error} in: {text[:_SHOWN]}")
        raise DefinitionRefused(fault) from None
    return frozenset(column_name(node) for node in tree.find_all(exp.Column))


def _parsed(text: str) -> exp.Expr:
    """Return the tree of one condition; long and deep ones are refused unparsed."""
    if len(text) > _MAX_LENGTH:
        refuse("too_long", f"a condition has {_MAX_LENGTH} characters at most")
    try:
        _refuse_deep(text)
        found = [tree for tree in sqlglot.parse(text, read="postgres") if tree]
    except (SqlglotError, RecursionError) as error:
        said = re.sub(r"\x1b\[[0-9;]*m", "", str(error).split("\n", 1)[0])
        refuse("not_sql", f"is no SQL condition: {said}")
    if len(found) != 1:
        refuse("not_sql", "must be one condition")
    return found[0]


def _refuse_deep(text: str) -> None:
    """Refuse what would be nested too deep, before the parser goes down into it."""
    depth = run = 0
    for token in sqlglot.tokenize(text, read="postgres"):
        is_prefix = token.token_type in _PREFIXES
        run = run + 1 if is_prefix else 0
        if token.token_type in {TokenType.L_PAREN, TokenType.CASE, TokenType.L_BRACKET}:
            depth += 1
        elif token.token_type in {
            TokenType.R_PAREN,
            TokenType.END,
            TokenType.R_BRACKET,
        }:
            depth -= 1
        if depth + run > MAX_NESTING:
            refuse("too_deep", f"is nested more than {MAX_NESTING} deep")
