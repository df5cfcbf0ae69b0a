"""Says whose an identifier is, by everything that the customer files say together.

Belongs here: whose it is, or why nobody's; what is known of each customer. Does not
belong here: reading rows (`customers.listed`), merges (`customers.survivors`), and the
rows of activity (`flows.files.mapping`).

All rows of all files count, old identifiers too: a bill of last year has the number of
last year. Where they contradict each other nothing is chosen: an identifier of two
customers is nobody's, and two values of one customer in one file stop everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from transforms.activity.accepted import CUSTOMER, customer_columns
from transforms.activity.identifiers import read_identifiers
from transforms.customers.survivors import by_survivors, survivors_of
from transforms.errors import Fault, FilesRefused

if TYPE_CHECKING:
    from transforms.definition.definition import Customers

_MOST_FAULTS = 20


class Fate(StrEnum):
    """What becomes of a row, by its identifier."""

    MAPPED = "mapped"
    UNMAPPED = "unmapped"  # nobody knows it
    EXCLUDED = "excluded"  # suppressed, or left out by `where`
    SEVERAL = "several"  # it stands for more than one customer


@dataclass(frozen=True, kw_only=True)
class KnownCustomers:
    """What the customer files say.

    `fates`: identifier String (in its one form, unique), customer_id Int64 (the
    survivor; null where nobody's), fate String. `survivors`: customer_id, survivor_id.
    `attributes`: customer_id (unique) and the columns of `customer_columns`.
    """

    fates: pl.DataFrame
    survivors: pl.DataFrame
    attributes: pl.DataFrame

    def identifiers_of(self, customer_id: int) -> pl.Series:
        """Return every identifier of a customer, in its one form."""
        return self.fates.filter(pl.col("customer_id") == customer_id)["identifier"]

    def survivor_of(self, customer_id: int) -> int:
        """Return who stands for a customer: itself, if it was not merged."""
        found = self.survivors.filter(pl.col("customer_id") == customer_id)
        return customer_id if found.is_empty() else int(found["survivor_id"][0])


def known_customers(
    listed: pl.DataFrame, suppressed: pl.DataFrame, customers: Customers
) -> KnownCustomers:
    """Return what all rows of the customer files say together.

    `listed`: the rows of `listed.Listed`, with file_order Int32 and shown String of
    their file. `suppressed`: identifier and customer_id of the suppression lists.
    Raises FilesRefused for merges in a circle and for contradictions.
    """
    if "survivor_id" not in listed.columns:
        listed = listed.with_columns(survivor_id=pl.lit(None, dtype=pl.Int64))
    survivors, faults = survivors_of(listed)
    attributes, contradictions = _attributes(listed, survivors, customers)
    faults += contradictions
    if faults:
        raise FilesRefused(*faults[:_MOST_FAULTS])
    own = listed.drop("survivor_id")
    return KnownCustomers(
        fates=_fates(by_survivors(own, survivors), by_survivors(suppressed, survivors)),
        survivors=survivors,
        attributes=attributes,
    )


def fates_of(
    given: pl.Series, known: KnownCustomers, customers: Customers
) -> pl.DataFrame:
    """Return whose the identifiers of activity are, a row per value, in their order.

    `given`: as they stand in the files, String, readable. Returned:
    source_customer_id, customer_id (null where it is nobody's), fate.
    """
    read = read_identifiers(
        given, (), kind=customers.identifier, country_code=customers.country_code
    )
    unmapped = pl.lit(str(Fate.UNMAPPED))
    return (
        read.join(known.fates, on="identifier", how="left", maintain_order="left")
        .with_columns(pl.col("fate").fill_null(unmapped))
        .select("customer_id", "fate", source_customer_id="given")
    )


def _fates(listed: pl.DataFrame, suppressed: pl.DataFrame) -> pl.DataFrame:
    """Return what becomes of each identifier; survivors stand for the merged."""
    named = listed.filter(pl.col("identifier").is_not_null())
    unwelcome = suppressed["identifier"].drop_nulls().unique()
    is_unwelcome = pl.col("identifier").is_in(unwelcome.implode())
    # Whoever has a suppressed identifier is suppressed under the others too.
    excluded = pl.concat(
        [suppressed["customer_id"], named.filter(is_unwelcome)["customer_id"]]
    )
    is_excluded = pl.col("customer_id").is_in(excluded.drop_nulls().unique().implode())
    owner = pl.col("customer_id").filter("is_wanted")
    owned = named.group_by("identifier").agg(
        owners=owner.n_unique(), customer_id=owner.min()
    )
    unknown = unwelcome.filter(~unwelcome.is_in(owned["identifier"].implode()))
    fate = (
        pl.when(is_unwelcome | (pl.col("owners") == 0))
        .then(pl.lit(str(Fate.EXCLUDED)))
        .when(pl.col("owners") > 1)
        .then(pl.lit(str(Fate.SEVERAL)))
        .when(is_excluded)
        .then(pl.lit(str(Fate.EXCLUDED)))
        .otherwise(pl.lit(str(Fate.MAPPED)))
    )
    is_one = pl.col("owners") == 1
    frame = owned.select(
        "identifier", customer_id=pl.when(is_one).then("customer_id"), fate=fate
    )
    nobodys = pl.DataFrame({"identifier": unknown}).with_columns(
        customer_id=pl.lit(None, dtype=pl.Int64), fate=pl.lit(str(Fate.EXCLUDED))
    )
    return pl.concat([frame, nobodys]).sort("identifier")


def _attributes(
    listed: pl.DataFrame, survivors: pl.DataFrame, customers: Customers
) -> tuple[pl.DataFrame, list[Fault]]:
    """Return what is known of each customer, by the newest file that says it.

    Only rows of the customer itself speak: those of a merged one are another's past.
    """
    is_merged = pl.col("customer_id").is_in(survivors["customer_id"].implode())
    own = listed.filter("is_wanted", ~is_merged, pl.col("customer_id").is_not_null())
    frame = own.select(pl.col("customer_id").unique(maintain_order=True))
    faults: list[Fault] = []
    for column in customer_columns(customers):
        name = column.removeprefix(CUSTOMER)
        told = own.filter(pl.col(name).is_not_null())
        newest = pl.col("file_order").max().over("customer_id")
        said = told.filter(pl.col("file_order") == newest)
        said = said.unique(["customer_id", name], maintain_order=True)
        faults += _contradictions(said, name, customers.columns[name])
        one = said.unique("customer_id", keep="first", maintain_order=True)
        one = one.select("customer_id", pl.col(name).alias(column))
        frame = frame.join(one, on="customer_id", how="left", maintain_order="left")
    return frame, faults


def _contradictions(said: pl.DataFrame, name: str, theirs: str) -> Iterator[Fault]:
    again = said.filter(~pl.col("customer_id").is_first_distinct())
    for row in again.head(_MOST_FAULTS).iter_rows(named=True):
        yield Fault(
            code="customer_contradicted",
            message=f"gives customer {row['customer_id']} another {name} than a row "
            f"before it: leave one of them, or don't list {name} in customers.columns",
            file=row["shown"],
            row=row["row_number"],
            column=theirs,
        )
