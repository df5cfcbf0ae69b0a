"""Makes texts inert for a spreadsheet, which takes some of them for formulas.

Belongs here: which texts, what is done to them, and how that is taken back. Does not
belong here: writing a file.
"""

from __future__ import annotations

import re

import polars as pl

_FORMULA = r"^'*[=+\-@\t\r]"
_GUARDED = r"^'('*[=+\-@\t\r])"
_NUMBER = r"^[+-]?[0-9]*[.,]?[0-9]*$"


def inert(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts a spreadsheet takes for texts, never for formulas.

    A NUL, at which many a program takes a text for ended, is spelled out.
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    return frame.with_columns(
        guarded(frame[name].str.replace_all("\0", "\\x00", literal=True))
        for name in texts
    )


def guarded(column: pl.Series) -> pl.Series:
    """Return texts with a `'` before those that are formulas; numbers stay."""
    is_formula = column.str.contains(_FORMULA) & ~column.str.contains(_NUMBER)
    safe = ("'" + column).zip_with(is_formula.fill_null(value=False), column)
    return safe.alias(column.name)


def unguarded(column: pl.Series) -> pl.Series:
    """Return texts as they were before `guarded`."""
    return column.str.replace(_GUARDED, "$1")


def unguarded_name(name: str) -> str:
    """Return the name of a column as it was before `guarded`."""
    return re.sub(_GUARDED, r"\1", name)
