"""Activity files in object storage: found, fetched, and read as those on a disk are."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import traceback
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from factories_definition import badge_text, definition, definition_text
from factories_imports import DEFINITION as VISITS
from factories_imports import brand, visits
from factories_storage import (
    KEY_ID,
    PAGE,
    SECRET_KEY,
    Odd,
    aws_environment,
    closed_port,
    environment,
    odd_storage,
    storage,
)

from flows.files.accepted_activity import load_activity, rejected_rows
from flows.files.activity_files import accept_file, accept_files
from flows.files.finding import EarlierFile, find_files
from flows.files.held_earns import held_earns
from flows.files.object_storage import StoredObject, fetched
from transforms.errors import DefinitionRefused, FilesRefused

COUNT = badge_text('{ kind = "activity_count", at_least = 1 }')
COLUMNS = (
    'customer_id = "customer", activity_id = "bill", occurred_at = "time", '
    'amount = "sum"'
)
TEXT = (
    "customer,bill,time,sum\n"
    "1,b1,2024-01-05 10:00:00,1.50\n"
    "2,b2,2024-01-06 11:00:00,2.00\n"
    "2,b2,2024-01-06 11:00:00,2.00\n"
    ",b3,2024-01-07 11:00:00,2.00\n"
)
OTHER = "customer,bill,time,sum\n3,b9,2024-02-01 10:00:00,3.00\n"
BAD = "customer,bill,time,sum\n3,b9,2024-02-01 10:00:00,three\n"


@pytest.fixture(scope="module")
def server():
    """Run one S3 server for the tests of this file."""
    with storage() as made:
        yield made


@pytest.fixture
def lake(server):
    """Return the server with an empty bucket."""
    server.clear()
    return server


def defined(folder, *files, rest="", policy="refuse"):
    """Return a definition over these files."""
    more = f'missing_files = "{policy}"'
    return definition(
        head='name = "n"\ntimezone = "UTC"\n',
        activity=f"[activity]\nfiles = {json.dumps(files)}\n"
        f"columns = {{{COLUMNS}}}\n{more}\n",
        badges=COUNT,
        rest=rest,
        path=str(folder / "import.toml"),
    )


def refusal(folder, *files):
    """Return the fault of files that are refused."""
    with pytest.raises(FilesRefused) as caught:
        accept_files(defined(folder, *files), folder / "accepted")
    (fault,) = caught.value.faults
    return fault


def zstd(text):
    """Return a text compressed."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(text.encode())
    return sink.getvalue().to_pybytes()


def parquet(text):
    """Return a CSV text as a Parquet file."""
    buffer = io.BytesIO()
    pl.read_csv(text.encode(), infer_schema=False).write_parquet(buffer)
    return buffer.getvalue()


def ndjson(text):
    """Return a CSV text as JSON lines."""
    return pl.read_csv(text.encode(), infer_schema=False).write_ndjson()


# -- finding --------------------------------------------------------------------


def test_objects_are_found_as_files_are(tmp_path, lake):
    """Patterns mean the same as on a disk, and the order is the same."""
    for key in (
        *("day/f10.csv", "day/f2.csv", "day/f1.csv.gz", "day/deep/f3.csv"),
        *("day/", "other/f4.csv", "f5.csv", "day/a b#%41+.csv", "days/f6.csv"),
    ):
        lake.put(key, TEXT)

    def found(*patterns):
        files = find_files(defined(tmp_path, *patterns))
        return [one.path.removeprefix("s3://lake/") for one in files]

    assert found("s3://lake/day/f*.csv") == ["day/f2.csv", "day/f10.csv"]
    assert found("s3://lake/day/f2.csv") == ["day/f2.csv"]
    assert found("s3://lake/day/f?.csv*") == ["day/f1.csv.gz", "day/f2.csv"]
    assert found("s3://lake/day/**/f3.csv", "s3://lake/*.csv") == [
        *("day/deep/f3.csv", "f5.csv")
    ]
    assert found("s3://lake/d*/f[26].csv") == ["day/f2.csv", "days/f6.csv"]
    assert found("s3://lake/day/a*") == ["day/a b#%41+.csv"]
    assert len(found("s3://lake/**", "s3://lake/day/*.csv")) == 8


