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

import functools
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NoReturn

import polars as pl
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from transforms.definition_places import near
from transforms.errors import DefinitionRefused, Fault

_MAX_LENGTH = 20_000
_SHOWN = 120  # characters of a condition in a message
_MAX_NESTING = 32
_MAX_CHAIN = 200
_PREFIXES = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}


class Kind(StrEnum):
    """What a part of a condition gives."""

    TEXT = "text"
    NUMBER = "a number"
    TRUTH = "true or false"
    DAY = "a day"
    INSTANT = "an instant"
    NOTHING = "null"


@dataclass(frozen=True)
class _Part:
    """A translated node; `literal` is the text of a string that stands in the SQL."""

    expr: pl.Expr
    kind: Kind
    literal: str | None = None


class _RefusedError(Exception):
    """Why a condition is refused; becomes a fault with the condition's place."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


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
        part = _Translation(columns, amount_decimals).part(tree, depth=0)
        if part.kind not in {Kind.TRUTH, Kind.NOTHING}:
            _refuse("wrong_type", f"gives {part.kind}, not true or false")
    except _RefusedError as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        fault = Fault(code=error.code, message=f"{error} in: {shown}", column=place)
        raise DefinitionRefused(fault) from None
    return part.expr.cast(pl.Boolean)


def columns_in(text: str) -> frozenset[str]:
    """Return the names of the columns that a condition uses."""
    return frozenset(node.name for node in _parsed(text).find_all(exp.Column))


def _refuse(code: str, message: str) -> NoReturn:
    raise _RefusedError(code, message)


def _parsed(text: str) -> exp.Expr:
    """Return the tree of one condition; long and deep ones are refused unparsed."""
    if len(text) > _MAX_LENGTH:
        _refuse("too_long", f"a condition has {_MAX_LENGTH} characters at most")
    try:
        _refuse_deep(text)
        found = [tree for tree in sqlglot.parse(text, read="postgres") if tree]
    except (SqlglotError, RecursionError) as error:
        said = re.sub(r"\x1b\[[0-9;]*m", "", str(error).split("\n", 1)[0])
        _refuse("not_sql", f"is no SQL condition: {said}")
    if len(found) != 1:
        _refuse("not_sql", "must be one condition")
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
        if depth + run > _MAX_NESTING:
            _refuse("too_deep", f"is nested more than {_MAX_NESTING} deep")


class _Translation:
    """Translates the nodes that a condition may have; refuses all others."""

    def __init__(
        self, columns: Mapping[str, pl.DataType], amount_decimals: int
    ) -> None:
        self.columns = columns
        self.amount_decimals = amount_decimals

    def part(self, node: exp.Expr, *, depth: int) -> _Part:
        """Return a node as an expression."""
        if depth > 4 * _MAX_NESTING:
            _refuse("too_deep", f"is nested more than {_MAX_NESTING} deep")
        translate = _NODES.get(type(node))
        if translate is None:
            name = node.sql(dialect="postgres")[:60]
            _refuse("not_allowed", f"'{name}' can't be used in a condition")
        unused = _unread_arguments(node)
        if unused:
            name = node.sql(dialect="postgres")[:60]
            _refuse("not_allowed", f"{unused} can't be used in '{name}'")
        part = translate(self, node, depth + 1)
        if node.args.get("negate"):  # how the parser writes NOT LIKE and IS NOT
            return _Part(~part.expr, Kind.TRUTH)
        return part

    def of_kind(self, node: exp.Expr, kind: Kind, depth: int) -> pl.Expr:
        """Return a node that must give one kind of value."""
        part = self.part(node, depth=depth)
        return _as_kind(part, kind, node)

    def is_whole(self, node: exp.Expr) -> bool:
        """Return whether a node is a column of whole numbers, beyond 2^53 too."""
        dtype = self.columns.get(node.name) if isinstance(node, exp.Column) else None
        return dtype is not None and dtype.is_integer() and node.name != "amount"

    def alike(self, nodes: list[exp.Expr], depth: int) -> tuple[list[pl.Expr], Kind]:
        """Return nodes that must give the same kind, literals read as that kind."""
        parts = [self.part(node, depth=depth) for node in nodes]
        kinds = [p.kind for p in parts if p.kind is not Kind.NOTHING]
        firm = [p.kind for p in parts if p.literal is None and p.kind in kinds]
        kind = next(iter([*firm, *kinds]), Kind.NOTHING)
        exprs = [
            _as_kind(part, kind, node) for part, node in zip(parts, nodes, strict=True)
        ]
        return exprs, kind


def _as_kind(part: _Part, kind: Kind, node: exp.Expr) -> pl.Expr:
    if part.kind is kind:
        return part.expr
    if part.kind is Kind.NOTHING or kind is Kind.NOTHING:
        return part.expr
    if part.literal is not None and kind is Kind.DAY:
        return pl.lit(_day(part.literal))
    if part.literal is not None and kind is Kind.INSTANT:
        return pl.lit(_instant(part.literal))
    name = node.sql(dialect="postgres")[:60]
    _refuse("wrong_type", f"'{name}' is {part.kind}, and {kind} is needed there")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        _refuse("wrong_value", f"'{text}' is no day such as 2024-01-31")


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        _refuse("wrong_value", f"'{text}' is no instant such as 2024-01-31T10:00:00Z")
    if found.tzinfo is None:
        message = f"'{text}' has no offset: add one, or compare occurred_date"
        _refuse("wrong_value", message)
    return found.astimezone(UTC)


# What a node of each type holds and is translated; anything else it may hold, such as
# the ESCAPE of a LIKE or the sub-select of an IN, is refused.
_ARGUMENTS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Column: frozenset({"this"}),
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
}
_COMMON_ARGUMENTS = frozenset({"this", "expression"})
# Flags of the parser that change nothing here.
_HARMLESS = frozenset({"safe", "typed", "coalesce"})


def _unread_arguments(node: exp.Expr) -> str:
    allowed = _ARGUMENTS.get(type(node), _COMMON_ARGUMENTS) | _HARMLESS
    given = [
        key
        for key, value in node.args.items()
        if key not in allowed and value not in (None, False, [])
    ]
    return ", ".join(given)


_Translate = Callable[[_Translation, Any, int], _Part]


def _column(to: _Translation, node: exp.Column, depth: int) -> _Part:
    del depth
    name = node.name
    dtype = to.columns.get(name)
    if not isinstance(node.this, exp.Identifier) or dtype is None:
        known = sorted(to.columns)
        _refuse(
            "unknown_column",
            f"'{name}' is no column{near(name, known)}: there is {', '.join(known)}",
        )
    column = pl.col(name)
    if name == "amount" and dtype.is_integer():
        return _Part(_quotient(column, pl.lit(10.0**to.amount_decimals)), Kind.NUMBER)
    if dtype.is_integer():
        return _Part(column.cast(pl.Int64), Kind.NUMBER)
    if dtype.is_numeric():
        return _Part(column.cast(pl.Float64), Kind.NUMBER)
    kinds = {
        pl.String: Kind.TEXT,
        pl.Boolean: Kind.TRUTH,
        pl.Date: Kind.DAY,
        pl.Datetime: Kind.INSTANT,
    }
    kind = kinds.get(dtype.base_type())
    if kind is None:
        _refuse("wrong_type", f"'{name}' is {dtype}, which a condition can't look at")
    return _Part(column, kind)


def _literal(to: _Translation, node: exp.Literal, depth: int) -> _Part:
    del to, depth
    if node.is_string:
        return _Part(pl.lit(node.this, dtype=pl.String), Kind.TEXT, literal=node.this)
    text = str(node.this)
    if re.fullmatch(r"[0-9]{1,18}", text):
        return _Part(pl.lit(int(text), dtype=pl.Int64), Kind.NUMBER)
    if re.fullmatch(r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]{1,3})?|[0-9]+\.", text) and (
        math.isfinite(float(text))
    ):
        return _Part(pl.lit(float(text), dtype=pl.Float64), Kind.NUMBER)
    _refuse("wrong_value", f"'{text[:60]}' is no number that can be used here")


def _boolean(to: _Translation, node: exp.Boolean, depth: int) -> _Part:
    del to, depth
    return _Part(pl.lit(bool(node.this), dtype=pl.Boolean), Kind.TRUTH)


def _null(to: _Translation, node: exp.Null, depth: int) -> _Part:
    del to, node, depth
    return _Part(pl.lit(None), Kind.NOTHING)


def _paren(to: _Translation, node: exp.Paren, depth: int) -> _Part:
    return to.part(node.this, depth=depth)


def _junction(join: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> _Translate:
    def translate(to: _Translation, node: exp.Connector, depth: int) -> _Part:
        sides = [
            to.of_kind(side, Kind.TRUTH, depth).cast(pl.Boolean)
            for side in _chain(node)
        ]
        return _Part(_balanced(join, sides), Kind.TRUTH)

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
        _refuse("too_long", f"joins more than {_MAX_CHAIN} parts in a row")
    return [left, *reversed(members)]


def _not(to: _Translation, node: exp.Not, depth: int) -> _Part:
    inner = to.of_kind(node.this, Kind.TRUTH, depth)
    return _Part(~inner.cast(pl.Boolean), Kind.TRUTH)


def _comparison(compare: Callable[[Any, Any], Any]) -> _Translate:
    def translate(to: _Translation, node: exp.Binary, depth: int) -> _Part:
        (left, right), kind = to.alike([node.this, node.expression], depth)
        if kind is Kind.NOTHING:
            return _Part(pl.lit(None, dtype=pl.Boolean), Kind.TRUTH)
        return _Part(compare(left, right), Kind.TRUTH)

    return translate


def _in(to: _Translation, node: exp.In, depth: int) -> _Part:
    if not node.expressions:
        _refuse("not_allowed", "IN needs a list of values")
    (value, *members), kind = to.alike([node.this, *node.expressions], depth)
    if all(isinstance(member, exp.Literal) for member in node.expressions):
        # Many literals are one look-up, not as many comparisons.
        values = [_constant(member, kind) for member in node.expressions]
        known = pl.Series(values, strict=False)
        if kind is Kind.NUMBER and not (
            to.is_whole(node.this) and known.dtype.is_integer()
        ):
            value, known = value.cast(pl.Float64), known.cast(pl.Float64)
        return _Part(value.is_in(known.implode()), Kind.TRUTH)
    equal = [(value == member).cast(pl.Boolean) for member in members]
    return _Part(pl.any_horizontal(equal), Kind.TRUTH)


def _constant(node: exp.Expr, kind: Kind) -> object:
    """Return the value of a literal that was checked to be of this kind."""
    text = str(node.this)
    match kind:
        case Kind.NUMBER:
            return int(text) if text.isdigit() else float(text)
        case Kind.DAY:
            return _day(text)
        case Kind.INSTANT:
            return _instant(text)
        case _:
            return text


def _between(to: _Translation, node: exp.Between, depth: int) -> _Part:
    nodes = [node.this, node.args["low"], node.args["high"]]
    (value, low, high), _ = to.alike(nodes, depth)
    return _Part((value >= low) & (value <= high), Kind.TRUTH)


def _like(*, is_case_blind: bool) -> _Translate:
    def translate(to: _Translation, node: exp.Binary, depth: int) -> _Part:
        value = to.of_kind(node.this, Kind.TEXT, depth)
        pattern = to.part(node.expression, depth=depth)
        if pattern.literal is None:
            _refuse("not_allowed", "LIKE needs a pattern in quotes")
        flags = "(?si)" if is_case_blind else "(?s)"
        return _Part(
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


def _is(to: _Translation, node: exp.Is, depth: int) -> _Part:
    value = to.part(node.this, depth=depth)
    if isinstance(node.expression, exp.Null):
        found = value.expr.is_null()
    elif isinstance(node.expression, exp.Boolean):
        truth = _as_kind(value, Kind.TRUTH, node.this).cast(pl.Boolean)
        found = truth.eq_missing(pl.lit(bool(node.expression.this)))
    else:
        _refuse("not_allowed", "IS goes with NULL, TRUE and FALSE")
    return _Part(found, Kind.TRUTH)


def _arithmetic(calculate: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> _Translate:
    def translate(to: _Translation, node: exp.Binary, depth: int) -> _Part:
        sides = [to.of_kind(side, Kind.NUMBER, depth) for side in _chain(node)]
        return _Part(functools.reduce(calculate, sides), Kind.NUMBER)

    return translate


def _of_floats(calculate: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> _Translate:
    """Calculate in doubles: whole numbers that grow too large would start anew."""
    return _arithmetic(
        lambda left, right: calculate(left.cast(pl.Float64), right.cast(pl.Float64))
    )


def _divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(right != 0).then(_quotient(left, right))


def _quotient(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Divide; by a column, for by a literal Polars multiplies with its reciprocal."""
    nothing = left.is_null().cast(pl.Float64) * 0.0
    return left.cast(pl.Float64) / (right + nothing)


