"""Follows customers that were merged to the one who survives.

Belongs here: chains of merges, and frames that name customers who are others by now.
Does not belong here: what a survivor is awarded (`awards.covered`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    it is said. A customer who is said to survive itself was not merged. Two survivors
    of one customer and circles are faults.
    """
    said = merges.filter(
        pl.col("survivor_id").is_not_null(),
        pl.col("survivor_id") != pl.col("customer_id"),
    )
    links = said.unique(["customer_id", "survivor_id"], maintain_order=True)
    faults = list(_two_survivors(links))
    into = dict(links.select("customer_id", "survivor_id").iter_rows())
    ends, circles = _ends(into)
    places = {
        row["customer_id"]: (row["shown"], row["row_number"])
        for row in links.iter_rows(named=True)
    }
    faults += [_circle(circle, places) for circle in circles]
    frame = pl.DataFrame(
        {"customer_id": list(ends), "survivor_id": list(ends.values())},
        schema=SURVIVORS,
    )
    return frame, faults


def _two_survivors(links: pl.DataFrame) -> Iterable[Fault]:
    doubled = links.filter(pl.col("customer_id").is_duplicated())
    for (customer_id,), rows in doubled.group_by("customer_id", maintain_order=True):
        names = " and ".join(str(one) for one in rows["survivor_id"].head(_SHOWN))
        yield Fault(
            code="two_survivors",
            message=f"customer {customer_id} was merged into {names}: leave one of "
            "them",
            file=rows["shown"][-1],
            row=rows["row_number"][-1],
        )


def _ends(into: Mapping[int, int]) -> tuple[dict[int, int], list[tuple[int, ...]]]:
    """Return whom each merged customer ends in, and the circles among them."""
    ends: dict[int, int] = {}
    circles: list[tuple[int, ...]] = []
    for start in into:
        way: dict[int, None] = {}
        here = start
        while here in into and here not in ends and here not in way:
            way[here] = None
            here = into[here]
        if here in way:
            circle = list(way)[list(way).index(here) :]
            circles.append(tuple(circle))
        end = ends.get(here, here)
        ends.update(dict.fromkeys(way, end))
    return ends, circles


def _circle(circle: tuple[int, ...], places: Mapping[int, tuple[str, int]]) -> Fault:
    shown = " into ".join(str(one) for one in (*circle[:_SHOWN], circle[0]))
    file, row = places[circle[0]]
    return Fault(
        code="merged_in_a_circle",
        message=f"customer {shown}: nobody survives; leave one of these merges out",
        file=file,
        row=row,
    )


def by_survivors(frame: pl.DataFrame, survivors: pl.DataFrame | None) -> pl.DataFrame:
    """Return a frame with customer_id in which survivors stand for the merged."""
    if survivors is None or survivors.is_empty():
        return frame
    return (
        frame.join(survivors, on="customer_id", how="left", maintain_order="left")
        .with_columns(customer_id=pl.coalesce("survivor_id", "customer_id"))
        .drop("survivor_id")
    )


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