def test_a_listing_of_many_pages_is_read_whole(tmp_path, lake):
    """More objects than one answer lists are all found."""
    for number in range(PAGE + 5):
        lake.put(f"many/{number}.csv", "")
    found = find_files(defined(tmp_path, "s3://lake/many/*.csv"))
    assert [one.path for one in found] == [
        f"s3://lake/many/{number}.csv" for number in range(PAGE + 5)
    ]


def test_objects_and_files_on_a_disk_go_together(tmp_path, lake):
    """A source may have both; the order is that of the patterns."""
    (tmp_path / "a.csv").write_text(OTHER)
    lake.put("b.csv", TEXT)
    parsed = defined(tmp_path, "s3://lake/*.csv", "*.csv")
    files = accept_files(parsed, tmp_path / "accepted")
    assert [(one.path, one.rows_accepted) for one in files] == [
        ("s3://lake/b.csv", 2),
        ("a.csv", 1),
    ]
    assert load_activity(files, parsed).collect().height == 3


@pytest.mark.parametrize("pattern", ["s3://lake/none*.csv", "s3://lake/day/none.csv"])
def test_a_pattern_that_finds_nothing_is_refused(tmp_path, lake, pattern):
    """A pattern without an object is named."""
    lake.put("day/a.csv", TEXT)
    fault = refusal(tmp_path, pattern)
    assert fault.code == "no_files"
    assert f"'{pattern}' matches no file" in fault.message


def test_an_object_that_is_gone_is_missed(tmp_path, lake):
    """One that an earlier run stood on is refused, forgotten, or goes on counting."""
    place = ("s3://lake/a*.csv",)
    lake.put("a1.csv", TEXT)
    lake.put("a2.csv", OTHER)
    first = accept_files(defined(tmp_path, *place), tmp_path / "accepted")
    earlier = [
        EarlierFile(source=one.source, path=one.path, fingerprint=one.fingerprint)
        for one in first
    ]
    lake.remove("a1.csv")

    with pytest.raises(FilesRefused) as caught:
        find_files(defined(tmp_path, *place), earlier)
    assert [(f.code, f.file) for f in caught.value.faults] == [
        ("file_gone", "s3://lake/a1.csv")
    ]
    forgotten = find_files(defined(tmp_path, *place, policy="forget"), earlier)
    assert [one.path for one in forgotten] == ["s3://lake/a2.csv"]
    keeping = defined(tmp_path, *place, policy="keep")
    kept = [
        accept_file(one, keeping, tmp_path / "accepted")
        for one in find_files(keeping, earlier)
    ]
    assert [(one.path, one.rows_accepted) for one in kept] == [
        ("s3://lake/a1.csv", 2),
        ("s3://lake/a2.csv", 1),
    ]


# -- reading --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", TEXT.encode()),
        ("a.csv.gz", gzip.compress(TEXT.encode())),
        ("a.csv.zst", zstd(TEXT)),
        ("a.ndjson", ndjson(TEXT).encode()),
        ("a.jsonl.gz", gzip.compress(ndjson(TEXT).encode())),
        ("a.parquet", parquet(TEXT)),
    ],
    ids=("csv", "gz", "zst", "ndjson", "jsonl.gz", "parquet"),
)
def test_every_format_is_read_as_on_a_disk(tmp_path, lake, name, content):
    """Rows, counts and fingerprint are those of the same file on a disk."""
    (tmp_path / name).write_bytes(content)
    url = lake.put(f"x/{name}", content)
    here, there = defined(tmp_path, name), defined(tmp_path, url)
    (on_disk,) = accept_files(here, tmp_path / "one")
    (stored,) = accept_files(there, tmp_path / "other")

    assert stored.fingerprint == on_disk.fingerprint
    assert (stored.rows_read, stored.rows_accepted) == (4, 2)
    assert (stored.rows_duplicate, stored.rows_anonymous) == (1, 1)
    expected = load_activity([on_disk], here).collect()
    assert load_activity([stored], there).collect().equals(expected)


