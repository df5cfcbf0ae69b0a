"""The audit's rows lie in no order: every reader answers the same of the same rows."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest
from factories_imports import BADGE, DEFINITION, Brand, brand, visits
from rig_publishing import differences

from flows.commands.reconciling import Wanted, reconcile_badges
from flows.commands.retrying import RETRIED, retry_awards
from flows.commands.undo import revoke_awards
from flows.platform.capillary import utc_now
from flows.records.audit import open_audit, queried
from flows.records.known import known_in_parts, of_audit
from flows.records.ledger import connect, open_ledger
from flows.records.publishing import PUBLISHED, publish
from flows.repair.rebuilding import from_audit

ROOT = Path(__file__).parent.parent
QUESTIONS = [
    question
    for document in ("README.md", "docs/audit.md", "docs/operations.md")
    for block in re.findall(
        r"^```sql\n(.*?)^```",
        (ROOT / document).read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
    for question in block.split(";")
    if question.strip()
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brand]:
    """Return a brand whose awards went every way: each has several events."""
    with brand(tmp_path_factory.mktemp("order")) as made:
        made.define(f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n")
        bad = "x,b9,2017-05-01T08:00:00,1.00\ny,b8,never,1.00\n"
        for customer, code in ((5, 816), (6, 816), (7, 7001), (8, 7001)):
            made.sandbox.fault(
                "customer_error",
                customers=(customer,),
                code=code,
                times=1 if customer == 5 else None,
            )
        made.write(may=visits([19, 4, 5, 6, 7, 8, 9]) + bad)
        made.run()
        asyncio.run(
            retry_awards(made.work(), "latest", statuses=RETRIED, codes=(816, 7001))
        )
        made.write(june=visits(range(30, 42), bill="c") + bad)
        made.run()
        asyncio.run(revoke_awards(made.work(), "latest"))
        asyncio.run(reconcile_badges(made.work(), Wanted()))
        yield made


@pytest.fixture(scope="module", params=["reversed", "shuffled"])
def turned(shop: Brand, request: pytest.FixtureRequest) -> Path:
    """Return a copy of the audit whose tables have their rows in another order."""
    path = shop.folder / f"{request.param}.duckdb"
    shutil.copy(shop.home.audit, path)
    path.chmod(0o600)
    by = "-rowid" if request.param == "reversed" else "hash(rowid)"
    with duckdb.connect(str(path)) as connection:
        for table in PUBLISHED:
            rows = f"SELECT * FROM {table} ORDER BY {by}"
            connection.execute(f"CREATE OR REPLACE TABLE {table} AS {rows}")
    published = shop.home.audit.stat().st_mtime_ns
    os.utime(path, ns=(published, published))
    assert differences(path, shop.home.audit) == []
    order = "SELECT event_seq FROM award_events"
    assert not queried(path, order).equals(queried(shop.home.audit, order))
    return path


STATEMENTS = {
    path.name.removesuffix(".sql"): path.read_text("utf-8")
    for path in files("flows.records.sql").iterdir()
    if path.name.endswith(".sql")
}
# Whoever asks these, they ask the audit: nothing else has such tables.
OF_THE_AUDIT = {
    name
    for name, text in STATEMENTS.items()
    if re.search(r"\b(FROM|JOIN) (audit|error_codes|ledger_state)\b", text)
    and not name.startswith(("publish", "view_"))
}


class Reader:
    """Asks an audit."""

    def __init__(self, path: Path) -> None:
        self.connection = open_audit(path)
        self.connection.execute("CREATE TEMP TABLE wanted AS FROM audit")

    def answered(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of an answer: in their order, if the query says one."""
        rows = self.connection.execute(query, values or None).fetchall()
        return rows if _says_order(query) else sorted(rows, key=repr)


def _says_order(query: str) -> bool:
    return bool(re.search(r"\bORDER BY\b[^()]*(\([^()]*\)[^()]*)*$", query))


