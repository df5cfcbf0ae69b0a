"""Translates CASE, CAST and the functions that a condition may call.

Belongs here: every function on the list; none that looks at the clock, at chance, at
other rows or outside the row. Does not belong here: operators
(`conditions.operators`).
"""

from __future__ import annotations

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
    read_day,
    read_instant,
    refuse,
)


def _case(to: Translation, node: exp.Case, depth: int) -> Part:
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
    return Part(found, kind)


def _coalesce(to: Translation, node: exp.Coalesce, depth: int) -> Part:
    exprs, kind = to.alike([node.this, *node.expressions], depth)
    return Part(pl.coalesce(exprs), kind)


def _null_if(to: Translation, node: exp.Nullif, depth: int) -> Part:
    (left, right), kind = to.alike([node.this, node.expression], depth)
    is_equal = (left == right).fill_null(value=False)
    return Part(pl.when(~is_equal).then(left), kind)


def _of_text(function: Callable[[pl.Expr], pl.Expr], kind: Kind) -> Translate:
    def translate(to: Translation, node: exp.Func, depth: int) -> Part:
        return Part(function(to.of_kind(node.this, Kind.TEXT, depth)), kind)

    return translate


def _of_number(function: Callable[[pl.Expr], pl.Expr]) -> Translate:
    def translate(to: Translation, node: exp.Func, depth: int) -> Part:
        return Part(function(to.of_kind(node.this, Kind.NUMBER, depth)), Kind.NUMBER)

    return translate


def _round(to: Translation, node: exp.Round, depth: int) -> Part:
    decimals = node.args.get("decimals")
    if decimals is not None and not re.fullmatch(r"[0-9]", decimals.sql()):
        refuse("not_allowed", "ROUND takes a number of decimals from 0 to 9")
    number = to.of_kind(node.this, Kind.NUMBER, depth).cast(pl.Float64)
    places = 0 if decimals is None else int(decimals.sql())
    return Part(number.round(places, mode="half_away_from_zero"), Kind.NUMBER)


def _ofread_day(function: Callable[[pl.Expr], pl.Expr]) -> Translate:
    def translate(to: Translation, node: exp.Func, depth: int) -> Part:
        inner = node.this
        if isinstance(inner, exp.TsOrDsToDate):  # the parser's wrapping of YEAR(x)
            inner = inner.this
        day = to.of_kind(inner, Kind.DAY, depth)
        return Part(function(day).cast(pl.Int64), Kind.NUMBER)

    return translate


_DAY_PARTS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "YEAR": lambda day: day.dt.year(),
    "QUARTER": lambda day: day.dt.quarter(),
    "MONTH": lambda day: day.dt.month(),
    "DAY": lambda day: day.dt.day(),
    "WEEK": lambda day: day.dt.week(),
}


def _extract(to: Translation, node: exp.Extract, depth: int) -> Part:
    what = node.name.upper()
    if what not in _DAY_PARTS:
        refuse("not_allowed", f"EXTRACT takes {', '.join(_DAY_PARTS)}")
    day = to.of_kind(node.expression, Kind.DAY, depth)
    return Part(_DAY_PARTS[what](day).cast(pl.Int64), Kind.NUMBER)


_CASTS: dict[Any, tuple[Kind, pl.DataType]] = {
    exp.DataType.Type.INT: (Kind.NUMBER, pl.Int64()),
    exp.DataType.Type.BIGINT: (Kind.NUMBER, pl.Int64()),
    exp.DataType.Type.DOUBLE: (Kind.NUMBER, pl.Float64()),
    exp.DataType.Type.FLOAT: (Kind.NUMBER, pl.Float64()),
    exp.DataType.Type.TEXT: (Kind.TEXT, pl.String()),
    exp.DataType.Type.VARCHAR: (Kind.TEXT, pl.String()),
    exp.DataType.Type.DATE: (Kind.DAY, pl.Date()),
}


def _cast(to: Translation, node: exp.Cast, depth: int) -> Part:
    """Text becomes a number or a day, a number or a day becomes text, or null."""
    part = to.part(node.this, depth=depth)
    if part.literal is not None and node.to.this is exp.DataType.Type.TIMESTAMPTZ:
        return Part(pl.lit(read_instant(part.literal)), Kind.INSTANT)
    target = _CASTS.get(node.to.this)
    if target is None or node.to.expressions:
        refuse("not_allowed", "CAST goes to INTEGER, DOUBLE, TEXT and DATE")
    kind, dtype = target
    if part.literal is not None and kind is Kind.DAY:
        return Part(pl.lit(read_day(part.literal)), kind)
    if kind is Kind.DAY and part.kind is Kind.TEXT:
        return Part(part.expr.str.to_date("%Y-%m-%d", strict=False), kind)
    allowed = {
        Kind.NUMBER: {Kind.TEXT, Kind.NUMBER},
        Kind.TEXT: {Kind.TEXT, Kind.NUMBER, Kind.DAY},
        Kind.DAY: {Kind.DAY},
    }
    if part.kind not in allowed[kind]:
        refuse("wrong_type", f"{part.kind} can't be cast to {kind}")
    return Part(part.expr.cast(dtype, strict=False), kind)


FUNCTIONS: dict[type[exp.Expr], Translate] = {
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
    exp.Year: _ofread_day(_DAY_PARTS["YEAR"]),
    exp.Quarter: _ofread_day(_DAY_PARTS["QUARTER"]),
    exp.Month: _ofread_day(_DAY_PARTS["MONTH"]),
    exp.Day: _ofread_day(_DAY_PARTS["DAY"]),
    exp.Extract: _extract,
    exp.Cast: _cast,
}
