"""Names the identifier by which the activity that proves an award was mapped.

Belongs here: source_customer_id of awards. Does not belong here: mapping
(`customers.mapping`), and what proves an award (`rules`).
"""

from __future__ import annotations

import polars as pl

_KEYS = ["source", "activity_id", "customer_id"]


def with_identifiers(awards: pl.DataFrame, activity: pl.LazyFrame) -> pl.DataFrame:
    """Return awards with the source_customer_id of the activity that proves each.

    `awards`: source, evidence_activity_id, customer_id, source_customer_id (null).
    `activity` is what they were qualified by; it has source_customer_id where its
    customers are mapped, else the awards are returned as they are.
    """
    if "source_customer_id" not in activity.collect_schema() or awards.is_empty():
        return awards
    named = (
        proving(activity, awards["evidence_activity_id"])
        .collect()
        .sort("file_order", "row_number")
        .unique(_KEYS, keep="first", maintain_order=True)
        .rename({"activity_id": "evidence_activity_id"})
    )
    return (
        awards.drop("source_customer_id")
        .join(
            named.drop("file_order", "row_number"),
            on=["source", "evidence_activity_id", "customer_id"],
            how="left",
            maintain_order="left",
        )
        .select(awards.columns)
    )


def proving(activity: pl.LazyFrame, ids: pl.Series) -> pl.LazyFrame:
    """Return what `with_identifiers` looks at of the activities with these ids."""
    proofs = ids.drop_nulls().unique()
    return activity.filter(pl.col("activity_id").is_in(proofs.implode())).select(
        *_KEYS, "source_customer_id", "file_order", "row_number"
    )
