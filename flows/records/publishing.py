"""Publishes the audit: what people read, made of the ledger.

Belongs here: writing `audit.duckdb` as a new file over the old one, how much of it is
made anew, and how often. Does not belong here: reading it (`flows.records.audit`), and
what happened (`flows.records.ledger`).

A reader never blocks a run and a run never blocks a reader: a reader keeps the file
that it opened, whatever is published meanwhile.

Nearly all of the ledger only grows, and what changes does so along with an event of a
higher number. So the file that was published last is copied, and what happened since is
added to the copy. That is only done to a file that is surely as it was published, of
this ledger, and by statements that are still the same; and what comes of it is counted
against the ledger. Else everything is published anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from flows.home import open_private
from flows.records.ledger import VIEWS as STATES
from flows.records.ledger import Ledger, bounded, connect, sql
from transforms.platform.codes import CODES

log = logging.getLogger(__name__)

# In `flows/records/sql`: `publish_<name>.sql` is what a table holds, `view_<name>.sql`
# makes a view. These are few rows, or their rows change: they are always made anew.
_REPLACED = (
    "attempts",
    "runs",
    "run_badges",
    "source_files",
    "badges",
    "approvals",
    "verdicts",
    "error_codes",
    "ledger_state",
)
# What happened, by the number of the event.
_EVENTS = ("award_events", "request_events")
# Where something stands: the statements name what it is looked up in.
_STANDING = ("audit", "requests", "request_awards")
# Rows that nothing ever changes or takes away: those behind the ones published are new.
_APPENDED = ("rejected_rows", "drift", "reconciliations")
PUBLISHED = (*_STANDING, *_EVENTS, *_APPENDED, *_REPLACED)
VIEWS = ("open_awards", "latest_run")
_ANEW = ("anew_present_awards", "anew_present_requests", "anew_fresh_members")
_FURTHER = (
    "further_withdrawn",
    "further_drop_members",
    "further_drop_withdrawn",
    "further_present_requests",
    "further_fresh_members",
    "further_drop_requests",
    "further_changed_events",
)
# Publishing may take this share of a run's time.
PUBLISHING_SHARE = 0.05
# How much DuckDB keeps in memory meanwhile. What is new fits into little; where all
# awards stand is found by numbers of all of them, which wait on the disk beyond this.
_GOING_ON_MB = 2_000
_ANEW_MB = 8_000
# Where more happened since than this share of what happened before, all is made anew.
_NEWER_SHARE = 0.5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Publisher:
    """Publishes as often as a run's time allows; a failure never stops the sending."""

    def __init__(
        self,
        ledger: Ledger,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._path = path
        self._clock = clock
        self._begun = self._ended = clock()
        self._last = 0.0
        self.spent = 0.0  # seconds, of all of this run's publishing

    def publish_if_due(self, now: datetime) -> bool:
        """Publish if that, and once more at the end, stays within the run's share."""
        present = self._clock()
        allowed = PUBLISHING_SHARE * (present - self._begun)
        if self.spent + 2 * self._last > allowed or present - self._ended < 1.0:
            return False
        self.publish(now)
        return True

    def publish(self, now: datetime) -> None:
        """Publish the ledger's present state; raises OSError or duckdb.Error."""
        started = self._clock()
        publish(self._ledger, self._path, now)
        self._ended = self._clock()
        self._last = self._ended - started
        self.spent += self._last


def publish(ledger: Ledger, path: Path, now: datetime, *, anew: bool = False) -> None:
    """Write a new audit and rename it over the old one, mode 0400.

    It goes on from the old one where that is possible, unless it is wanted `anew`.
    """
    fresh = path.with_name(f"{path.name}.new")
    _remove(fresh)
    since = None if anew else _published_until(ledger, path)
    if since is None or not _went_on(ledger, path, fresh, now, since):
        _remove(fresh)
        _made_anew(ledger, fresh, now)
    fresh.chmod(0o400)
    os.utime(fresh, ns=(_nanoseconds(now), _nanoseconds(now)))
    # A reader that opened the file for writing and died leaves a log behind; it would
    # be replayed into the new file.
    _log_of(path).unlink(missing_ok=True)
    fresh.replace(path)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def _remove(path: Path) -> None:
    for leftover in (path, _log_of(path)):
        leftover.unlink(missing_ok=True)


def _made_anew(ledger: Ledger, fresh: Path, now: datetime) -> None:
    with _publishing(ledger, fresh, _ANEW_MB) as cursor:
        for name in _ANEW:
            cursor.execute(sql(name))
        for table in PUBLISHED:
            made = f"CREATE TABLE published.{table} AS {sql(f'publish_{table}')}"
            cursor.execute(made, _values(table, now, since=-1, from_row=0))
    with connect(fresh) as made_now:
        for view in VIEWS:
            made_now.execute(sql(f"view_{view}"))


@contextmanager
def _publishing(
    ledger: Ledger, fresh: Path, megabytes: int
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that fills a file in one transaction, seeing the ledger.

    The senders write to the same ledger meanwhile, within the same bound of memory.
    """
    with closing(ledger.cursor()) as cursor, bounded(cursor, megabytes):
        quoted = str(fresh).replace("'", "''")
        cursor.execute(f"ATTACH '{quoted}' AS published")
        try:
            cursor.register("error_codes", _error_codes())
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
            cursor.execute("CHECKPOINT published")
        finally:
            cursor.execute("DETACH published")


def _values(
    table: str, now: datetime, *, since: int, from_row: int
) -> dict[str, object] | None:
    """Return what the statement of a table asks for."""
    if table in _EVENTS:
        return {"since": since}
    if table in _APPENDED:
        return {"from_row": from_row}
    if table == "ledger_state":
        return {"published_at": now, "layout": layout()}
    return None


@cache
def layout() -> str:
    """Return a digest of all that decides what a published file looks like."""
    names = [*(f"publish_{table}" for table in PUBLISHED), *_ANEW, *_FURTHER]
    names += [*(f"view_{view}" for view in VIEWS), *(f"create_{one}" for one in STATES)]
    said = "\x1f".join([duckdb.__version__, *map(sql, names)])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _published_until(ledger: Ledger, path: Path) -> int | None:
    """Return the last event of an audit that can be gone on from; else None.

    A published file bears the time of its publishing: one that was written to since,
    or copied from elsewhere, has another.
    """
    if not path.exists() or _log_of(path).exists():
        return None
    try:
        with closing(connect(path, read_only=True)) as connection:
            (told,) = connection.execute(sql("published_state")).fetchall()
    except (duckdb.Error, ValueError):
        return None
    ledger_uuid, sequence, its_layout, published_at = told
    is_as_published = path.stat().st_mtime_ns == _nanoseconds(published_at)
    is_ours = (ledger_uuid, its_layout) == (ledger.identity[0], layout())
    newer = ledger.sequence() - sequence
    if is_as_published and is_ours and 0 <= newer <= sequence * _NEWER_SHARE:
        return int(sequence)
    return None


def _nanoseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def _went_on(
    ledger: Ledger, path: Path, fresh: Path, now: datetime, since: int
) -> bool:
    """Copy what was published and add what happened since; say if that was possible."""
    try:
        with open(fresh, "wb", opener=open_private):
            shutil.copyfile(path, fresh)
        with _publishing(ledger, fresh, _GOING_ON_MB) as cursor:
            _go_on(cursor, now, since)
            _refuse_unlike(cursor)
    except (OSError, duckdb.Error, _Unlike) as error:
        log.warning("the audit is published anew: %s", error)
        return False
    return True


class _Unlike(Exception):
    """What was published before does not go with the ledger."""


def _go_on(cursor: duckdb.DuckDBPyConnection, now: datetime, since: int) -> None:
    if len(cursor.execute(sql("published_last_event")).fetchall()) > 1:
        raise _Unlike("its last event is not the ledger's")
    for name in _FURTHER:
        text = sql(name)
        cursor.execute(text, {"since": since} if "$since" in text else None)
    # The ledger's own view, of the changed awards' events alone.
    states = sql("create_award_states").partition(" VIEW award_states AS")[2]
    states = states.replace("award_events", "changed_events")
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE present_awards AS {states}")
    cursor.execute(sql("further_drop_awards"))
    for table in PUBLISHED:
        select, from_row = sql(f"publish_{table}"), 0
        if table in _APPENDED:
            counted = f"SELECT count(*) FROM published.{table}"  # noqa: S608
            ((from_row,),) = cursor.execute(counted).fetchall()
        if table in _REPLACED:
            statement = f"CREATE OR REPLACE TABLE published.{table} AS {select}"
        else:
            statement = f"INSERT INTO published.{table} BY NAME {select}"
        cursor.execute(statement, _values(table, now, since=since, from_row=from_row))


def _refuse_unlike(cursor: duckdb.DuckDBPyConnection) -> None:
    """Raise _Unlike where a table was not published whole."""
    counted = cursor.execute(sql("published_counts")).fetchall()
    unlike = [
        f"{what}: {one} of {other}" for what, one, other in counted if one != other
    ]
    if unlike:
        raise _Unlike(", ".join(unlike))


def _error_codes() -> pl.DataFrame:
    rows = [(entry.code, entry.meaning, entry.what_to_do) for entry in CODES]
    return pl.DataFrame(
        rows,
        schema={"code": pl.Int32, "meaning": pl.String, "what_to_do": pl.String},
        orient="row",
    )