def test_an_empty_object_is_refused_as_an_empty_file(tmp_path, lake):
    """An object without a byte is named by its URL."""
    fault = refusal(tmp_path, lake.put("empty.csv", b""))
    assert (fault.code, fault.file) == ("empty_file", "s3://lake/empty.csv")


def test_bad_rows_are_set_aside_with_the_url(tmp_path, lake):
    """A rejected row names its object; a broken one is refused by URL and line."""
    url = lake.put("bad.csv", BAD)
    files = accept_files(defined(tmp_path, url), tmp_path / "accepted")
    assert rejected_rows(files).select("path", "row_number", "value").rows() == [
        ("s3://lake/bad.csv", 2, "three")
    ]
    cut = gzip.compress(TEXT.encode())[:-9]
    fault = refusal(tmp_path, lake.put("cut.csv.gz", cut))
    assert (fault.code, fault.file) == ("broken_compression", "s3://lake/cut.csv.gz")


def test_an_object_is_fetched_once(tmp_path, lake):
    """An object that was read is known by its ETag: it is not fetched again."""
    parsed = defined(tmp_path, lake.put("a.csv", TEXT))
    accept_files(parsed, tmp_path / "accepted")
    (found,) = find_files(parsed)
    lake.remove("a.csv")
    again = accept_file(found, parsed, tmp_path / "accepted")
    assert (again.rows_accepted, again.is_read_now) == (2, False)


def test_the_same_content_put_again_is_not_read_again(tmp_path, lake):
    """What counts is the content, wherever and whenever it was put."""
    accept_files(defined(tmp_path, lake.put("a.csv", TEXT)), tmp_path / "accepted")
    (moved,) = accept_files(
        defined(tmp_path, lake.put("b/a.csv", TEXT)), tmp_path / "accepted"
    )
    assert moved.is_read_now is False


def test_an_object_whose_digest_is_taken_beside_its_rows_is_accepted(tmp_path, lake):
    """It is known by its content and its ETag as any other, and none is kept twice."""
    kept = []
    for name, key, beside_from in (
        ("before", "a.csv", 1 << 60),
        ("beside", "a.csv", 0),
        ("beside", "b/a.csv", 0),
    ):
        parsed, home = defined(tmp_path, lake.put(key, TEXT)), tmp_path / name
        (found,) = find_files(parsed)
        file = accept_file(found, parsed, home, beside_from=beside_from)
        assert file.content == hashlib.sha256(TEXT.encode()).hexdigest()
        assert file.is_read_now == (key == "a.csv")
        kept.append({path.name for path in home.iterdir()})
        lake.remove(key)
        again = accept_file(found, parsed, home, beside_from=beside_from)
        assert again == replace(file, is_read_now=False)

    assert kept[0] == kept[1]
    assert len(kept[2] - kept[1]) == 1  # what its ETag stands for


def test_an_object_that_is_refused_beside_its_digest_leaves_no_rows(tmp_path, lake):
    """Neither its copy nor a draft stays."""
    parsed = defined(tmp_path, lake.put("a.csv", TEXT.replace("bill", "till")))
    (found,) = find_files(parsed)
    with pytest.raises(FilesRefused, match="no such column"):
        accept_file(found, parsed, tmp_path / "accepted", beside_from=0)
    left = [path.name for path in (tmp_path / "accepted").iterdir()]
    assert [name for name in left if not name.endswith(".object.json")] == []


