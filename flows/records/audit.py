"""The audit, as it is read: by people, and by commands that leave the ledger alone.

Belongs here: read-only queries of `audit.duckdb`. Does not belong here: publishing it
(`flows.records.publishing`), and what happened (`flows.records.ledger`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from flows.records.ledger import connect, sql
from transforms.errors import HomeRefused, Refused

# What `known_in_audit.sql` answers of an audit that is not there yet.
NOTHING_KNOWN = pl.Schema(
    {
        "award_id": pl.String(),
        "customer_id": pl.Int64(),
        "occurrence": pl.Int64(),
        "generation": pl.Int32(),
        "import_name": pl.String(),
        "rule_digest": pl.String(),
        "earn_event_date": pl.Datetime("us", "UTC"),
        "planned_at": pl.Datetime("us", "UTC"),
        "status": pl.String(),
        "is_released": pl.Boolean(),
    }
)


def open_audit(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the audit read-only, unable to touch any other file."""
    if not path.exists():
        raise HomeRefused.of(
            "no_audit",
            "there is no audit in this home yet: it is written by the first run",
            file=str(path),
        )
    connection = connect(path, read_only=True)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def queried(path: Path, query: str) -> pl.DataFrame:
    """Return the answer of a person's query; a faulty one is refused in its words."""
    connection = open_audit(path)
    try:
        answer: pl.DataFrame = connection.sql(query).pl()
    except duckdb.Error as error:
        raise Refused.of("query_refused", str(error).strip()) from error
    except AttributeError as error:  # a statement that has no answer
        raise Refused.of(
            "query_refused", "only a query that returns rows can be asked"
        ) from error
    finally:
        connection.close()
    return answer


def listed_runs(path: Path) -> pl.DataFrame:
    """Return the runs of a home, newest first."""
    return queried(path, sql("listed_runs"))


def earned_ids(path: Path, listed: pl.DataFrame | None) -> pl.Series:
    """Return which earns of a list (earned_badge_id) are the ledger's own."""
    if listed is None or not path.exists():
        return pl.Series("earned_badge_id", [], dtype=pl.String)
    with closing(open_audit(path)) as connection:
        connection.register("wanted", listed.select("earned_badge_id"))
        found: pl.DataFrame = connection.sql(sql("earned_ids_in_audit")).pl()
        return found["earned_badge_id"]


def earlier_files(path: Path, import_name: str) -> list[tuple[str, str, str]]:
    """Return source, path and fingerprint of the files an import stood on last."""
    if not path.exists():
        return []
    connection = open_audit(path)
    try:
        values = {"import_name": import_name}
        rows = connection.sql(sql("earlier_files"), params=values).pl()
    finally:
        connection.close()
    found: list[tuple[str, str, str]] = rows.rows()
    return found


@dataclass(frozen=True)
class Part:
    """Some of the customers: those whose id leaves `number`, divided by `partitions`.

    With `merged`, also these: customers who were merged into one of them, under whose
    id something may have been awarded before.
    """

    number: int = 0
    partitions: int = 1
    merged: pl.Series | None = None

    @property
    def values(self) -> dict[str, int]:
        """Return what the queries ask for."""
        return {"number": self.number, "partitions": self.partitions}

    @property
    def wanted(self) -> pl.DataFrame:
        """Return the merged customers, as the queries read them."""
        merged = pl.Series([]) if self.merged is None else self.merged
        return merged.cast(pl.Int64).alias("customer_id").to_frame()


EVERYONE = Part()


def known_awards(
    path: Path, badge_meta_id: str, series: str, part: Part = EVERYONE
) -> pl.DataFrame:
    """Return what the audit knows of one badge and series, as the ledger would."""
    if not path.exists():
        return pl.DataFrame(schema=NOTHING_KNOWN)
    values = {"badge_meta_id": badge_meta_id, "series": series, **part.values}
    with closing(open_audit(path)) as connection:
        connection.register("wanted", part.wanted)
        known: pl.DataFrame = connection.sql(sql("known_in_audit"), params=values).pl()
        return known


def asked(path: Path, *names: str, **values: object) -> dict[str, pl.DataFrame]:
    """Return the answers of queries of `flows/sql`, all of the same published audit."""
    connection = open_audit(path)
    try:
        return {
            name: connection.sql(sql(name), params=values or None).pl()
            for name in names
        }
    finally:
        connection.close()
