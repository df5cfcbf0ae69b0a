"""Takes returns off what they name in plain Python, one return at a time.

Written from the text of docs/definition.md, to be read against it, and sharing no code
with the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a file; `hour` is when it happened, `named` what it returns."""

    source: str
    activity_id: str
    hour: int
    row_number: int
    amount: int | None
    is_return: bool = False
    named: str | None = None
    only_lowers_sums: bool = False


def left_over(rows: Sequence[Row], *, full: str, partial: str, as_of: int) -> list[Row]:
    """Return what counts, in the order of rows; amounts of returns are negative."""
    sales = [row for row in rows if not row.is_return]
    due = [row for row in rows if row.is_return and row.hour <= as_of]
    taken: dict[tuple[str, str], list[Row]] = {}
    counts: list[Row] = []
    for one in due:
        bill = the_one_named(one, sales)
        if bill is not None:
            taken.setdefault(bill, []).append(one)
        elif partial == "reduce" and one.amount is not None:
            counts.append(replace(one, only_lowers_sums=True))
    for sale in sales:
        returns = taken.get((sale.source, sale.activity_id), [])
        lines = [other for other in sales if same(other, sale)]
        amounts = [line.amount for line in lines if line.amount is not None]
        if not returns:
            counts.append(sale)
            continue
        sold = sum(amounts)
        has_no_size = not amounts or any(one.amount is None for one in returns)
        returned = sum(-one.amount for one in returns if one.amount is not None)
        is_full = has_no_size or returned >= sold
        if is_full and full == "cancel":
            continue
        if partial == "keep":
            counts.append(sale)
        elif is_full:
            counts.append(replace(sale, amount=min(sold, 0) if amounts else None))
        else:
            counts.append(replace(sale, amount=sold - returned))
    return sorted(counts, key=lambda row: row.row_number)


def the_one_named(one: Row, sales: Sequence[Row]) -> tuple[str, str] | None:
    """Return the only activity of that name: of the own source, or of another."""
    found = {(s.source, s.activity_id) for s in sales if s.activity_id == one.named}
    own = {name for name in found if name[0] == one.source}
    found = own or found
    return found.pop() if len(found) == 1 else None


def same(one: Row, other: Row) -> bool:
    """Return whether two rows are lines of one activity."""
    return (one.source, one.activity_id) == (other.source, other.activity_id)
