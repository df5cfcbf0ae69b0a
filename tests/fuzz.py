"""Looks for inputs that break reading: a command, not a test that pytest collects.

    .venv/bin/python tests/fuzz.py [csv|json|mend|definition …] [--minutes 10]

Each target makes inputs up, good ones with bad things done to them, and holds what
comes of them against a slow and simple second opinion (`csv`, `json`, `Decimal`): the
same rows, or a refusal with a known code; never another exception, never a value that
was read as another, and never more than some seconds. It ends at the first finding,
made as small as it gets, with exit status 1.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from flows.files.accepted_activity import rejected_rows
from flows.files.activity_files import AcceptedFile, accept_file
from flows.files.finding import FoundFile, find_files
from flows.plans.mending import write_mends
from transforms.definition.definition import (
    CsvFormat,
    Definition,
    Source,
    parse_definition,
)
from transforms.errors import DefinitionRefused, Fault, FilesRefused

PROJECT = Path(__file__).resolve().parent.parent
ZONE = ZoneInfo("America/New_York")
# A definition of some pages must be judged in this time, on a busy machine.
SECONDS = 10.0
REFUSALS = {
    *("bad_header", "bad_quote", "column_doubled", "column_missing", "empty_file"),
    *("nul_byte", "wrong_encoding", "long_line"),
}
# What Unicode calls white space; Python would add four separators.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
CUSTOMERS = [
    *("1", "553162563", "007", " 8 ", "", "  ", "0", "-1", "+1", "1.0", "1e5", "x"),
    *(
        "9223372036854775807",
        "9223372036854775808",
        "\uff11",
        "=1+1",
        "NULL",
        "\u200b1",
    ),
]
TIMES = [
    *("2024-01-05", "2024-01-05 10:00:00", "2024-01-05T10:00", " 2024-01-05 "),
    *("2024-03-10 02:30:00", "2024-11-03 01:30:00", "2024-11-03 01:30:00-05:00"),
    *("2024-02-30", "1899-12-31", "2101-01-01", "2024-01-05 24:00:00", "05.01.2024"),
    *("2024-01-05T10:00:00.123456789Z", "2024-01-05T10:00:00,5+0530", "2024-1-5"),
    *("2024-01-05 10:00:60", "2024-01-05 10:00:00+24:00", "", "soon", "20240105"),
]
AMOUNTS = [
    *("1.50", "-5.00", "+5", "1.", ".5", "1.505", "1,50", "1e2", "", " 2 ", "NaN"),
    *("10000000000000.00", "10000000000000.01", "٣", "$1", "=1", "0.1", "-.07"),
]
WORDS = ["b1", "b2", " b1 ", "", "a|b", "=cmd", "it's", "é", "中", "x\x1c", "\u2028"]
PIECES = [
    *(b'"', b",", b";", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"'", b" "),
    *(b"\xef\xbb\xbf", b'""', b'","', b"\t", b"{", b"}", b"\\u0000", b"[1]", b"null"),
]


@dataclass(frozen=True)
class Row:
    """What a row holds, by a second opinion. None of `customer`: no such row counts."""

    customer: int
    activity: str
    instant: datetime
    amount: int | None
    word: str | None


# -- second opinions ------------------------------------------------------------


def whole(text: str) -> int | None:
    """Return a customer id, or None of what is none."""
    if not re.fullmatch("[0-9]+", text):
        return None
    return int(text) if 1 <= int(text) < 2**63 else None


def minor(text: str, sign: str) -> int | None:
    """Return an amount in hundredths, or None of what is none."""
    point = re.escape(sign)
    if not re.fullmatch(rf"[+-]?([0-9]+({point}[0-9]*)?|{point}[0-9]+)", text):
        return None
    number = Decimal(text.replace(sign, ".")) * 100
    return int(number) if number == int(number) and abs(number) <= 10**15 else None


def instant(text: str) -> datetime | None:
    """Return the instant of an ISO time, local to New York, or None."""
    found = re.fullmatch(
        r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
        r"(Z|z|[+-]\d\d(?::?\d\d)?)?)?",
        text,
        re.ASCII,
    )
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(n or 0) for n in found.groups()[:6])
    micros = int((found[7] or "").ljust(6, "0")[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001
    except ValueError:
        return None
    offset = found[8]
    at = _placed(local, is_day=found[4] is None) if offset is None else None
    if offset is not None:
        digits = offset.replace(":", "")
        hours, minutes = int(digits[1:3] or 0), int(digits[3:5] or 0)
        if hours > 23 or minutes > 59:
            return None
        ahead = timedelta(hours=hours, minutes=minutes)
        at = local.replace(tzinfo=UTC) - (-ahead if offset[0] == "-" else ahead)
    return at if at is not None and 1900 <= at.year <= 2100 else None


def _placed(local: datetime, *, is_day: bool) -> datetime | None:
    first = local.replace(tzinfo=ZONE).astimezone(UTC)
    second = local.replace(tzinfo=ZONE, fold=1).astimezone(UTC)
    if first.astimezone(ZONE).replace(tzinfo=None) != local:
        return None
    return first if first == second or is_day else None


def judged(values: Mapping[str, str], at: int, form: CsvFormat) -> Row | str:
    """Return what a row holds, or which side it falls on."""

    def text(name: str) -> str:
        found = values[name].strip(SPACES)
        return "" if found in form.nulls else found

    moment = instant(text("at"))
    amount = minor(text("sum"), form.decimal) if text("sum") else None
    if moment is None or (text("sum") and amount is None) or not text("bill"):
        return "rejected"
    if not text("who"):
        return "anonymous"
    who = whole(text("who"))
    if who is None:
        return "rejected"
    del at
    word = values["word"]
    return Row(who, text("bill"), moment, amount, None if word in form.nulls else word)


# -- the targets ----------------------------------------------------------------


def source_of(form: CsvFormat) -> Source:
    """Return the source that every made-up file belongs to."""
    names = {"customer_id": "who", "activity_id": "bill", "occurred_at": "at"}
    columns = {**names, "amount": "sum", "word": "word"}
    if not form.header:
        columns = dict(zip(columns, "12345", strict=True))
    return Source(files=("f.*",), columns=columns, format=form)


def read(
    found: FoundFile, definition: Definition, home: Path
) -> AcceptedFile | tuple[Fault, ...]:
    """Return what became of a file, or why it was refused."""
    try:
        return accept_file(found, definition, home)
    except FilesRefused as refused:
        return refused.faults


def accepted(
    content: bytes, ending: str, source: Source
) -> tuple[dict[int, Row], set[int], dict[str, int]] | None:
    """Return the accepted and the rejected rows and the counts, None of a refusal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"f{ending}")
        path.write_bytes(content)
        found = FoundFile(
            source=source.name, path=path.name, location=path, file_order=0
        )
        definition = Definition(
            name="n", timezone="America/New_York", sources=(source,), badges=()
        )
        file = read(found, definition, Path(folder, "home"))
        if not isinstance(file, AcceptedFile):
            assert {fault.code for fault in file} <= REFUSALS, file
            return None
        rows = pl.read_parquet(file.accepted_path, glob=False)
        bad = set(rejected_rows([file])["row_number"])
        kinds = (
            *("accepted", "anonymous", "unmapped", "excluded", "rejected"),
            "duplicate",
        )
        counts = {kind: getattr(file, f"rows_{kind}") for kind in kinds}
        assert file.rows_read == sum(counts.values()), counts
        assert rows.height == file.rows_accepted
        assert len(bad) == file.rows_rejected
    columns = ("row_number", "customer_id", "activity_id", "occurred_at", "amount")
    return (
        {at: Row(*rest) for at, *rest in rows.select(*columns, "word").iter_rows()},
        bad,
        counts,
    )