def test_only_whole_files_stay_in_the_home(tmp_path, lake):
    """No copy of an object is left, and what is kept is for its owner alone."""
    urls = [lake.put("a.csv", TEXT), lake.put("b.csv", OTHER)]
    accept_files(defined(tmp_path, *urls), tmp_path / "accepted")
    refusal(tmp_path, lake.put("broken.csv.gz", b"no gzip"))
    kept = list((tmp_path / "accepted").iterdir())
    assert {path.suffix for path in kept} == {".parquet", ".json"}
    assert not [path.name for path in kept if path.name.startswith(".")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


@pytest.mark.parametrize("is_removed", [False, True])
def test_an_object_that_changes_is_noticed(tmp_path, lake, is_removed):
    """One replaced or removed after it was listed is refused, naming the URL."""
    parsed = defined(tmp_path, lake.put("a.csv", TEXT))
    (found,) = find_files(parsed)
    if is_removed:
        lake.remove("a.csv")
    else:
        lake.put("a.csv", OTHER)
    with pytest.raises(FilesRefused) as caught:
        accept_file(found, parsed, tmp_path / "accepted")
    (fault,) = caught.value.faults
    assert (fault.code, fault.file) == ("file_changed", "s3://lake/a.csv")
    assert "run again" in fault.message


def test_a_list_of_held_earns_may_be_stored(tmp_path, lake):
    """`[held]` reads its files from object storage too."""
    earns = "badge,who,at,id\n653de334b3cda7078c7c68eb,7,2024-01-01T00:00:00Z,e1\n"
    lake.put("earns/1.csv", earns)
    rest = (
        '[held]\nfiles = ["s3://lake/earns/*.csv"]\ncolumns = { badge_meta_id = '
        '"badge", customer_id = "who", earn_event_date = "at", earned_badge_id = "id" }'
    )
    held = held_earns(defined(tmp_path, "a.csv", rest=rest))
    assert held["customer_id"].to_list() == [7]
    none = rest.replace("earns/*", "none/*")
    with pytest.raises(FilesRefused, match=r"lake/none/.* matches no file"):
        held_earns(defined(tmp_path, "a.csv", rest=none))


def test_a_customer_is_explained_from_stored_rows(tmp_path, lake):
    """What was set aside of an object is found again, by its URL."""
    lake.put("v/1.csv", visits([1, 2]) + "2,b2-9,2017-05-09T12:00:00,much\n")
    quality = "\n[quality]\nmax_rejected_share = 0.5\n"
    with brand(tmp_path) as shop:
        shop.define(VISITS.replace("*.csv", "s3://lake/v/*.csv") + quality)
        asked = ("explain", str(shop.definition), "--badge", "regular")
        done = shop.command(*asked, "--customer", "2", "--json")
        left = list(shop.home.accepted.glob(".*"))
    assert done.returncode == 0, done.stderr
    assert "s3://lake/v/1.csv" in done.stdout
    assert "much" in done.stdout
    assert left == []


# -- what goes wrong ------------------------------------------------------------


def xml(code):
    """Return an error as S3 writes it, with all that it may quote."""
    return (
        f"<Error><Code>{code}</Code><Message>about {KEY_ID}</Message>"
        f"<AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId>"
        f"<StringToSign>{SECRET_KEY}</StringToSign></Error>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", "s3:GetObject"),
        (403, "InvalidAccessKeyId", "refuses the login (InvalidAccessKeyId): renew"),
        (403, "SignatureDoesNotMatch", "refuses the login"),
        (400, "ExpiredToken", "refuses the login (ExpiredToken)"),
        (404, "NoSuchBucket", "there is no bucket 'lake'"),
        (403, "InvalidObjectState", "restore it"),
        (503, "SlowDown", "the storage refuses (SlowDown)"),
    ],
)
def test_a_refusal_says_what_to_do_and_shows_no_login(tmp_path, status, code, told):
    """Each refusal is named with URL and remedy; nothing of the login is quoted."""
    with (
        odd_storage(Odd(status, xml(code))) as (address, _),
        environment(aws_environment(address)),
        pytest.raises(FilesRefused) as got,
    ):
        find_files(defined(tmp_path, "s3://lake/day/*.csv"))
    (fault,) = got.value.faults
    assert fault.file == "s3://lake/day/*.csv"
    assert told in fault.message
    shown = "".join(traceback.format_exception(got.value))
    assert KEY_ID not in shown
    assert SECRET_KEY not in shown


