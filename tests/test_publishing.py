"""Publishing: what is added to the last audit comes to what is published anew."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from factories_imports import brand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rig_ledger import awards, issue, reserve_only
from rig_publishing import differences

from flows.pipeline import Work, resume_badges
from flows.records.known import Reading, known_in_parts, of_audit, of_ledger
from flows.records.ledger import Entry, Ledger, bounded, open_ledger
from flows.records.publishing import PUBLISHING_SHARE, Publisher, publish
from flows.runs.job import Job
from flows.sending.reserve import Reservation, reserve, withdraw_never_sent
from flows.settings import settings as environment
from transforms.awards.batches import cut_requests
from transforms.customers.survivors import SURVIVORS

NOW = datetime(2018, 6, 1, 12, tzinfo=UTC)
# What may happen to an award: its next status, and what the event says besides.
EVENTS: dict[str, dict[str, object]] = {
    "sent": {},
    "unknown": {"reason": "no answer"},
    "issued": {"proof": "answer", "earned_badge_id": "e", "badge_status": "ACTIVE"},
    "failed": {"error_code": 812, "error_message": "no"},
    "blocked": {"error_code": 810, "error_message": "stop"},
    "revoked": {"reason": "taken back", "run_id": "undo"},
    "released": {"run_id": "undo"},
    "planned": {"reason": "retried", "run_id": "again"},
}


class History:
    """A ledger to which things happen, and the audit that goes on beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audit = folder / "audit.duckdb"
        self.ledger: Ledger = open_ledger(folder / "ledger.duckdb", now=NOW)
        self.now = NOW
        self.attempts = 0

    def publish(self) -> None:
        """Publish; the file that is there is gone on from where that is possible."""
        self.now += timedelta(seconds=1)
        publish(self.ledger, self.audit, self.now)

    def differences(self) -> list[str]:
        """Return in what the audit differs from one that is published anew."""
        anew = self.folder / "anew.duckdb"
        publish(self.ledger, anew, self.now, anew=True)
        return differences(self.audit, anew)

    def states(self) -> dict[str, dict[str, object]]:
        """Return how the ledger says that every award stands."""
        with closing(self.ledger.cursor()) as cursor:
            rows = cursor.sql("SELECT * FROM award_states").pl()
        return {row.pop("award_id"): row for row in rows.iter_rows(named=True)}

    def states_told(self) -> dict[str, dict[str, object]]:
        """Return the same, one event after the other."""
        with closing(self.ledger.cursor()) as cursor:
            events = cursor.sql("SELECT * FROM award_events ORDER BY event_seq").pl()
        found: dict[str, dict[str, object]] = {}
        for event in events.iter_rows(named=True):
            state = found.setdefault(event["award_id"], dict(_NO_STATE))
            _tell(state, event)
        return found

    def known(self) -> pl.DataFrame:
        """Return what the ledger has of the badge."""
        return self.ledger.read("known_awards", badge_meta_id="b", series="")

    def reserve(self, customers: list[int], run_id: str) -> None:
        """Reserve those of the awards that the ledger does not have."""
        known = self.known()
        new = [one for one in customers if one not in set(known["customer_id"])]
        if not new:
            return
        frame = awards(new, badge_meta_id="b").with_columns(
            result=pl.when(pl.col("customer_id") % 5 == 0)
            .then(pl.lit("held"))
            .otherwise(pl.lit("planned"))
        )
        planned = frame.filter(pl.col("result") == "planned")
        requests, members = cut_requests(planned, batch_size=2)
        reserve(self.ledger, run_id, Reservation(frame, requests, members), self.now)

    def happen(self, customer: int, status: str) -> None:
        """Let one thing happen to an award, and to the request that it is in."""
        known = self.known()
        found = known.filter(pl.col("customer_id") == customer)
        if found.is_empty():
            return
        award = found.row(0, named=True)
        entry = Entry()
        told = {"run_id": "one", "actor": "test", **EVENTS[status]}
        if "earned_badge_id" in told:
            told["earned_badge_id"] = f"e{customer}"
        entry.add(
            "award_events",
            award_id=award["award_id"],
            changed_at=self.now,
            from_status=self.states()[award["award_id"]]["status"],
            to_status=status,
            **told,
        )
        if status in _OF_REQUESTS:
            self._with_call(entry, award["award_id"], status)
        self.ledger.write([entry])

    def _with_call(self, entry: Entry, award_id: str, status: str) -> None:
        """Say the same of the request, and that it was called."""
        cursor = self.ledger.cursor()
        query = "SELECT request_id FROM award_states WHERE award_id = $id"
        ((request_id,),) = cursor.execute(query, {"id": award_id}).fetchall()
        cursor.close()
        if request_id is None:
            return
        told = {"request_id": request_id, "run_id": "one"}
        status = _OF_REQUESTS[status]
        entry.add("request_events", changed_at=self.now, status=status, **told)
        if status != "sent":
            return
        self.attempts += 1
        called = {"attempt_id": f"a{self.attempts}", "customers": 1}
        entry.add("attempts", started_at=self.now, **called, **told)


