"""Reserves and publishes many awards, and plans a night beside them.

Belongs here: what grows with all that was ever awarded. The baseline of reserving is
DuckDB inserting the same rows into tables without the ledger. Publishing is measured
where everything is made anew, and over the nights after: each awards a hundredth more,
and publishes as it begins, when it has reserved, and when it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
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
TIMEZONE = "Etc/GMT+5"  # in which every day's noon is 17:00 UTC
# How many awards a night is planned by at a time, and reserved by at most.
AWARDS_A_PART = 4_000_000


def made_awards(count: int, first: int = 1) -> pl.DataFrame:
    """Return so many planned awards of one badge, spread over the days of a year.

    Of customers from `first` on. Ids are as hard to compress as real ones.
    """
    customers = pl.int_range(first, first + count, dtype=pl.Int64, eager=True)
    awards = _awards_of(customers.alias("customer_id"))
    return awards.insert_column(0, _ids(first, count))


def _awards_of(customers: pl.Series) -> pl.DataFrame:
    """Return the awards of customers, without ids."""
    number = pl.col("customer_id")
    day = (number % DAYS) * 86_400_000_000
    noon = int(datetime(2017, 1, 1, 17, tzinfo=UTC).timestamp()) * 1_000_000
    instant = (day + noon).cast(_INSTANT)
    return customers.to_frame().select(
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


def _ids(first: int, count: int) -> pl.Series:
    import duckdb  # noqa: PLC0415

    made = duckdb.sql(
        "SELECT left(md5(range::VARCHAR), 24) AS award_id "
        f"FROM range({first}, {first + count}) ORDER BY range"
    )
    ids: pl.Series = made.pl()["award_id"]
    return ids


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


def reserved_in_runs(folder: Path, count: int) -> None:
    """Reserve so many awards and give them their outcomes, some millions a run."""
    from flows.records.ledger import connect, open_ledger  # noqa: PLC0415
    from flows.sending.reserve import Reservation, reserve  # noqa: PLC0415
    from transforms.awards.batches import cut_requests  # noqa: PLC0415

    for first in range(1, count + 1, AWARDS_A_PART):
        frame = made_awards(min(AWARDS_A_PART, count + 1 - first), first)
        requests, members = cut_requests(frame, batch_size=BATCH)
        ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
        run_id = f"bench-{first}"
        reserve(ledger, run_id, Reservation(frame, requests, members), NOW)
        ledger.close()
        with connect(folder / "ledger.duckdb") as connection:
            connection.execute("SET memory_limit = '4GB'")
            _settle(connection, run_id)


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
        earned = "left(md5(award_id), 24)" if status == "issued" else "NULL"
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

    frame = made_awards(count, first=10**12)
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


def planned_again(folder: Path, count: int, source: str) -> Any:
    """Plan the same qualifications against all that is in the ledger by now.

    As a run does, which asks the ledger, or as a plan does, which asks the `audit`.
    """
    from bench_qualify import definition_of  # noqa: PLC0415

    from flows.planning import Qualified, Selection, made_plan  # noqa: PLC0415
    from flows.records.known import (  # noqa: PLC0415
        known_in_parts,
        of_audit,
        of_ledger,
    )
    from flows.records.ledger import open_ledger  # noqa: PLC0415
    from transforms.platform.badges import BadgeFacts  # noqa: PLC0415

    definition = definition_of('{ kind = "activity_count", at_least = 20 }')
    badge = definition.badges[0].model_copy(update={"badge_meta_id": BADGE})
    guards = definition.guards.model_copy(update={"take_over": True})
    definition = definition.model_copy(
        update={"badges": (badge,), "guards": guards, "timezone": TIMEZONE}
    )
    with ExitStack() as stack:
        if source == "audit":
            reading = of_audit(folder / "audit.duckdb")
        else:
            ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
            stack.callback(ledger.close)
            reading = of_ledger(ledger)
        known = stack.enter_context(known_in_parts(reading, None, folder))
        plan = made_plan(
            definition,
            [],
            {badge.name: BadgeFacts(badge_meta_id=BADGE)},
            Selection(as_of=NOW),
            known_awards=known,
            held=None,
            target="t",
            batch_size=BATCH,
            requests_per_minute=90,
            found=Qualified(
                parts=_met_again(badge.name, count),
                activity=pl.LazyFrame(),
                rows_current={},
                rows_superseded={},
            ),
        )
    found = plan.results[badge.name]
    if found["in_ledger"] != count or plan.drift.height:
        raise SystemExit(f"{found} of {count}, and {plan.drift.height} moved")
    return partial(int, count)


def _met_again(name: str, count: int) -> Iterator[Any]:
    """Yield what the awards of a ledger were made of, in the parts of planning."""
    from flows.partitions import Met  # noqa: PLC0415

    partitions = 1 << (max(1, -(-count // AWARDS_A_PART)) - 1).bit_length()
    columns = ["customer_id", "occurrence", "qualified_at", "measure", "threshold"]
    for number in range(partitions):
        theirs = pl.int_range(
            number or partitions, count + 1, partitions, dtype=pl.Int64, eager=True
        )
        met = _awards_of(theirs.alias("customer_id")).select(
            *columns, "evidence_activity_id", "source"
        )
        yield Met(of_badges={name: met}, number=number, partitions=partitions)
