"""The ledger: the only writer of `ledger.duckdb`, and the authority on every award.

Belongs here: opening and checking the file, one transaction per step, and reads named
by their question. Does not belong here: what is decided (`transforms`), what people
read (`flows.records.audit`), and grouping of concurrent writes
(`flows.sending.recorder`).

Awards, requests and attempts are immutable rows; what happens to them is appended as
events, and the present state is the last event. Nothing but DuckDB may touch the file:
a process that opens and closes it by other means silently loses DuckDB's lock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import duckdb
import polars as pl

from transforms.errors import HomeRefused, NotRecorded

SCHEMA_VERSION = 1
# In the order in which they are created; each is `create_<name>.sql`.
TABLES = (
    "meta",
    "runs",
    "awards",
    "award_events",
    "requests",
    "request_events",
    "request_awards",
    "attempts",
    "attempt_results",
    "source_files",
    "rejected_rows",
    "run_badges",
    "drift",
    "badges",
    "approvals",
    "verdicts",
)
VIEWS = ("award_states", "request_states")
# What came later, in order: statements that a ledger of any age takes, and again.
ADDITIONS = ("add_runs_requests_per_minute", "create_reconciliations")
# DuckDB keeps a table in groups of so many rows.
_ROWS_A_GROUP = 122_880
# So many rows at most are inserted as values, not by way of a frame.
_FEW = 64
# What is read piece by piece, and how much of the file stays in memory meanwhile.
_ROWS_A_PIECE = 2_000_000
_READING_MB = 1_000
_FEW_TEXTS = ("import_name", "rule_digest")
_SEQUENCED = ("award_events", "request_events")


def sql(name: str) -> str:
    """Return the one statement of `flows/records/sql/<name>.sql`."""
    return files("flows.records.sql").joinpath(f"{name}.sql").read_text("utf-8")


Block = tuple[int, Mapping[str, Any]]


@dataclass
class Entry:
    """Rows that belong together: they are written in one transaction or not at all.

    Each table has blocks of rows: how many there are, and by column a list with a value
    for each, or one value for all. `event_seq` is given by the ledger.
    """

    rows: dict[str, list[Block]] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> Self:
        """Add one row to a table."""
        self.rows.setdefault(table, []).append((1, row))
        return self

    def add_many(self, table: str, count: int, **columns: Any) -> Self:
        """Add rows to a table: a list is a column, anything else is in every row."""
        if count == 1:
            row = {n: v[0] if isinstance(v, list) else v for n, v in columns.items()}
            return self.add(table, **row)
        self.rows.setdefault(table, []).append((count, columns))
        return self


class Ledger:
    """An open ledger. Made by `open_ledger`; one thread uses a connection at a time."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection
        # A connection that is busy refuses a second thread instead of waiting.
        self._one_at_a_time = threading.RLock()
        self._schemas: dict[str, dict[str, pl.DataType]] = {}
        self._sequence = self.sequence()

    def close(self) -> None:
        """Write everything to the file and let it go."""
        with self._one_at_a_time:
            self._connection.close()

    @property
    def identity(self) -> tuple[str, str | None]:
        """Return the ledger's own id and the platform it belongs to, if any yet."""
        (row,) = self.read("ledger_identity").rows()
        return row[0], row[1]

    def bind(self, target: str) -> None:
        """Bind the ledger to a platform; refused if it belongs to another one."""
        bound = self.identity[1]
        if bound is not None:
            check_target(bound, target)
            return
        with self._transaction() as connection:
            connection.execute(sql("bind_target"), {"target": target})

    def sequence(self) -> int:
        """Return the number of the newest event."""
        return int(self.read("newest_event").item())

    def read(self, name: str, **values: Any) -> pl.DataFrame:
        """Return the answer of a query of `flows/sql`, named by its question."""
        cursor = self.cursor()
        try:
            answer: pl.DataFrame = cursor.sql(sql(name), params=values or None).pl()
            return answer
        finally:
            cursor.close()

    def read_with(self, name: str, wanted: pl.DataFrame, **values: Any) -> pl.DataFrame:
        """Return the answer of a query that asks about the rows of `wanted`."""
        cursor = self.cursor()
        try:
            cursor.register("wanted", wanted)
            answer: pl.DataFrame = cursor.sql(sql(name), params=values or None).pl()
            return answer
        finally:
            cursor.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of its own, for any thread of this process."""
        with self._one_at_a_time:
            return self._connection.cursor()

    def write(self, entries: Iterable[Entry]) -> None:
        """Write all rows of all entries in one transaction."""
        rows: dict[str, list[Block]] = {}
        for entry in entries:
            for table, added in entry.rows.items():
                rows.setdefault(table, []).extend(added)
        with self._transaction() as connection:
            for table, blocks in rows.items():
                if len(blocks) <= _FEW and all(count == 1 for count, _ in blocks):
                    self._insert_few(connection, table, [row for _, row in blocks])
                else:
                    self._insert(connection, table, self._frame(table, blocks))

    def write_rows(self, table: str, rows: list[Mapping[str, Any]]) -> None:
        """Write rows of one table in a transaction of their own."""
        blocks = [(1, row) for row in rows]
        self.append({table: self._frame(table, blocks)} if rows else {})

    def append(
        self,
        frames: Mapping[str, pl.DataFrame],
        *,
        statements: Iterable[str] = (),
        about: Mapping[str, pl.DataFrame] | None = None,
    ) -> None:
        """Append whole frames, by column name, in one transaction.

        `statements` name changes of `flows/sql` that belong to the same step; they may
        speak of the frames in `about`.
        """
        with self._transaction() as connection:
            for name, frame in (about or {}).items():
                connection.register(name, frame)
            for name in statements:
                connection.execute(sql(name))
            for table, frame in frames.items():
                self._insert(connection, table, frame)

    def update_run(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Set columns of one run's row."""
        columns = ", ".join(f"{name} = ${name}" for name in values)
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE runs SET {columns} WHERE run_id = $run_id",  # noqa: S608
                {**values, "run_id": run_id},
            )

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._connection
        with self._one_at_a_time:
            try:
                connection.execute("BEGIN TRANSACTION")
                yield connection
                connection.execute("COMMIT")
            except duckdb.Error as error:
                _roll_back(connection)
                raise NotRecorded.of(
                    "ledger_not_written",
                    f"the ledger could not be written ({_first_line(error)}): free "
                    "disk space or mend the permissions, then run again",
                    file=self.path.name,
                ) from error

    def _insert(
        self, connection: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame
    ) -> None:
        connection.register("incoming", _in_groups(self._numbered(table, frame)))
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT * FROM incoming"  # noqa: S608
        )
        connection.unregister("incoming")

    def _insert_few(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        rows: list[Mapping[str, Any]],
    ) -> None:
        """Insert rows as values: of a few, a frame costs more than its rows."""
        names = [name for name in self._schema(table) if _has(rows, name)]
        values = [[row.get(name) for name in names] for row in rows]
        if table in _SEQUENCED:
            names.append("event_seq")
            for number, row in enumerate(values, self._sequence + 1):
                row.append(number)
            self._sequence += len(values)
        columns = ", ".join(f'"{name}"' for name in names)
        marks = f"({', '.join('?' * len(names))})"
        connection.execute(
            f"INSERT INTO {table} ({columns}) "  # noqa: S608
            f"VALUES {', '.join([marks] * len(values))}",
            [value for row in values for value in row],
        )

    def _numbered(self, table: str, frame: pl.DataFrame) -> pl.DataFrame:
        if table not in _SEQUENCED:
            return frame
        first = self._sequence + 1
        self._sequence += frame.height
        numbers = pl.int_range(first, first + pl.len(), dtype=pl.Int64)
        return frame.with_columns(numbers.alias("event_seq"))

    def _frame(self, table: str, blocks: list[Block]) -> pl.DataFrame:
        """Return blocks as a frame of the columns that any of them has."""
        rows = [columns for _, columns in blocks]
        counts = [count for count, _ in blocks]
        block_of = [n for n, count in enumerate(counts) for _ in range(count)]
        frame = {}
        for name, kind in self._schema(table).items():
            if not _has(rows, name):
                continue
            values = [row.get(name) for row in rows]
            if any(type(value) is list for value in values):
                frame[name] = pl.Series(_in_every_row(values, counts), dtype=kind)
            else:
                frame[name] = pl.Series(values, dtype=kind).gather(block_of)
        return pl.DataFrame(frame)

    def _schema(self, table: str) -> dict[str, pl.DataType]:
        if table not in self._schemas:
            query = f"SELECT * FROM {table} LIMIT 0"  # noqa: S608
            cursor = self.cursor()
            try:
                self._schemas[table] = dict(cursor.sql(query).pl().schema)
            finally:
                cursor.close()
        return self._schemas[table]