_NO_STATE: dict[str, Any] = dict.fromkeys(
    [
        *("status", "proof", "earned_badge_id", "badge_status", "expires_on"),
        *("error_code", "error_message", "request_id", "settled_run_id", "sent_at"),
        *("changed_at", "last_event_seq", "last_run_id"),
    ]
) | {"attempt_count": 0}
_KEPT = ("proof", "earned_badge_id", "badge_status", "expires_on", "request_id")


def _tell(state: dict[str, Any], event: dict[str, Any]) -> None:
    """Let an event change a state: what it says nothing of stays, but for errors."""
    state["status"], state["last_event_seq"] = event["to_status"], event["event_seq"]
    state["last_run_id"] = event["run_id"]
    for name in ("error_code", "error_message"):
        state[name] = event[name]
    for name in _KEPT:
        state[name] = state[name] if event[name] is None else event[name]
    if event["to_status"] == "sent":
        state["attempt_count"] += 1
        state["sent_at"] = state["sent_at"] or event["changed_at"]
    if (event["from_status"], event["to_status"]) != ("issued", "issued"):
        state["settled_run_id"] = event["run_id"]
        state["changed_at"] = event["changed_at"]


_OF_REQUESTS = {"sent": "sent", "unknown": "unknown", "issued": "answered"}
_reserved = st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True)
_happened = st.lists(
    st.tuples(st.integers(1, 30), st.sampled_from(sorted(EVENTS))), max_size=12
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), _reserved),
        st.tuples(st.just("happen"), _happened),
        st.tuples(st.just("withdraw"), st.none()),
        st.tuples(st.just("note"), st.integers(1, 3)),
        st.tuples(st.just("publish"), st.none()),
    ),
    min_size=2,
    max_size=14,
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Return a ledger with twenty awards that was published."""
    made = History(tmp_path)
    made.reserve(list(range(1, 21)), "one")
    made.publish()
    yield made
    made.ledger.close()


def marked(path: Path, *, keeps_time: bool) -> None:
    """Write to an audit, as nobody should; that file alone has the mark."""
    published = path.stat().st_mtime_ns
    path.chmod(0o600)
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mark AS SELECT 1 AS one")
    if keeps_time:
        os.utime(path, ns=(published, published))


def has_mark(path: Path) -> bool:
    """Whether an audit was made of the one that was marked."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return ("mark",) in connection.execute("SHOW TABLES").fetchall()


@given(steps=_steps)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_is_added_comes_to_what_is_published_anew(steps, tmp_path_factory):
    """Whatever happens between two publications, the audit is as one made anew."""
    folder = tmp_path_factory.mktemp("history")
    history = History(folder)
    history.reserve(list(range(1, 61)), "one")
    history.publish()
    for number, (step, value) in enumerate(steps):
        history.now += timedelta(seconds=1)
        if step == "reserve":
            history.reserve(value, f"run-{number}")
        elif step == "happen":
            for customer, status in value:
                history.happen(customer, status)
        elif step == "withdraw":
            withdraw_never_sent(history.ledger, f"run-{number}", history.now)
        elif step == "note":
            history.ledger.write([noted(number, value)])
        else:
            history.publish()
    history.publish()
    found = history.differences()
    states, told = history.states(), history.states_told()
    history.ledger.close()
    shutil.rmtree(folder)
    assert found == []
    assert states == told


def noted(number: int, rows: int) -> Entry:
    """Return rows of the tables that only grow, and one that is always made anew."""
    entry = Entry()
    for row in range(rows):
        where = {"run_id": f"run-{number}", "path": "a.csv", "row_number": row}
        entry.add("rejected_rows", reason="not a date", **where)
        entry.add("drift", award_id=f"{row}", found_run_id=f"run-{number}", kind="x")
    return entry.add(
        "approvals",
        plan_digest=f"{number}",
        decision="approved",
        by_name="Ann",
        decided_at=NOW,
    )


def test_an_audit_is_gone_on_from(history):
    """What was published is copied, not made again: a mark in it stays."""
    marked(history.audit, keeps_time=True)
    history.happen(1, "sent")
    history.publish()
    assert has_mark(history.audit)
    assert history.differences() == []


def test_an_audit_that_somebody_wrote_to_is_made_anew(history):
    """Its time tells: what was written to since is not what was published."""
    marked(history.audit, keeps_time=False)
    history.publish()
    assert not has_mark(history.audit)