def _remainder(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    size = left.abs() % right.abs()
    return pl.when(right != 0).then(pl.when(left < 0).then(-size).otherwise(size))


def _joined(to: _Translation, node: exp.DPipe, depth: int) -> _Part:
    texts = [to.of_kind(side, Kind.TEXT, depth) for side in _chain(node)]
    return _Part(pl.concat_str(texts), Kind.TEXT)


def _negated(to: _Translation, node: exp.Neg, depth: int) -> _Part:
    return _Part(-to.of_kind(node.this, Kind.NUMBER, depth), Kind.NUMBER)


def _case(to: _Translation, node: exp.Case, depth: int) -> _Part:
    branches = node.args["ifs"]
    default = node.args.get("default") or exp.Null()
    results, kind = to.alike([*(b.args["true"] for b in branches), default], depth)
    if node.this is not None:  # CASE x WHEN 1 THEN …
        branches_of = [
            exp.EQ(this=node.this.copy(), expression=b.this.copy()) for b in branches
        ]
    else:
        branches_of = [branch.this for branch in branches]
    tests = [to.of_kind(test, Kind.TRUTH, depth) for test in branches_of]
    found = results[-1]
    for test, result in reversed(list(zip(tests, results[:-1], strict=True))):
        found = pl.when(test).then(result).otherwise(found)
    return _Part(found, kind)


def _coalesce(to: _Translation, node: exp.Coalesce, depth: int) -> _Part:
    exprs, kind = to.alike([node.this, *node.expressions], depth)
    return _Part(pl.coalesce(exprs), kind)


def _null_if(to: _Translation, node: exp.Nullif, depth: int) -> _Part:
    (left, right), kind = to.alike([node.this, node.expression], depth)
    is_equal = (left == right).fill_null(value=False)
    return _Part(pl.when(~is_equal).then(left), kind)


def _of_text(function: Callable[[pl.Expr], pl.Expr], kind: Kind) -> _Translate:
    def translate(to: _Translation, node: exp.Func, depth: int) -> _Part:
        return _Part(function(to.of_kind(node.this, Kind.TEXT, depth)), kind)

    return translate


def _of_number(function: Callable[[pl.Expr], pl.Expr]) -> _Translate:
    def translate(to: _Translation, node: exp.Func, depth: int) -> _Part:
        return _Part(function(to.of_kind(node.this, Kind.NUMBER, depth)), Kind.NUMBER)

    return translate


def _round(to: _Translation, node: exp.Round, depth: int) -> _Part:
    decimals = node.args.get("decimals")
    if decimals is not None and not re.fullmatch(r"[0-9]", decimals.sql()):
        _refuse("not_allowed", "ROUND takes a number of decimals from 0 to 9")
    number = to.of_kind(node.this, Kind.NUMBER, depth).cast(pl.Float64)
    places = 0 if decimals is None else int(decimals.sql())
    return _Part(number.round(places, mode="half_away_from_zero"), Kind.NUMBER)


def _of_day(function: Callable[[pl.Expr], pl.Expr]) -> _Translate:
    def translate(to: _Translation, node: exp.Func, depth: int) -> _Part:
        inner = node.this
        if isinstance(inner, exp.TsOrDsToDate):  # the parser's wrapping of YEAR(x)
            inner = inner.this
        day = to.of_kind(inner, Kind.DAY, depth)
        return _Part(function(day).cast(pl.Int64), Kind.NUMBER)

    return translate


_DAY_PARTS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "YEAR": lambda day: day.dt.year(),
    "QUARTER": lambda day: day.dt.quarter(),
    "MONTH": lambda day: day.dt.month(),
    "DAY": lambda day: day.dt.day(),
    "WEEK": lambda day: day.dt.week(),
}