def compare(
    told: tuple[dict[int, Row], set[int], dict[str, int]],
    expected: Mapping[int, Row | str],
) -> None:
    """Hold what was accepted against the second opinion on every row."""
    rows, bad, counts = told
    first: dict[str, int] = {}
    for at, row in sorted(expected.items()):
        if isinstance(row, Row):
            first.setdefault(row.activity, at)
    wanted = {at: expected[at] for at in first.values()}
    sides = list(expected.values())
    assert rows == wanted, (rows, wanted)
    assert bad == {at for at, row in expected.items() if row == "rejected"}
    assert counts["anonymous"] == sides.count("anonymous")
    assert counts["duplicate"] == sum(isinstance(s, Row) for s in sides) - len(wanted)


def read_csv(lines: Iterable[str], form: CsvFormat) -> Iterator[list[str]]:
    """Return what Python's csv makes of lines; csv.Error when they are amiss."""
    return csv.reader(
        lines,
        delimiter=form.delimiter,
        quotechar=form.quote or None,
        quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
        strict=True,
    )


def read_line(line: str, form: CsvFormat) -> list[str]:
    """Return the fields of a line; one alone, which is too few, when it is amiss."""
    try:
        return next(read_csv([line], form), [])
    except csv.Error:
        return [line]


def csv_opinion(
    content: bytes, form: CsvFormat, *, is_by_line: bool = False
) -> dict[int, Row | str] | None:
    """Return what Python's csv reads; None of what it can't take apart.

    By line, what is amiss with a line rejects that line alone.
    """
    encoding = "utf-8" if content.startswith(b"\xef\xbb\xbf") else form.encoding
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
        lines = io.StringIO(text, newline="\n")
        records = (
            [read_line(line, form) for line in lines]
            if is_by_line
            else list(read_csv(lines, form))
        )
    except (UnicodeError, csv.Error):
        return None
    filled = [(at, record) for at, record in enumerate(records, start=1) if record]
    if "\0" in text or not filled:
        return None
    names = filled[0][1] if form.header else list("12345")
    theirs = ["who", "bill", "at", "sum", "word"] if form.header else list("12345")
    width = len(filled[0][1])
    if any(names.count(name) != 1 for name in theirs) or width < len(theirs):
        return None
    places = {o: names.index(t) for o, t in zip(OURS, theirs, strict=True)}
    found: dict[int, Row | str] = {}
    for at, record in filled[1:] if form.header else filled:
        is_short = len(record) < width
        if is_short and not form.delimiter.join(record).strip(SPACES):
            continue
        values = {o: record[n] for o, n in places.items() if n < len(record)}
        found[at] = judged(values, at, form) if len(record) == width else "rejected"
    return found