def _has(rows: Iterable[Mapping[str, Any]], name: str) -> bool:
    """Tell whether any of these rows or blocks says something in a column."""
    return any(row.get(name) is not None for row in rows)


def _in_every_row(values: list[Any], counts: list[int]) -> list[Any]:
    """Return one column: lists one after the other, what is no list in every row."""
    column: list[Any] = []
    for value, count in zip(values, counts, strict=True):
        column += value if type(value) is list else [value] * count
    return column


def open_ledger(path: Path, *, now: datetime) -> Ledger:
    """Open the ledger, making it if there is none.

    Raises `HomeRefused` for a file of another schema, or one that is not a ledger.
    """
    try:
        if not path.exists():
            _make(path, now)
        connection = connect(path)
    except duckdb.Error as error:
        raise HomeRefused.of(
            "ledger_unreadable",
            f"the ledger can't be opened ({_first_line(error)}): if it is damaged, "
            "bring a backup back with `retrobadge restore`",
            file=str(path),
        ) from error
    _check_schema(connection, path)
    for addition in ADDITIONS:
        connection.execute(sql(addition))
    for view in VIEWS:
        connection.execute(sql(f"create_{view}"))
    return Ledger(path, connection)


def connect(path: Path | str, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Connect to a DuckDB file of ours: UTC, and nothing fetched from anywhere."""
    connection = duckdb.connect(
        str(path),
        read_only=read_only,
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for every cursor too
    return connection


def in_pieces(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any]
) -> Iterator[pl.DataFrame]:
    """Yield the answer of a query of `flows/sql` piece by piece, as it is read.

    Texts of which there are few, `_FEW_TEXTS`, come as categories.
    """
    # Nothing is read twice.
    with bounded(connection, _READING_MB):
        answer = connection.sql(sql(name), params=dict(values))
        few = [one for one in _FEW_TEXTS if one in answer.columns]
        for batch in answer.to_arrow_reader(_ROWS_A_PIECE):
            piece = pl.DataFrame(batch)
            yield piece.with_columns(pl.col(few).cast(pl.Categorical))


@contextmanager
def bounded(connection: duckdb.DuckDBPyConnection, megabytes: int) -> Iterator[None]:
    """Bound meanwhile what DuckDB keeps in memory, for all that use the same file.

    Unbounded it keeps whatever it read, up to most of the machine; what it works with
    beyond the bound it writes to a folder beside the file. A machine that gives it less
    is left at that.
    """
    asked = "SELECT parse_formatted_bytes(current_setting('memory_limit'))"
    ((allowed,),) = connection.execute(asked).fetchall()
    if allowed > megabytes * 10**6:
        with suppress(duckdb.Error):  # more is in use just now, and will not grow
            connection.execute(f"SET memory_limit = '{megabytes} MB'")
    try:
        yield
    finally:
        connection.execute("RESET memory_limit")


def check_target(bound: str, target: str) -> None:
    """Refuse a home that belongs to another platform, naming both."""
    if bound != target:
        raise HomeRefused.of(
            "other_target",
            f"this home belongs to {bound}, the settings name {target}: use another "
            "home (RETROBADGE_HOME or --home) for another platform",
        )


def _make(path: Path, now: datetime) -> None:
    """Make a ledger and only then give it its name: a death leaves no half of one."""
    fresh = path.with_name(f"{path.name}.new")
    for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        leftover.unlink(missing_ok=True)
    with connect(fresh) as connection:
        fresh.chmod(0o600)
        _create(connection, now)
        # Closing would write the file too, but tell nobody if it could not.
        connection.execute("CHECKPOINT")
    fresh.replace(path)


def _create(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    connection.execute("BEGIN TRANSACTION")
    for table in TABLES:
        connection.execute(sql(f"create_{table}"))
    connection.execute(
        "INSERT INTO meta VALUES ($version, $uuid, NULL, $now)",
        {"version": SCHEMA_VERSION, "uuid": uuid.uuid4().hex, "now": now},
    )
    connection.execute("COMMIT")


def _check_schema(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        found = connection.execute("SELECT schema_version FROM meta").fetchall()
    except duckdb.Error:
        found = []
    if found != [(SCHEMA_VERSION,)]:
        told = f"version {found[0][0]}" if found else "no ledger"
        raise HomeRefused.of(
            "ledger_schema",
            f"the file is {told}, this program writes version {SCHEMA_VERSION}: use "
            "the version of the program that made it, or another home",
            file=str(path),
        )


def _in_groups(frame: pl.DataFrame) -> Any:
    """Hand a frame over where DuckDB's groups of rows end, one after the other.

    It writes whole groups at once to where they stay; rows in other pieces are written
    a second time, at the checkpoint.
    """
    if frame.height <= _ROWS_A_GROUP:
        return frame
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  heavy

    as_it_is = pl.CompatLevel.newest()  # texts are not copied

    def batches() -> Iterator[Any]:
        for group in frame.iter_slices(_ROWS_A_GROUP):
            yield from group.rechunk().to_arrow(compat_level=as_it_is).to_batches()

    schema = frame.clear().to_arrow(compat_level=as_it_is).schema
    return pa.RecordBatchReader.from_batches(schema, batches())


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.execute("ROLLBACK")
    except duckdb.Error:  # the transaction is already gone
        return


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
