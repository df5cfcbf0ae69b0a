"""What is left behind: no secret anywhere, customers only where they belong.

One brand does everything once, with values that tell where they got to; then every
byte that is left is looked at: files of the home, Parquet and databases taken apart,
and all that the commands printed.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import html
import io
import json
import re
import shutil
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import polars as pl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from factories_imports import BADGE, DEFINITION, Brand, brand

from flows.files.finding import find_files, read_definition
from flows.pipeline import plan_badges
from flows.platform.capillary import Platform
from flows.platform.pacing import Pace
from flows.settings import settings
from transforms.errors import DefinitionRefused
from transforms.platform.outcomes import Failure

WRONG = "tell-tale-WRONG-password-5f0c"
# Customers and cells that are found again wherever they get to.
CUSTOMERS = range(7_531_902_460, 7_531_902_466)
STREET = "Tell-Tale Street 17"
HOSTILE = {
    "formula": '=HYPERLINK("http://x.example","tell-tale")',
    "markup": "<script>alert('tell-tale')</script>",
    "escape": "\x1b]0;tell-tale\x07\x1b[31mred",
    "bidi": "\u202etell-tale\u2066",
    "bell": "tell-tale\x07\x9b2J",
}
# Where customers belong: the audit, the ledger and its backups, accepted and rejected
# rows, plans and pages.
PLACES = re.compile(
    r"(audit\.duckdb|ledger\.duckdb|backups/.+|accepted/.+\.parquet|"
    r"plans/[^/]+/(awards\.(csv|parquet)|rejected_rows\.csv|plan\.(html|json)|mend/.+)|"
    r"reports/.+\.html)"
)


@dataclass
class Left:
    """All that one brand left behind."""

    shop: Brand
    other: Brand  # which logs in with OAuth
    secrets: dict[str, str]
    printed: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def say(self, name: str, *arguments: str) -> int:
        """Run a command and remember what it printed."""
        self.printed[name] = self.shop.command(*arguments)
        return self.printed[name].returncode

    @property
    def files(self) -> dict[str, Path]:
        """Return every file of the home, by its name there."""
        roots = {"": self.shop.home.root, "oauth/": self.other.home.root}
        return {
            f"{prefix}{path.relative_to(root).as_posix()}": path
            for prefix, root in roots.items()
            for path in root.rglob("*")
            if path.is_file()
        }

    def texts(self) -> Iterator[tuple[str, str]]:
        """Give all that is left as text, what is packed also unpacked."""
        for name, path in self.files.items():
            yield name, path.read_bytes().decode("utf-8", "replace")
            if path.suffix == ".parquet":
                yield name, str(pl.read_parquet(path).rows())
            if path.suffix == ".duckdb":
                yield name, unpacked(path)
        for name, done in self.printed.items():
            yield f"stdout of {name}", done.stdout
            yield f"stderr of {name}", done.stderr


def unpacked(path: Path) -> str:
    """Return every row of every table of a database."""
    with duckdb.connect(str(path), read_only=True) as base:
        names = base.execute(
            "SELECT table_name FROM duckdb_tables() UNION ALL "
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
        rows = [base.sql(f'FROM "{name}"').pl().rows() for (name,) in names]
    return str(rows)


def activity() -> str:
    """Return a file of visits with hostile and tell-tale values, some of them bad."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["who", "bill", "at", "paid", "street"])
    words = [*HOSTILE.values(), "b"]
    for customer, word in zip(CUSTOMERS, words, strict=True):
        for n in (1, 2):
            at = f"2017-05-{n:02d}T12:00:00"
            writer.writerow([customer, f"{word}{n}", at, "9.99", STREET])
    for customer, word in zip(CUSTOMERS, words, strict=True):
        writer.writerow([word, "x", "2017-05-01T12:00:00", "1.00", STREET])
        writer.writerow([customer, "y", word, "1.00", STREET])
        writer.writerow([customer, "z", "2017-05-01T12:00:00", word, STREET])
    return text.getvalue()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """Do everything once: runs with both logins, refusals, a crash, all the pages."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "other").mkdir()
    with brand(folder) as shop, brand(folder / "other") as other:
        for one in (shop, other):
            prepare(one)
        shop.sandbox.fault(
            "customer_error",
            customers=(CUSTOMERS[0],),
            code=1041,
            message="".join(HOSTILE.values()),
        )
        made = Left(shop, other, secrets_of(shop))
        everything(made)
        yield made


def prepare(shop: Brand) -> None:
    """Give a brand hostile words wherever words come from."""
    shop.sandbox.add_badge(BADGE, HOSTILE["markup"], reference_id="retro")
    description = json.dumps(HOSTILE["markup"] + HOSTILE["bidi"])
    shop.define(
        f"description = {description}\n{DEFINITION}\n"
        "[quality]\nmax_rejected_share = 0.8\n[guards]\napprove_above = 100\n"
    )
    shop.write(**{"=<b>may\u202e": activity()})


def secrets_of(shop: Brand) -> dict[str, str]:
    """Return what must be nowhere, in each form that it is sent in."""
    sandbox = shop.sandbox
    password = sandbox.password
    digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
    pair = f"{sandbox.username}:{digest}"
    return {
        "password": password,
        "password's digest": digest,
        "Basic": base64.b64encode(pair.encode()).decode(),
        "client key": sandbox.client_key,
        "client secret": sandbox.client_secret,
        "token": base64.urlsafe_b64encode(b'{"alg":"none","typ":"sandbox"}').decode(),
        "wrong password": WRONG,
        "its digest": hashlib.md5(WRONG.encode(), usedforsecurity=False).hexdigest(),
    }


def everything(made: Left) -> None:
    """Let a brand do all that leaves something behind."""
    shop, definition = made.shop, str(made.shop.definition)
    right = dict(shop.environ)
    shop.environ["CAPILLARY_PASSWORD"] = WRONG
    assert made.say("refused", "run", definition, "--yes") == 1
    shop.environ = dict(right)
    assert made.say("plan", "plan", definition) == 0
    assert made.say("plan --json", "plan", definition, "--json") == 0
    assert made.say("run", "run", definition, "--yes") == 3
    login = {
        "CAPILLARY_CLIENT_KEY": shop.sandbox.client_key,
        "CAPILLARY_CLIENT_SECRET": shop.sandbox.client_secret,
    }
    basic = {"CAPILLARY_USERNAME", "CAPILLARY_PASSWORD"}
    other = made.other
    other.environ = {k: v for k, v in other.environ.items() if k not in basic} | login
    made.printed["OAuth"] = other.command("run", str(other.definition), "--yes")
    assert made.printed["OAuth"].returncode == 0
    for path in shop.home.accepted.glob("*.json"):
        path.unlink()
        (path / "x").mkdir(parents=True)
    assert made.say("crash", "run", definition, "--yes") == 1
    assert "Traceback" in made.printed["crash"].stderr
    for path in shop.home.accepted.glob("*.json"):
        shutil.rmtree(path)
    query = "SELECT evidence_activity_id, error_message FROM audit"
    for kind in ("table", "csv"):
        assert made.say(f"audit {kind}", "audit", query, "--format", kind) == 0
    asked = ("--badge", "regular", "--customer", str(CUSTOMERS[2]))
    assert made.say("explain", "explain", definition, *asked) == 0


def test_no_secret_is_left_anywhere(left: Left) -> None:
    """Neither password, client secret nor token is in any file or on any screen."""
    found = [
        (place, what)
        for place, text in left.texts()
        for what, secret in left.secrets.items()
        if secret in text
    ]
    assert found == []


def test_customers_are_only_where_they_belong(left: Left) -> None:
    """Customers and their cells are in audit, ledger, rows, plans, pages; nowhere else.

    What somebody asked for by name, on the screen, is an answer and no leak.
    """
    marks = [*map(str, CUSTOMERS), STREET, "tell-tale"]
    asked = ("explain", "audit table", "audit csv", "plan --json")
    answers = {f"stdout of {name}" for name in asked}
    found = {
        place
        for place, text in left.texts()
        for mark in marks
        if mark in text and place not in answers
    }
    strangers = {
        one for one in found if not PLACES.fullmatch(one.removeprefix("oauth/"))
    }
    assert strangers == set()
    # The marks are where they should be, so that the rest of this test means something.
    assert any(one.startswith("accepted/") for one in found)
    assert {"audit.duckdb", "ledger.duckdb"} <= found
    assert any("/mend/" in one for one in found)
    # An unmapped column is nobody's business but his who mends the row.
    assert {p for p, text in left.texts() if STREET in text} == {
        one for one in found if "/mend/" in one
    }


def test_all_of_it_is_for_its_owner_alone(left: Left) -> None:
    """Files are 0600, what is published 0400, folders 0700."""
    root = left.shop.home.root.parent
    homes = [left.shop.home.root, left.other.home.root]
    modes = {
        path.relative_to(root).as_posix(): (
            path.is_dir(),
            stat.S_IMODE(path.stat().st_mode),
        )
        for home in homes
        for path in [home, *home.rglob("*")]
    }
    odd = {
        name: oct(mode)
        for name, (is_folder, mode) in modes.items()
        if mode != 0o700 and (is_folder or mode not in (0o600, 0o400))
    }
    assert odd == {}
    assert modes["home/audit.duckdb"] == (False, 0o400)


def test_formulas_are_inert_in_every_csv(left: Left) -> None:
    """No cell of any CSV begins as a formula does."""
    tables = {
        n: p.read_text("utf-8-sig") for n, p in left.files.items() if n.endswith(".csv")
    }
    tables["audit"] = left.printed["audit csv"].stdout
    cells = 0
    for name, text in tables.items():
        for row in csv.reader(io.StringIO(text, newline="")):
            for cell in row:
                cells += "HYPERLINK" in cell
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), name
    assert cells > 10


def test_markup_is_inert_in_every_page(left: Left) -> None:
    """Whatever platform, files and definition say: a page shows it and does nothing."""
    pages = {
        n: p.read_text("utf-8") for n, p in left.files.items() if n.endswith(".html")
    }
    assert len(pages) > 3
    for name, page in pages.items():
        assert "<script" not in page, name
        assert "<b>may" not in page, name
        assert html.escape(HOSTILE["markup"]) in page or "&lt;script&gt;" in page, name


def test_terminals_and_logs_get_nothing_to_obey(left: Left) -> None:
    """No escape sequence, no change of direction gets onto a screen or into a log."""
    told = {
        n: done.stdout + done.stderr
        for n, done in left.printed.items()
        # A program's CSV has the values as they are, but for formulas.
        if n != "audit csv"
    }
    told |= {n: p.read_text() for n, p in left.files.items() if n.startswith("logs/")}
    assert "\\u202e" in told["run"] + told["plan"]
    for name, text in told.items():
        odd = {letter for letter in text if not letter.isprintable()} - {"\n"}
        assert odd == set(), name


# -- the wire -------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """TLS is always verified: not even the login is sent to a stranger."""
    with stranger(tmp_path) as (address, heard):
        environ = {
            "CAPILLARY_BASE_URL": address,
            "CAPILLARY_USERNAME": "u",
            "CAPILLARY_PASSWORD": "p",
        }
        platform = Platform(
            settings(environ, env_file=None), Pace(tmp_path / "pace.json", 0)
        )

        async def asked():
            async with platform.line() as line:
                return await line.badge(BADGE)

        answer = asyncio.run(asked())
    assert answer.failure == Failure.NOT_CONNECTED
    assert heard == []


@contextmanager
def stranger(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve HTTPS on loopback with a certificate that nobody signed."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "stranger.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- paths ----------------------------------------------------------------------

OUTSIDE = ["../../evil", "/evil", "a/b", "..", ".", "a\\b", "evil\n", "e\0", "~/x"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_home(tmp_path: Path, name: str) -> None:
    """Names that become parts of paths are plain words."""
    quoted = json.dumps(name)
    for text in (
        DEFINITION.replace('"visits"', quoted),
        DEFINITION.replace("badges.regular", f"badges.{quoted}"),
        DEFINITION.replace("[activity]", f"[activity]\nname = {quoted}"),
    ):
        path = tmp_path / "d.toml"
        path.write_text(text)
        with pytest.raises(DefinitionRefused):
            read_definition(path)


def test_ids_with_slashes_make_no_folders(tmp_path: Path) -> None:
    """Reference id, series and activity ids are free text, and never part of a path."""
    with brand(tmp_path) as shop:
        shop.sandbox.add_badge(BADGE, "../../evil", reference_id="../../../evil")
        shop.define(
            DEFINITION.replace('"retro"', '"../../../evil"\nseries = "../../evil"')
        )
        rows = [f"7,../../evil{n},2017-05-0{n}T12:00:00,9.99" for n in (1, 2)]
        shop.write(may="\n".join(["who,bill,at,paid", *rows]))
        asyncio.run(plan_badges(shop.work()))
        before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
        shop.run()
        after = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
        assert after == before
        assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
        assert not list(tmp_path.parent.glob("evil*"))


def test_only_what_patterns_name_is_read(tmp_path: Path) -> None:
    """A condition can't read a file, and a folder behind a link is no pattern's."""
    secret = tmp_path / "elsewhere" / "secret.csv"
    secret.parent.mkdir()
    secret.write_text("who,bill,at,paid\n1,b,2017-05-01,1\n")
    place = tmp_path / "brand"
    (place / "in").mkdir(parents=True)
    (place / "in" / "may.csv").write_text("who,bill,at,paid\n")
    path = place / "d.toml"
    path.write_text(DEFINITION.replace('"*.csv"', '"in/*.csv"'))
    assert [file.path for file in find_files(read_definition(path))] == ["in/may.csv"]
    for where in (
        f"bill IN (SELECT bill FROM read_csv('{secret}'))",
        f"bill = read_csv('{secret}')",
    ):
        condition = f"where = {json.dumps(where)}\nreference_id"
        path.write_text(DEFINITION.replace("reference_id", condition))
        with pytest.raises(DefinitionRefused):
            read_definition(path)


def test_a_plan_does_not_write_through_a_link(tmp_path: Path) -> None:
    """Somebody who can put a link where a draft will be written gains nothing by it."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    with brand(tmp_path) as shop:
        shop.write(may="who,bill,at,paid\n1,b,2017-05-01T12:00:00,1.00\n")
        for name in ("audit.duckdb.new", "ledger.duckdb.new"):
            (shop.home.root / name).symlink_to(victim)
        shop.run()
    assert victim.read_text() == "untouched"


def test_a_nul_in_a_value_harms_nothing(tmp_path: Path) -> None:
    """JSON may hold a NUL: ids with one are booked, and no file has one for text."""
    with brand(tmp_path) as shop:
        shop.define(DEFINITION.replace("*.csv", "*.ndjson"))
        lines = [
            {"who": 7, "bill": f"a\0{n}", "at": f"2017-05-0{n}T12:00:00", "paid": 1}
            for n in (1, 2)
        ]
        text = "\n".join(json.dumps(line) for line in lines)
        (shop.folder / "may.ndjson").write_text(text)
        _, folder = asyncio.run(plan_badges(shop.work()))
        assert b"\0" not in (folder / "plan.html").read_bytes()
        assert b"\0" not in (folder / "awards.csv").read_bytes()
        report = shop.run()
        assert report.as_json()["statuses"] == {"issued": 1}
        assert shop.ask("SELECT evidence_activity_id FROM audit").item() == "a\x002"
        assert b"\0" not in (report.page or folder).read_bytes()