OURS = ("who", "bill", "at", "sum", "word")


def mutated(content: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """Return bytes with some of them replaced by others."""
    for place, length, piece in cuts:
        at = place % (len(content) + 1)
        content = content[:at] + piece + content[at + length :]
    return content


CUTS = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 3),
        st.sampled_from(PIECES) | st.binary(max_size=3),
    ),
    max_size=3,
)
GOOD = ("1", "b1", "2024-01-05", "1.50", "b1")
POOLS = (CUSTOMERS, WORDS, TIMES, AMOUNTS, WORDS)
# Rows that are good but for a field or two: what is all bad is soon set aside.
CHANGE = st.integers(0, 4).flatmap(
    lambda place: st.tuples(
        st.just(place), st.sampled_from(POOLS[place]) | st.text(max_size=3)
    )
)
RECORDS = st.lists(
    st.lists(CHANGE, max_size=2).map(
        lambda changes: tuple(dict(changes).get(n, one) for n, one in enumerate(GOOD))
    ),
    max_size=8,
)
FORMS = st.builds(
    CsvFormat,
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1252"]),
    decimal=st.sampled_from(".,"),
    quote=st.sampled_from(['"', '"', "'", ""]),
    header=st.booleans(),
    nulls=st.sampled_from([("",), (), ("NULL",), ("", "0", "x")]),
)


def fuzz_csv(
    records: list[tuple[str, ...]],
    form: CsvFormat,
    cuts: list[tuple[int, int, bytes]],
    end: str,
    is_all_quoted: bool,  # noqa: FBT001
) -> None:
    """Any bytes become the rows that Python's csv and Decimal see, or a refusal."""
    text = io.StringIO()
    if form.quote:
        style: Any = csv.QUOTE_ALL if is_all_quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(
            text,
            delimiter=form.delimiter,
            lineterminator=end,
            quotechar=form.quote,
            quoting=style,
        )
        writer.writerows([OURS, *records] if form.header else records)
    else:
        lines = [OURS, *records] if form.header else records
        text.write("".join(form.delimiter.join(line) + end for line in lines))
    content = text.getvalue().encode(form.encoding, errors="replace")
    content = mutated(content, cuts)
    told = accepted(content, ".csv", source_of(form))
    opinion = csv_opinion(content, form)
    if opinion is None and told is not None:
        # Lines that are amiss may be set aside; no other may come of them.
        by_line = csv_opinion(content, form, is_by_line=True) or {}
        assert all(row in by_line.values() for row in told[0].values()), told[0]
    elif opinion is None:
        assert told is None, "csv can't read it"
    elif told is not None:
        compare(told, opinion)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5) | st.integers(10**15, 10**21),
    st.integers(-300, 300).map(lambda n: n / 100),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
)
OBJECTS = st.tuples(
    RECORDS.filter(bool).map(lambda rows: dict(zip(OURS, rows[0], strict=True))),
    st.dictionaries(st.sampled_from([*OURS, "more"]), VALUES, max_size=2),
).map(lambda parts: parts[0] | parts[1])