@pytest.fixture
def readers(shop: Brand, turned: Path) -> Iterator[tuple[Reader, Reader]]:
    """Return who asks the audit as it was published, and the one in another order."""
    both = Reader(shop.home.audit), Reader(turned)
    yield both
    for reader in both:
        reader.connection.close()


def values_for(query: str, run_ids: list[str]) -> list[dict[str, Any]]:
    """Return what a statement may ask for: by every run, and by some customers."""
    every = [
        {
            "run_id": run_id,
            "is_import": is_import,
            "badge_meta_id": BADGE,
            "badge_meta_ids": [BADGE],
            "series": "",
            "customer_ids": [4, 5, 6, 9, 30],
            "import_name": "visits",
            "plan_digest": "none",
        }
        for run_id in run_ids
        for is_import in (True, False)
    ]
    asked = set(re.findall(r"\$(\w+)", query))
    found = [{name: one[name] for name in asked & one.keys()} for one in every]
    return [one for place, one in enumerate(found) if one not in found[:place]]


def test_every_statement_answers_alike_in_any_order(readers):
    """Whatever is asked of the audit, the order of its rows changes no answer."""
    as_published, as_turned = readers
    runs = as_published.answered("SELECT run_id FROM runs", {})
    run_ids = [run_id for (run_id,) in runs]
    tried, unlike = set(), set()
    for name, query in STATEMENTS.items():
        if not re.search(r"^(WITH|SELECT)\b", query, re.MULTILINE):
            continue
        for values in values_for(query, run_ids):
            try:
                rows = as_published.answered(query, values)
            except duckdb.Error:  # it is asked of the ledger
                break
            if as_turned.answered(query, values) != rows:
                unlike.add(name)
            tried |= {name} if rows else set()
    assert unlike == set()
    assert OF_THE_AUDIT - tried == set()


def test_every_question_of_the_documents_answers_alike_in_any_order(readers):
    """What people copy from README and docs/ gives one answer."""
    as_published, as_turned = readers
    found = 0
    for question in QUESTIONS:
        rows = as_published.answered(question, {})
        assert as_turned.answered(question, {}) == rows, question
        found += bool(rows)
    assert found >= 15


@pytest.mark.parametrize("parts", [1, 3])
def test_what_was_awarded_is_known_alike_in_any_order(shop, turned, tmp_path, parts):
    """A plan finds the same awards, in one part and in several."""

    def known_of(path: Path) -> list[set[tuple[Any, ...]]]:
        with known_in_parts(of_audit(path), None, tmp_path) as known:
            return [
                set(known(BADGE, "", part, parts).iter_rows()) for part in range(parts)
            ]

    assert known_of(turned) == known_of(shop.home.audit)
    assert all(known_of(turned))


def test_a_ledger_is_rebuilt_alike_from_any_order(shop, turned, tmp_path):
    """Where awards and requests stand is told by the numbers of their events."""
    standing: list[list[Any]] = []
    for number, path in enumerate((shop.home.audit, turned)):
        ledger = tmp_path / f"{number}.duckdb"
        from_audit(path, ledger)
        with closing(connect(ledger, read_only=True)) as connection:
            views = ("award_states", "request_states", "awards", "award_events")
            asked = [connection.execute(f"FROM {view}").fetchall() for view in views]
        standing.append([sorted(rows, key=repr) for rows in asked])
    assert standing[0] == standing[1]
    assert all(standing[0])


def test_an_audit_in_any_order_is_gone_on_from(shop, turned, tmp_path):
    """What is added to it comes to what is published anew."""
    going_on, anew = tmp_path / "audit.duckdb", tmp_path / "anew.duckdb"
    shutil.copy2(turned, going_on)
    now = utc_now() + timedelta(seconds=1)
    with closing(open_ledger(shop.home.ledger, now=now)) as ledger:
        publish(ledger, going_on, now)
        publish(ledger, anew, now, anew=True)
    assert differences(going_on, anew) == []
    order = "SELECT event_seq FROM award_events"
    assert queried(going_on, order).equals(queried(turned, order))
