"""The audit, as it is read: by people, and by commands that leave the ledger alone.

Belongs here: read-only queries of `audit.duckdb`. Does not belong here: publishing it
(`flows.records.publishing`), and what happened (`flows.records.ledger`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl

from flows.records.ledger import connect, in_pieces, sql
from transforms.errors import HomeRefused, Refused

# What `known_in_audit.sql` answers of an audit that is not there yet.
NOTHING_KNOWN = pl.Schema(
    {
        "award_id": pl.String(),
        "customer_id": pl.Int64(),
        "occurrence": pl.Int64(),
        "generation": pl.Int32(),
        "import_name": pl.Categorical(),
        "rule_digest": pl.Categorical(),
        "earn_event_date": pl.Datetime("us", "UTC"),
        "planned_at": pl.Datetime("us", "UTC"),
        "is_revoked": pl.Boolean(),
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


def known_awards(
    path: Path, badge_meta_id: str, series: str, customers: Iterable[int]
) -> pl.DataFrame:
    """Return what the audit knows of one badge and series for some customers."""
    if not path.exists():
        return NOTHING_KNOWN.to_frame()
    ids = pl.DataFrame({"customer_id": list(customers)}, {"customer_id": pl.Int64})
    values = {"badge_meta_id": badge_meta_id, "series": series}
    with closing(open_audit(path)) as connection:
        connection.register("wanted", ids)
        every = sql("known_in_audit")
        theirs = f"FROM ({every}) SEMI JOIN wanted USING (customer_id)"
        known: pl.DataFrame = connection.sql(theirs, params=values).pl()
        return known


def known_pieces(path: Path, badge_meta_id: str, series: str) -> Iterator[pl.DataFrame]:
    """Yield what the audit knows of one badge and series, as the ledger would."""
    if not path.exists():
        return
    values = {"badge_meta_id": badge_meta_id, "series": series}
    with closing(connect(path, read_only=True)) as connection:
        yield from in_pieces(connection, "known_in_audit", values)


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