def json_opinion(content: bytes) -> dict[int, Row | str] | None:
    """Return what Python's json and Decimal read; None of what is no such file."""
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    found: dict[int, Row | str] = {}
    seen: set[str] = set()
    for at, line in enumerate(text.split("\n"), start=1):
        if not line.encode().strip():
            continue
        found[at] = "rejected"
        try:
            parsed = json.loads(line, parse_float=_Exact, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            continue
        if not isinstance(parsed, dict):
            continue
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in repr_of(parsed)):
            continue
        seen |= set(parsed)
        values = {name: parsed.get(name) for name in OURS}
        if any(isinstance(value, list | dict) for value in values.values()):
            continue
        found[at] = judged(
            {name: json_text(value, name) for name, value in values.items()},
            at,
            CsvFormat(),
        )
    if found and not set(OURS) <= seen:
        return None
    return found


class _Exact(Decimal):
    """A number that was written with a point or an exponent."""


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def repr_of(value: Any) -> str:
    """Return all text of a JSON value in one."""
    if isinstance(value, dict):
        return "".join(map(repr_of, [*value, *value.values()]))
    if isinstance(value, list):
        return "".join(map(repr_of, value))
    return value if isinstance(value, str) else ""


def json_text(value: Any, name: str) -> str:
    """Return a JSON value as a CSV would have it, numbers exactly as they are."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, _Exact):
        return str(value)
    number = float(value)
    if name == "sum":
        near = round(number * 100)
        is_near = abs(number) < 1e15 and abs(number * 100 - near) <= 1e-6
        return f"{Decimal(near) / 100:.2f}" if is_near else repr(number)
    is_id = name in {"who", "bill", "at"}
    is_whole = number.is_integer() and abs(number) < 2.0**63
    return str(int(number)) if is_id and is_whole else repr(number)


def fuzz_json(
    objects: list[dict[str, Any]], cuts: list[tuple[int, int, bytes]]
) -> None:
    """Any bytes become the rows that Python's json and Decimal see, or a refusal."""
    whole_one = dict.fromkeys(OURS)
    lines = [json.dumps(one, ensure_ascii=False) for one in [whole_one, *objects]]
    content = "\n".join(lines).encode("utf-8", errors="replace")
    content = mutated(content, cuts)
    told = accepted(content, ".ndjson", source_of(CsvFormat()))
    opinion = json_opinion(content)
    if opinion is None:
        assert told is None, "json can't read it"
    elif told is not None:
        compare(told, opinion)


def fuzz_mend(
    records: list[tuple[str, ...]],
    form: CsvFormat,
    cuts: list[tuple[int, int, bytes]],
    is_named: bool,  # noqa: FBT001
) -> None:
    """Rows handed out to be mended read as what they were, and count for nothing."""
    lines = [OURS, *records] if form.header else records
    text = io.StringIO()
    style: Any = csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE
    csv.writer(
        text,
        delimiter=form.delimiter,
        quotechar=form.quote or None,
        quoting=style,
        escapechar=None if form.quote else "~",
    ).writerows(lines)
    content = mutated(text.getvalue().encode(form.encoding, errors="replace"), cuts)
    source = source_of(form)
    if not is_named:
        columns = {k: v for k, v in source.columns.items() if k != "activity_id"}
        source = source.model_copy(update={"columns": columns})
    with tempfile.TemporaryDirectory() as folder:
        home, path = Path(folder, "home"), Path(folder, "f.csv")
        path.write_bytes(content)
        definition = Definition(
            name="n",
            timezone="America/New_York",
            sources=(source.model_copy(update={"files": ("f.csv*",)}),),
            badges=(),
            path=str(Path(folder, "import.toml")),
        )
        (found,) = find_files(definition)
        file = read(found, definition, home)
        if not isinstance(file, AcceptedFile) or not file.rows_rejected:
            return
        (told,) = write_mends(definition, [file], Path(folder, "plan"))
        assert told.rows + sum(told.left_out.values()) == file.rows_rejected
        assert (told.file is None) == (told.rows == 0), told
        if told.file:
            handed_out = Path(folder, "plan", told.file).read_bytes()
            Path(folder, str(told.put_at)).write_bytes(handed_out)
            _, fed_back = (read(f, definition, home) for f in find_files(definition))
            assert isinstance(fed_back, AcceptedFile), fed_back
            assert fed_back.rows_read == told.rows
            assert fed_back.rows_accepted == 0


