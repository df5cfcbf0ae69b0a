"""Says what returns made of an activity, for an explanation.

Belongs here: the words for a fate. Does not belong here: the fate itself
(`activity.returned`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from transforms.activity.accepted import IS_RETURN
from transforms.activity.returned import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROW = ("file_order", "row_number")
_FATE = "@"  # before each column of a fate


def with_fates(activity: pl.DataFrame, fates: pl.DataFrame) -> pl.DataFrame:
    """Add what returns made of each row, and take it off its amount.

    `fates`: as of `activity.returned`. Added: IS_RETURN Boolean, and the columns of the
    fate behind `@`, null in a row without one.
    """
    named = fates.rename(
        {name: _FATE + name for name in fates.columns if name not in _ROW}
    )
    joined = activity.join(named, on=_ROW, how="left").with_columns(
        (pl.col("@fate") == Fate.UNMATCHED).fill_null(value=False).alias(IS_RETURN)
    )
    if "amount" not in joined.columns:
        return joined
    return joined.with_columns(amount=pl.coalesce("@left", "amount"))


def not_returned(activity: pl.DataFrame) -> pl.Expr:
    """Return where a row is neither a return nor came back in full."""
    if "@is_counted" not in activity.columns:
        return pl.lit(value=True)
    return pl.col("@is_counted").fill_null(value=True)


def return_reason(row: Mapping[str, Any], kind: str, decimals: int) -> str | None:
    """Return why a row does not count in a rule of this kind, or None if it does."""
    match row.get("@fate"):
        case Fate.RETURN:
            return f"a return: it is taken off what it names ({row['@named']})"
        case Fate.UNMATCHED if not row["@is_counted"]:
            return f"a return: it names no activity of the files ({row['@named']})"
        case Fate.UNMATCHED if kind != "total_amount":
            return (
                "a return: it names no activity of the files, so it only lowers sums "
                f"({row['@named']})"
            )
        case Fate.CANCELLED:
            return f"returned: it came back in full ({_amounts(row, decimals)})"
    return None


def return_note(row: Mapping[str, Any], decimals: int) -> str | None:
    """Return what was returned of an activity that counts, or None."""
    match row.get("@fate"):
        case Fate.REDUCED:
            return _amounts(row, decimals)
        case Fate.KEPT:
            return f"counts as it was sold: {_amounts(row, decimals)}"
        case Fate.UNMATCHED:
            return f"a return that names no activity of the files: {row['@named']}"
    return None


def _amounts(row: Mapping[str, Any], decimals: int) -> str:
    more = "" if row["@returns"] == 1 else f" and {row['@returns'] - 1} more"
    sold, returned = row["@sold"], row["@returned"]
    told = [] if sold is None else [f"sold {sold / 10**decimals:.{decimals}f}"]
    what = "all" if returned is None else f"{returned / 10**decimals:.{decimals}f}"
    return ", ".join([*told, f"returned {what} by {row['@by']}{more}"])