def test_an_audit_with_a_log_beside_it_is_made_anew(history):
    """Somebody opened it for writing, and died."""
    marked(history.audit, keeps_time=True)
    history.audit.with_name("audit.duckdb.wal").write_bytes(b"")
    history.publish()
    assert not has_mark(history.audit)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_state SET layout = 'older'",
        "ALTER TABLE ledger_state DROP COLUMN layout",
        "UPDATE ledger_state SET ledger_uuid = 'other'",
        "UPDATE ledger_state SET sequence = sequence + 1000",
        "UPDATE award_events SET to_status = 'failed'",
        "DELETE FROM request_awards WHERE position = 0",
        "DROP TABLE audit",
    ],
)
def test_an_audit_of_another_ledger_or_version_is_made_anew(history, change):
    """What does not go with the ledger is not gone on from."""
    history.ledger.write([noted(1, 2)])
    history.publish()
    marked(history.audit, keeps_time=True)
    published = history.audit.stat().st_mtime_ns
    with duckdb.connect(str(history.audit)) as connection:
        connection.execute(change)
    os.utime(history.audit, ns=(published, published))
    history.publish()
    assert not has_mark(history.audit)
    assert history.differences() == []


@pytest.mark.parametrize("merges", [{}, {2: 20, 3: 20, 7: 1}])
def test_parts_of_the_customers_are_all_of_them(history, tmp_path, merges):
    """Ledger and audit answer alike, in any parts; the merged are their survivors'."""
    for customer, status in ((1, "sent"), (2, "issued"), (3, "revoked")):
        history.happen(customer, "sent")
        history.happen(customer, status)
    history.happen(1, "revoked")
    history.happen(1, "released")
    history.publish()
    columns = {"customer_id": list(merges), "survivor_id": list(merges.values())}
    survivors = pl.DataFrame(columns, schema=SURVIVORS)

    def in_parts(read: Reading, *numbers: int) -> list[pl.DataFrame]:
        """Return what is known, in so many parts each time, from one pass."""
        with known_in_parts(read, survivors, tmp_path) as known:
            return [
                pl.concat(known("b", "", part, number) for part in range(number))
                for number in numbers
            ]

    def same(one: pl.DataFrame, other: pl.DataFrame) -> None:
        options = {"check_row_order": False, "check_column_order": False}
        assert_frame_equal(one, other, **options)

    sides = of_ledger(history.ledger), of_audit(history.audit)
    by_ledger, by_audit = (in_parts(read, 1)[0] for read in sides)
    for read, whole in zip(sides, (by_ledger, by_audit), strict=True):
        for parted in in_parts(read, 3, 1, 2, 6, 40):
            same(parted, whole)
    with known_in_parts(sides[0], survivors, tmp_path) as known:
        found = known("b", "", 2, 3)
        assert set(found["customer_id"] % 3) == {2}
        assert len(list(tmp_path.glob(".partitions-*"))) == 1
    assert not list(tmp_path.glob(".partitions-*"))
    # What was never sent will be withdrawn first, and is not known.
    made_for = "ledger_customer_id" if merges else "customer_id"
    assert {1, 2, 3, 5, 10, 15, 20} <= set(by_audit[made_for])
    assert by_audit.height < by_ledger.height
    same(by_audit, by_ledger.join(by_audit, on="award_id", how="semi"))


def test_only_what_was_taken_back_is_told_from_the_rest(history):
    """Of what happened to an award, its last event says if it was taken back."""
    happened = {
        1: ("sent", "issued"),
        2: ("sent", "issued", "revoked"),
        3: ("sent", "issued", "revoked", "issued"),
        5: ("revoked", "released"),
        7: ("sent", "issued", "revoked", "released"),
    }
    for customer, statuses in happened.items():
        for status in statuses:
            history.happen(customer, status)
    taken = pl.col("is_revoked"), pl.col("is_released")
    rows = history.known().filter(pl.any_horizontal(taken)).sort("customer_id")
    assert rows.select("customer_id", *taken).rows() == [
        (2, True, False),
        (5, True, True),
        (7, True, True),
    ]


def limit(ledger: Ledger) -> object:
    """Return how much DuckDB may keep in memory."""
    with closing(ledger.cursor()) as cursor:
        return cursor.execute(f"SELECT {_LIMIT}").fetchall()


def say_of_approvals(ledger: Ledger, said: str) -> None:
    """Let the ledger answer something else when it is asked for approvals."""
    with closing(ledger.cursor()) as cursor:
        cursor.execute("ALTER TABLE approvals RENAME TO approvals_before")
        cursor.execute(f"CREATE VIEW approvals AS SELECT {said} AS said")


_LIMIT = "current_setting('memory_limit')"