def seeds() -> list[str]:
    """Return the definitions that the project has: whole ones, and of its docs."""
    found = [p.read_text("utf-8") for p in (PROJECT / "data/imports").glob("*.toml")]
    page = (PROJECT / "docs/definition.md").read_text("utf-8")
    parts = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    head = 'name = "n"\ntimezone = "UTC"\n'
    return [*found, *parts, *(head + part for part in parts), head + "".join(parts)]


SEEDS = seeds()
WORDS_OF_TOML = sorted(set(re.findall(r"[\w.-]+|\S", "\n".join(SEEDS))))
BITS = st.one_of(
    st.sampled_from(WORDS_OF_TOML),
    st.sampled_from(
        [
            *("nan", "inf", "-1", "0", "1e999", "1e9999999999999999999", "0.5", '""'),
            *("true", "[]", "{}", "[[activity]]\n", "[badges.x]\n", "2024-02-30", "=9"),
            *("9" * 5000, "[" * 3000, "{a=" * 500, "(" * 2000, "NOT " * 900, "\ud7ff"),
            *("s3://x", "../" * 90, "*" * 60, "%" * 40, "\N{ZERO WIDTH SPACE}", "'"),
        ]
    ),
    st.text(max_size=4),
)


def parsed(text: str) -> Definition | tuple[Fault, ...]:
    """Return a definition, or why it was refused."""
    try:
        return parse_definition(text, path="import.toml")
    except DefinitionRefused as refused:
        return refused.faults


CHANGES = st.lists(
    st.tuples(st.integers(0, 20_000), st.integers(0, 12), BITS), max_size=5
)


def fuzz_definition(
    text: str,
    changes: list[tuple[int, int, str]],
    is_by_word: bool,  # noqa: FBT001
) -> None:
    """Any text is a definition, or is refused with all that is wrong; and soon."""
    parts = re.findall(r"[\w.-]+|\s+|.", text, re.DOTALL) if is_by_word else list(text)
    for place, length, bit in changes:
        at = place % (len(parts) + 1)
        parts[at : at + length % (2 if is_by_word else 13)] = [bit]
    changed = "".join(parts)
    started = time.monotonic()
    made = parsed(changed)
    if isinstance(made, Definition):
        assert made.text == changed
    else:
        assert made
        assert all(fault.code and fault.message and str(fault) for fault in made)
    took = time.monotonic() - started
    assert took < SECONDS, f"took {took:.1f} s"


def looked(
    fuzz: Callable[..., None], *made: st.SearchStrategy[Any]
) -> Callable[..., None]:
    """Return what runs a target once, with a seed and so many examples."""

    def look(seeded: Callable[..., Any], rounds: settings) -> None:
        def once(*values: Any) -> None:
            fuzz(*values)

        seeded(rounds(given(st.tuples(*made))(lambda values: once(*values))))()

    return look


TARGETS: dict[str, Callable[..., None]] = {
    "csv": looked(
        fuzz_csv, RECORDS, FORMS, CUTS, st.sampled_from(["\n", "\r\n"]), st.booleans()
    ),
    "json": looked(fuzz_json, st.lists(OBJECTS, max_size=6), CUTS),
    "mend": looked(fuzz_mend, RECORDS, FORMS, CUTS, st.booleans()),
    "definition": looked(
        fuzz_definition, st.sampled_from(SEEDS), CHANGES, st.booleans()
    ),
}


def main() -> int:
    """Run the targets in turns until the time is over, or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    ends_at = time.monotonic() + asked.minutes * 60
    rounds = settings(
        max_examples=500,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    turn = asked.seed
    while time.monotonic() < ends_at:
        for name in asked.targets or TARGETS:
            TARGETS[name](seed(turn), rounds)
        turn += 1
        sys.stdout.write(f"seed {turn - 1}: nothing found\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
