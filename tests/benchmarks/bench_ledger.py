"""Reserves and publishes many awards, and plans a night beside them.

Belongs here: what grows with all that was ever awarded. The baseline of reserving is
DuckDB inserting the same rows into tables without the ledger. Publishing is measured
where everything is made anew, and over the nights after: each awards a hundredth more,
and publishes as it begins, when it has reserved, and when it ends.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from measuring import Own, cpu

BADGE = "653de334b3cda7078c7c68eb"
NOW = datetime(2018, 6, 1, tzinfo=UTC)
_INSTANT = pl.Datetime("us", "UTC")
BATCH = 100
DAYS = 365


def made_awards(count: int) -> pl.DataFrame:
    """Return so many planned awards of one badge, spread over the days of a year."""
    number = pl.col("customer_id")
    day = (number % DAYS) * 86_400_000_000
    noon = int(datetime(2017, 1, 1, 17, tzinfo=UTC).timestamp()) * 1_000_000
    instant = (day + noon).cast(_INSTANT)
    return pl.select(customer_id=pl.int_range(1, count + 1, dtype=pl.Int64)).select(
        award_id=pl.format(
            "{}{}", pl.lit("b" * 14), number.cast(pl.String).str.zfill(10)
        ),
        import_name=pl.lit("bench"),
        badge=pl.lit("bench"),
        badge_meta_id=pl.lit(BADGE),
        badge_name=pl.lit("Bench"),
        reference_id=pl.lit("retro"),
        series=pl.lit(""),
        customer_id=number,
        occurrence=pl.lit(1, pl.Int64),
        generation=pl.lit(1, pl.Int32),
        source=pl.lit("activity"),
        source_customer_id=pl.lit(None, pl.String),
        rule_kind=pl.lit("activity_count"),
        rule_digest=pl.lit("bench"),
        measure=pl.lit(20.0),
        threshold=pl.lit(20.0),
        evidence_activity_id=number.cast(pl.String),
        qualified_at=instant,
        earn_event_date=instant,
        earn_day=instant.dt.date(),
        target=pl.lit("t"),
        result=pl.lit("planned"),
        held_earned_badge_id=pl.lit(None, pl.String),
    )


def reserved(folder: Path, awards: Path) -> None:
    """Cut requests and reserve the awards in the ledger of a home."""
    from flows.records.ledger import open_ledger  # noqa: PLC0415
    from flows.sending.reserve import Reservation, reserve  # noqa: PLC0415
    from transforms.awards.batches import cut_requests  # noqa: PLC0415

    frame = pl.read_parquet(awards)
    ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
    requests, members = cut_requests(frame, batch_size=BATCH)
    reserve(ledger, "bench", Reservation(frame, requests, members), NOW)
    ledger.close()


def inserted(folder: Path, ledger: Path) -> None:
    """Insert the rows of a ledger's tables into a new file, in one transaction."""
    import duckdb  # noqa: PLC0415

    with duckdb.connect(str(folder / "plain.duckdb")) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"ATTACH '{ledger}' AS l (READ_ONLY)")
        connection.execute("BEGIN")
        for table in ("awards", "award_events", "requests", "request_awards"):
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM l.{table}")
        connection.execute("COMMIT")


def settled(folder: Path) -> None:
    """Give every award of a ledger its outcome, as a run of sending would have."""
    from flows.records.ledger import connect  # noqa: PLC0415

    with connect(folder / "ledger.duckdb") as connection:
        _settle(connection, "bench")


def _settle(connection: Any, run_id: str) -> None:
    """Let all that a run planned be sent and be issued.

    What it reserved last are its requests: no event has a higher number.
    """
    last, first, count = connection.execute(
        "SELECT (SELECT max(event_seq) FROM request_events), min(event_seq), count(*) "
        "FROM award_events WHERE run_id = $run_id",
        {"run_id": run_id},
    ).fetchall()[0]
    for status, was, after in (("sent", "planned", 0), ("issued", "sent", count)):
        proof = "'answer'" if status == "issued" else "NULL"
        earned = "'e' || award_id" if status == "issued" else "NULL"
        connection.execute(
            f"""INSERT INTO award_events BY NAME SELECT
            event_seq - {first} + 1 + {last + after} AS event_seq, award_id,
            changed_at, '{was}' AS from_status, '{status}' AS to_status, run_id,
            request_id, actor, {proof} AS proof, {earned} AS earned_badge_id
            FROM award_events WHERE run_id = '{run_id}' AND to_status = 'planned'"""
        )


def published(folder: Path) -> None:
    """Publish the audit of a ledger anew."""
    from flows.records.ledger import open_ledger  # noqa: PLC0415
    from flows.records.publishing import publish  # noqa: PLC0415

    ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
    publish(ledger, folder / "audit.duckdb", NOW, anew=True)
    ledger.close()


def published_a_night(folder: Path, count: int) -> Own:
    """Publish three times in a run that awards so many more; only that is measured."""
    from flows.records.ledger import open_ledger  # noqa: PLC0415
    from flows.records.publishing import Publisher  # noqa: PLC0415
    from flows.sending.reserve import Reservation, reserve  # noqa: PLC0415
    from transforms.awards.batches import cut_requests  # noqa: PLC0415

    frame = made_awards(count).with_columns(
        pl.concat_str(pl.lit("c"), pl.col("award_id").str.slice(1)).alias("award_id"),
        pl.col("customer_id") + 10**12,
    )
    ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
    publisher, cpu_seconds = Publisher(ledger, folder / "audit.duckdb"), 0.0

    def publish() -> float:
        begun = cpu()
        publisher.publish(NOW)
        return cpu() - begun

    cpu_seconds += publish()
    requests, members = cut_requests(frame, batch_size=BATCH)
    reserve(ledger, "night", Reservation(frame, requests, members), NOW)
    cpu_seconds += publish()
    with closing(ledger.cursor()) as cursor:
        _settle(cursor, "night")
    cpu_seconds += publish()
    ledger.close()
    return Own(publisher.spent, cpu_seconds)


def classified_again(folder: Path, awards: Path, parts: int) -> Any:
    """Plan the same qualifications against all that is in the ledger by now.

    In so many parts of the customers, one after the other.
    """
    made = sum(
        _classified_part(folder, awards, number, parts) for number in range(parts)
    )
    return partial(int, made)


def _classified_part(folder: Path, awards: Path, number: int, parts: int) -> int:
    from bench_qualify import definition_of  # noqa: PLC0415

    from flows.records.audit import Part, known_awards  # noqa: PLC0415
    from transforms.awards.awards import classified_awards, drift  # noqa: PLC0415
    from transforms.platform.badges import BadgeFacts  # noqa: PLC0415

    definition = definition_of('{ kind = "activity_count", at_least = 20 }')
    badge = definition.badges[0].model_copy(update={"badge_meta_id": BADGE})
    columns = ["customer_id", "occurrence", "qualified_at", "measure", "threshold"]
    met = (
        pl.scan_parquet(awards)
        .filter(pl.col("customer_id") % parts == number)
        .select(*columns, "evidence_activity_id", "source")
        .collect()
    )
    known = known_awards(folder / "audit.duckdb", BADGE, "", Part(number, parts))
    classified = classified_awards(
        met,
        badge,
        BadgeFacts(badge_meta_id=BADGE),
        definition_timezone=definition.timezone,
        as_of=NOW,
        target="t",
        known=known,
    )
    moved = drift(classified, known)
    return classified.filter(result="in_ledger").height + 0 * moved.height
