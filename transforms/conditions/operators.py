"""Translates columns, literals, logic, comparisons and arithmetic of a condition.

Belongs here: what SQL writes without the name of a function. Does not belong here:
functions (`conditions.functions`), parsing and its limits (`conditions`).
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import polars as pl
from sqlglot import exp

from transforms.conditions.nodes import (
    Kind,
    Part,
    Translate,
    Translation,
    as_kind,
    column_name,
    read_day,
    read_instant,
    refuse,
)
from transforms.errors import near

_MAX_CHAIN = 200


def _column(to: Translation, node: exp.Column, depth: int) -> Part:
    del depth
    name = column_name(node)
    dtype = to.columns.get(name)
    if node.table and not any(one.startswith(f"{node.table}.") for one in to.columns):
        why = "only columns of [customers] have a word and a dot before them"
        refuse("not_allowed", f"'{name}' can't be used in a condition: {why}")
    if not isinstance(node.this, exp.Identifier) or dtype is None:
        known = sorted(to.columns)
        refuse(
            "unknown_column",
            f"'{name}' is no column{near(name, known)}: there is {', '.join(known)}",
        )
    column = pl.col(name)
    if name == "amount" and dtype.is_integer():
        return Part(quotient(column, pl.lit(10.0**to.amount_decimals)), Kind.NUMBER)
    if dtype.is_integer():
        return Part(column.cast(pl.Int64), Kind.NUMBER)
    if dtype.is_numeric():
        return Part(column.cast(pl.Float64), Kind.NUMBER)
    kinds = {
        pl.String: Kind.TEXT,
        pl.Boolean: Kind.TRUTH,
        pl.Date: Kind.DAY,
        pl.Datetime: Kind.INSTANT,
    }
    kind = kinds.get(dtype.base_type())
    if kind is None:
        refuse("wrong_type", f"'{name}' is {dtype}, which a condition can't look at")
    return Part(column, kind)


def _literal(to: Translation, node: exp.Literal, depth: int) -> Part:
    del to, depth
    if node.is_string:
        return Part(pl.lit(node.this, dtype=pl.String), Kind.TEXT, literal=node.this)
    number = _number(str(node.this))
    dtype = pl.Int64 if isinstance(number, int) else pl.Float64
    return Part(pl.lit(number, dtype=dtype), Kind.NUMBER)


def _number(text: str) -> int | float:
    """Return what a numeric literal says: whole where it is whole and fits."""
    if re.fullmatch(r"[0-9]+", text) and int(text) < 2**63:
        return int(text)
    is_number = re.fullmatch(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text)
    if not is_number or not math.isfinite(float(text)):
        refuse("wrong_value", f"'{text[:60]}' is no number that can be used here")
    return float(text)


def _boolean(to: Translation, node: exp.Boolean, depth: int) -> Part:
    del to, depth
    return Part(pl.lit(bool(node.this), dtype=pl.Boolean), Kind.TRUTH)


def _null(to: Translation, node: exp.Null, depth: int) -> Part:
    del to, node, depth
    return Part(pl.lit(None), Kind.NOTHING)


def _paren(to: Translation, node: exp.Paren, depth: int) -> Part:
    return to.part(node.this, depth=depth)


def _junction(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Translate:
    def translate(to: Translation, node: exp.Connector, depth: int) -> Part:
        sides = [
            to.of_kind(side, Kind.TRUTH, depth).cast(pl.Boolean)
            for side in _chain(node)
        ]
        return Part(_balanced(join, sides), Kind.TRUTH)

    return translate


def _balanced(
    join: Callable[[pl.Expr, pl.Expr], pl.Expr], sides: list[pl.Expr]
) -> pl.Expr:
    """Join pair by pair: Polars takes long over a deep tree."""
    while len(sides) > 1:
        pairs = [sides[at : at + 2] for at in range(0, len(sides), 2)]
        sides = [functools.reduce(join, pair) for pair in pairs]
    return sides[0]


def _chain(node: exp.Binary) -> list[exp.Expr]:
    """Return the members of `a AND b AND c`, which is a tree that leans to the left."""
    members: list[exp.Expr] = []
    left: Any = node
    while isinstance(left, exp.Binary) and type(left) is type(node):
        members.append(left.expression)
        left = left.this
    if len(members) >= _MAX_CHAIN:
        refuse("too_long", f"joins more than {_MAX_CHAIN} parts in a row")
    return [left, *reversed(members)]


def _not(to: Translation, node: exp.Not, depth: int) -> Part:
    inner = to.of_kind(node.this, Kind.TRUTH, depth)
    return Part(~inner.cast(pl.Boolean), Kind.TRUTH)


def _comparison(compare: Callable[[Any, Any], Any]) -> Translate:
    def translate(to: Translation, node: exp.Binary, depth: int) -> Part:
        (left, right), kind = to.alike([node.this, node.expression], depth)
        if kind is Kind.NOTHING:
            return Part(pl.lit(None, dtype=pl.Boolean), Kind.TRUTH)
        return Part(compare(left, right), Kind.TRUTH)

    return translate


def _in(to: Translation, node: exp.In, depth: int) -> Part:
    if not node.expressions:
        refuse("not_allowed", "IN needs a list of values")
    (value, *members), kind = to.alike([node.this, *node.expressions], depth)
    if all(isinstance(member, exp.Literal) for member in node.expressions):
        # Many literals are one look-up, not as many comparisons.
        values = [_constant(member, kind) for member in node.expressions]
        known = pl.Series(values, strict=False)
        if kind is Kind.NUMBER and not (
            to.is_whole(node.this) and known.dtype.is_integer()
        ):
            value, known = value.cast(pl.Float64), known.cast(pl.Float64)
        return Part(value.is_in(known.implode()), Kind.TRUTH)
    equal = [(value == member).cast(pl.Boolean) for member in members]
    return Part(pl.any_horizontal(equal), Kind.TRUTH)


def _constant(node: exp.Expr, kind: Kind) -> object:
    """Return the value of a literal that was checked to be of this kind."""
    text = str(node.this)
    match kind:
        case Kind.NUMBER:
            return _number(text)
        case Kind.DAY:
            return read_day(text)
        case Kind.INSTANT:
            return read_instant(text)
        case _:
            return text


def _between(to: Translation, node: exp.Between, depth: int) -> Part:
    nodes = [node.this, node.args["low"], node.args["high"]]
    (value, low, high), _ = to.alike(nodes, depth)
    return Part((value >= low) & (value <= high), Kind.TRUTH)


def _like(*, is_case_blind: bool) -> Translate:
    def translate(to: Translation, node: exp.Binary, depth: int) -> Part:
        value = to.of_kind(node.this, Kind.TEXT, depth)
        pattern = to.part(node.expression, depth=depth)
        if pattern.literal is None:
            refuse("not_allowed", "LIKE needs a pattern in quotes")
        flags = "(?si)" if is_case_blind else "(?s)"
        return Part(
            value.str.contains(f"{flags}^{_regex(pattern.literal)}$"), Kind.TRUTH
        )

    return translate


def _regex(pattern: str) -> str:
    r"""Return a LIKE pattern as a regular expression; `\` takes away a meaning."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.append(re.escape(next(characters, "\\")))
        else:
            known = {"%": ".*", "_": "."}
            parts.append(known.get(character, re.escape(character)))
    return "".join(parts)


def _is(to: Translation, node: exp.Is, depth: int) -> Part:
    value = to.part(node.this, depth=depth)
    if isinstance(node.expression, exp.Null):
        found = value.expr.is_null()
    elif isinstance(node.expression, exp.Boolean):
        truth = as_kind(value, Kind.TRUTH, node.this).cast(pl.Boolean)
        found = truth.eq_missing(pl.lit(bool(node.expression.this)))
    else:
        refuse("not_allowed", "IS goes with NULL, TRUE and FALSE")
    return Part(found, Kind.TRUTH)


def _arithmetic(calculate: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Translate:
    def translate(to: Translation, node: exp.Binary, depth: int) -> Part:
        sides = [to.of_kind(side, Kind.NUMBER, depth) for side in _chain(node)]
        return Part(functools.reduce(calculate, sides), Kind.NUMBER)

    return translate


def _of_floats(calculate: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Translate:
    """Calculate in doubles: whole numbers that grow too large would start anew."""
    return _arithmetic(
        lambda left, right: calculate(left.cast(pl.Float64), right.cast(pl.Float64))
    )


def _divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(right != 0).then(quotient(left, right))


def quotient(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Divide; by a column, for by a literal Polars multiplies with its reciprocal."""
    nothing = left.is_null().cast(pl.Float64) * 0.0
    return left.cast(pl.Float64) / (right + nothing)


def _remainder(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    size = left.abs() % right.abs()
    return pl.when(right != 0).then(pl.when(left < 0).then(-size).otherwise(size))


def _joined(to: Translation, node: exp.DPipe, depth: int) -> Part:
    texts = [to.of_kind(side, Kind.TEXT, depth) for side in _chain(node)]
    return Part(pl.concat_str(texts), Kind.TEXT)


def _negated(to: Translation, node: exp.Neg, depth: int) -> Part:
    return Part(-to.of_kind(node.this, Kind.NUMBER, depth), Kind.NUMBER)


OPERATORS: dict[type[exp.Expr], Translate] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Paren: _paren,
    exp.And: _junction(operator.and_),
    exp.Or: _junction(operator.or_),
    exp.Not: _not,
    exp.EQ: _comparison(operator.eq),
    exp.NEQ: _comparison(operator.ne),
    exp.LT: _comparison(operator.lt),
    exp.LTE: _comparison(operator.le),
    exp.GT: _comparison(operator.gt),
    exp.GTE: _comparison(operator.ge),
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like(is_case_blind=False),
    exp.ILike: _like(is_case_blind=True),
    exp.Is: _is,
    exp.Add: _of_floats(operator.add),
    exp.Sub: _of_floats(operator.sub),
    exp.Mul: _of_floats(operator.mul),
    exp.Div: _of_floats(_divided),
    exp.Mod: _arithmetic(_remainder),
    exp.Neg: _negated,
    exp.DPipe: _joined,
}