def test_a_storage_that_is_not_there_is_named(tmp_path):
    """Without an answer the URL is named, and what may be wrong."""
    address = f"http://127.0.0.1:{closed_port()}"
    with environment(aws_environment(address)):
        fault = refusal(tmp_path, "s3://lake/*.csv")
    assert (fault.code, fault.file) == ("storage_unreachable", "s3://lake/*.csv")
    assert "AWS_ENDPOINT_URL" in fault.message
    with environment(aws_environment("no address")):
        assert refusal(tmp_path, "s3://lake/*.csv").code == "storage_unreachable"


def test_without_a_login_it_says_where_one_is_looked_for(tmp_path):
    """No credentials, and a profile that isn't there, are no defects."""
    bare = aws_environment("http://127.0.0.1:9")
    del bare["AWS_ACCESS_KEY_ID"], bare["AWS_SECRET_ACCESS_KEY"]
    for given in (bare, {**bare, "AWS_PROFILE": "nobody"}):
        with environment(given):
            fault = refusal(tmp_path, "s3://lake/*.csv")
        assert fault.code == "storage_login"
        assert "AWS_PROFILE" in fault.message


def test_a_transfer_that_breaks_is_gone_on_with(tmp_path):
    """What was received is kept, and the rest is asked for by its range."""
    content = bytes(range(256)) * 8192
    half = len(content) // 2
    broken = Odd(200, content, cut=half)
    rest = Odd(206, content[half:])
    with odd_storage(broken, rest) as (address, ranges):
        stored = StoredObject(url="s3://lake/a.csv", etag='"e"')
        with environment(aws_environment(address)), fetched(stored, tmp_path) as copy:
            assert copy.read_bytes() == content
    assert ranges == ["", f"bytes={half}-"]


def test_a_transfer_that_always_breaks_is_given_up(tmp_path):
    """After some tries the object is refused, and nothing is left of it."""
    stored = StoredObject(url="s3://lake/a.csv", etag='"e"')
    with (
        odd_storage(Odd(200, b"x" * 100, cut=0)) as (address, ranges),
        environment(aws_environment(address)),
        pytest.raises(FilesRefused) as got,
        fetched(stored, tmp_path),
    ):
        pass
    assert got.value.faults[0].code == "storage_unreachable"
    assert len(ranges) == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "pattern",
    [
        "s3://lake",
        "s3://lake/",
        "s3:///a.csv",
        "s3://la*/a.csv",
        f"s3://{KEY_ID}:{SECRET_KEY}@lake/a.csv",
    ],
)
def test_a_pattern_names_its_bucket_and_no_login(pattern):
    """What names no bucket, or holds a login, is refused and not shown."""
    text = definition_text(
        activity=f'[activity]\nfiles = ["{pattern}"]\ncolumns = {{{COLUMNS}}}\n',
        badges=COUNT,
    )
    with pytest.raises(DefinitionRefused) as caught:
        definition(
            activity=f'[activity]\nfiles = ["{pattern}"]\ncolumns = {{{COLUMNS}}}\n',
            badges=COUNT,
        )
    assert pattern in text
    (fault,) = caught.value.faults
    assert (fault.code, fault.column) == ("wrong_value", "activity.files")
    assert "never belongs here" in fault.message
    assert SECRET_KEY not in str(fault)


def test_nothing_is_loaded_where_no_object_is_named(tmp_path):
    """The library for object storage, and Dask, cost a plain import nothing."""
    (tmp_path / "a.csv").write_text(TEXT)
    code = (
        "import sys\n"
        "import flows.pipeline, flows.commands.checking, flows.commands.explaining\n"
        "from pathlib import Path\n"
        "from flows.files.activity_files import accept_files\n"
        "from flows.files.finding import read_definition\n"
        f"accept_files(read_definition(Path({str(tmp_path / 'import.toml')!r})), "
        f"Path({str(tmp_path / 'accepted')!r}))\n"
        "print(sorted({'boto3', 'botocore', 'distributed', 'dask', 'prefect'} "
        "& set(sys.modules)))\n"
    )
    text = definition_text(
        head='name = "n"\ntimezone = "UTC"\n',
        activity=f'[activity]\nfiles = ["*.csv"]\ncolumns = {{{COLUMNS}}}\n',
        badges=COUNT,
    )
    (tmp_path / "import.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