def test_a_piece_that_is_read_leaves_the_memory_as_it_was(history):
    """Reading in pieces bounds DuckDB only while it goes on."""
    before = limit(history.ledger)
    pieces = of_ledger(history.ledger)("b", "")
    assert next(pieces).height == history.known().height
    assert limit(history.ledger) != before
    assert list(pieces) == []
    assert limit(history.ledger) == before


@pytest.mark.parametrize(("anew", "megabytes"), [(False, 2_000), (True, 8_000)])
def test_publishing_bounds_the_memory_only_while_it_goes_on(history, anew, megabytes):
    """What DuckDB may keep is published along; afterwards it is as before."""
    before = limit(history.ledger)
    say_of_approvals(history.ledger, _LIMIT)
    publish(history.ledger, history.audit, NOW, anew=anew)
    with duckdb.connect(str(history.audit), read_only=True) as connection:
        (meanwhile,) = connection.execute("FROM approvals").fetchall()
    asked = f"SELECT parse_formatted_bytes('{meanwhile[0]}')"
    assert 0 < duckdb.execute(asked).fetchall()[0][0] <= megabytes * 10**6
    assert limit(history.ledger) == before


@pytest.mark.parametrize("anew", [False, True])
def test_publishing_that_fails_leaves_the_memory_as_it_was(history, anew):
    """A run goes on sending after it, with all the memory that it had."""
    before = limit(history.ledger)
    say_of_approvals(history.ledger, "error('the disk is full')")
    with pytest.raises(duckdb.Error, match="the disk is full"):
        publish(history.ledger, history.audit, NOW, anew=anew)
    assert limit(history.ledger) == before
    nowhere = history.folder / "nowhere" / "audit.duckdb"
    with pytest.raises(duckdb.Error):
        publish(history.ledger, nowhere, NOW, anew=anew)
    assert limit(history.ledger) == before


def test_a_bound_never_gives_more_memory_than_there_was(history):
    """On a small machine DuckDB stays at what it would take by itself."""
    before = limit(history.ledger)
    with closing(history.ledger.cursor()) as cursor, bounded(cursor, 10**9):
        assert limit(history.ledger) == before


def test_rows_beyond_one_group_are_written_whole_and_in_order(history):
    """A frame is handed to DuckDB group by group; none of it is lost or turned."""
    count = 300_000
    frame = pl.select(number=pl.int_range(count)).select(
        award_id=pl.col("number").cast(pl.String),
        found_run_id=pl.lit("many"),
        kind=pl.lit("earn_date"),
        was=pl.when(pl.col("number") % 2 == 0).then(pl.lit("a day")),
        would_be=pl.lit(None, pl.String),
    )
    history.ledger.append({"drift": frame})
    history.publish()
    with duckdb.connect(str(history.audit), read_only=True) as connection:
        published = connection.sql("FROM drift").pl()
    assert_frame_equal(published, frame)
    history.ledger.append({"drift": frame.head(1)})
    history.publish()
    assert history.differences() == []


def test_whole_runs_leave_an_audit_as_one_made_anew(tmp_path):
    """Runs that send, that die before it, and that send what was left."""
    anew = tmp_path / "anew.duckdb"
    with brand(tmp_path) as shop:
        chosen = environment(shop.environ, env_file=None)
        for step in (
            lambda: issue(shop, awards(range(1, 41))),
            lambda: reserve_only(shop, awards(range(41, 44))),
            lambda: asyncio.run(resume_badges(Work(Job(), chosen, shop.home))),
            lambda: issue(shop, awards(range(44, 46))),
        ):
            step()
            ledger = open_ledger(shop.home.ledger, now=NOW)
            publish(ledger, anew, NOW, anew=True)
            ledger.close()
            assert differences(shop.home.audit, anew) == []


def test_a_reader_keeps_the_file_that_it_opened(history):
    """Adding to a copy leaves the file alone that somebody reads."""
    with duckdb.connect(str(history.audit), read_only=True) as reader:
        history.happen(1, "sent")
        history.publish()
        query = "SELECT count(*) FROM audit WHERE status = 'sent'"
        assert reader.execute(query).fetchall() == [(0,)]
    with duckdb.connect(str(history.audit), read_only=True) as reader:
        assert reader.execute(query).fetchall() == [(1,)]


def test_publishing_never_takes_more_than_its_share_of_a_run(history):
    """Each reading of this clock is half a minute later; the last time is counted."""
    readings = itertools.count(step=30.0)
    publisher = Publisher(history.ledger, history.audit, clock=lambda: next(readings))
    publisher.publish(NOW)  # as a run begins
    times = sum(publisher.publish_if_due(NOW) for _ in range(300))
    publisher.publish(NOW)  # as it ends
    assert times > 3
    assert publisher.spent <= PUBLISHING_SHARE * next(readings)