def _extract(to: _Translation, node: exp.Extract, depth: int) -> _Part:
    what = node.name.upper()
    if what not in _DAY_PARTS:
        _refuse("not_allowed", f"EXTRACT takes {', '.join(_DAY_PARTS)}")
    day = to.of_kind(node.expression, Kind.DAY, depth)
    return _Part(_DAY_PARTS[what](day).cast(pl.Int64), Kind.NUMBER)


_CASTS: dict[Any, tuple[Kind, pl.DataType]] = {
    exp.DataType.Type.INT: (Kind.NUMBER, pl.Int64()),
    exp.DataType.Type.BIGINT: (Kind.NUMBER, pl.Int64()),
    exp.DataType.Type.DOUBLE: (Kind.NUMBER, pl.Float64()),
    exp.DataType.Type.FLOAT: (Kind.NUMBER, pl.Float64()),
    exp.DataType.Type.TEXT: (Kind.TEXT, pl.String()),
    exp.DataType.Type.VARCHAR: (Kind.TEXT, pl.String()),
    exp.DataType.Type.DATE: (Kind.DAY, pl.Date()),
}


def _cast(to: _Translation, node: exp.Cast, depth: int) -> _Part:
    """Text becomes a number or a day, a number or a day becomes text, or null."""
    part = to.part(node.this, depth=depth)
    if part.literal is not None and node.to.this is exp.DataType.Type.TIMESTAMPTZ:
        return _Part(pl.lit(_instant(part.literal)), Kind.INSTANT)
    target = _CASTS.get(node.to.this)
    if target is None or node.to.expressions:
        _refuse("not_allowed", "CAST goes to INTEGER, DOUBLE, TEXT and DATE")
    kind, dtype = target
    if part.literal is not None and kind is Kind.DAY:
        return _Part(pl.lit(_day(part.literal)), kind)
    if kind is Kind.DAY and part.kind is Kind.TEXT:
        return _Part(part.expr.str.to_date("%Y-%m-%d", strict=False), kind)
    allowed = {
        Kind.NUMBER: {Kind.TEXT, Kind.NUMBER},
        Kind.TEXT: {Kind.TEXT, Kind.NUMBER, Kind.DAY},
        Kind.DAY: {Kind.DAY},
    }
    if part.kind not in allowed[kind]:
        _refuse("wrong_type", f"{part.kind} can't be cast to {kind}")
    return _Part(part.expr.cast(dtype, strict=False), kind)


_NODES: dict[type[exp.Expr], _Translate] = {
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
    exp.Case: _case,
    exp.Coalesce: _coalesce,
    exp.Nullif: _null_if,
    exp.Lower: _of_text(lambda text: text.str.to_lowercase(), Kind.TEXT),
    exp.Upper: _of_text(lambda text: text.str.to_uppercase(), Kind.TEXT),
    exp.Trim: _of_text(lambda text: text.str.strip_chars(" "), Kind.TEXT),
    exp.Length: _of_text(lambda t: t.str.len_chars().cast(pl.Int64), Kind.NUMBER),
    exp.Abs: _of_number(lambda number: number.abs()),
    exp.Floor: _of_number(lambda number: number.cast(pl.Float64).floor()),
    exp.Ceil: _of_number(lambda number: number.cast(pl.Float64).ceil()),
    exp.Round: _round,
    exp.Year: _of_day(_DAY_PARTS["YEAR"]),
    exp.Quarter: _of_day(_DAY_PARTS["QUARTER"]),
    exp.Month: _of_day(_DAY_PARTS["MONTH"]),
    exp.Day: _of_day(_DAY_PARTS["DAY"]),
    exp.Extract: _extract,
    exp.Cast: _cast,
}
