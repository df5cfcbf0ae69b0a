"""Follows customers that were merged to the one who survives.

Belongs here: chains of merges, and frames that name customers who are others by now.
Does not belong here: what a survivor is awarded (`awards.covered`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from transforms.errors import Fault

SURVIVORS: dict[str, pl.DataType] = {
    "customer_id": pl.Int64(),
    "survivor_id": pl.Int64(),
}
_SHOWN = 5


def survivors_of(merges: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """Return SURVIVORS: every merged customer and who stands for it in the end.

    `merges`: customer_id, survivor_id (Int64), shown String and row_number Int64: where
    it is said. A customer who is said to survive itself was not merged. Whoever is
    said to be merged into several is fine where all of them end in one: an older file
    does not know the later merges. Two ends and circles are faults.
    """
    links = (
        merges.filter(
            pl.col("survivor_id").is_not_null(),
            pl.col("survivor_id") != pl.col("customer_id"),
        )
        .select("customer_id", "survivor_id", "shown", "row_number")
        .unique(["customer_id", "survivor_id"], keep="first", maintain_order=True)
        .sort("customer_id", "survivor_id")
    )
    into: dict[int, list[int]] = {}
    for customer_id, survivor_id in links.select(*SURVIVORS).iter_rows():
        into.setdefault(customer_id, []).append(survivor_id)
    ends = _ends(into)
    faults = [
        _fault(
            "two_survivors",
            f"customer {one} was merged into "
            f"{' and '.join(map(str, into[one][:_SHOWN]))}, who are two: leave one out",
            one,
            links,
        )
        for one, found in ends.items()
        if len(found) > 1 and len(into[one]) > 1
    ]
    faults += [
        _fault(
            "merged_in_a_circle",
            f"customer {' into '.join(map(str, (*circle[:_SHOWN], circle[0])))}: "
            "nobody survives; leave one of these merges out",
            circle[0],
            links,
        )
        for circle in _circles({k: v for k, v in into.items() if k not in ends})
    ]
    found = {one: min(several) for one, several in ends.items()}
    columns = {"customer_id": list(found), "survivor_id": list(found.values())}
    return pl.DataFrame(columns, schema=SURVIVORS), faults


def _ends(into: Mapping[int, Sequence[int]]) -> dict[int, set[int]]:
    """Return in whom each merged customer ends; whoever comes to no end is left out."""
    left = {one: len(survivors) for one, survivors in into.items()}
    merged: dict[int, list[int]] = {}
    for one, survivors in into.items():
        for survivor in survivors:
            merged.setdefault(survivor, []).append(one)
    ends: dict[int, set[int]] = {}
    ready = [one for one in merged if one not in into]
    while ready:
        survivor = ready.pop()
        for one in merged.get(survivor, ()):
            ends.setdefault(one, set()).update(ends.get(survivor) or {survivor})
            left[one] -= 1
            if not left[one]:
                ready.append(one)
    return {one: ends[one] for one in into if not left[one]}


def _circles(into: Mapping[int, Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Yield the circles among customers who come to no end."""
    seen: set[int] = set()
    for start in sorted(into):
        way: dict[int, None] = {}
        here = start
        while here not in seen and here not in way:
            way[here] = None
            here = next(one for one in into[here] if one in into)
        if here in way:
            yield tuple(way)[list(way).index(here) :]
        seen.update(way)


def _fault(code: str, message: str, customer_id: int, links: pl.DataFrame) -> Fault:
    """Return a fault with the last row that says something of the customer."""
    said = links.filter(pl.col("customer_id") == customer_id)
    shown, row = said.select("shown", "row_number").sort("row_number").row(-1)
    return Fault(code=code, message=message, file=shown, row=row)


def by_survivors(frame: pl.DataFrame, survivors: pl.DataFrame | None) -> pl.DataFrame:
    """Return a frame with customer_id in which survivors stand for the merged."""
    if survivors is None or survivors.is_empty():
        return frame
    return (
        frame.join(survivors, on="customer_id", how="left", maintain_order="left")
        .with_columns(customer_id=pl.coalesce("survivor_id", "customer_id"))
        .drop("survivor_id")
    )


def merged_into(customer_id: int, survivors: pl.DataFrame | None) -> list[int]:
    """Return the customers for whom this one stands, besides itself; sorted."""
    if survivors is None:
        return []
    merged = survivors.filter(pl.col("survivor_id") == customer_id)
    return merged["customer_id"].sort().to_list()


def known_by_survivors(
    known: pl.DataFrame, survivors: pl.DataFrame | None
) -> pl.DataFrame:
    """Return what a ledger knows under the survivors, as `awards.awards` takes it.

    Adds ledger_customer_id: the id that an award was made under.
    """
    if survivors is None or survivors.is_empty():
        return known
    kept = known.with_columns(ledger_customer_id="customer_id")
    return by_survivors(kept, survivors)
