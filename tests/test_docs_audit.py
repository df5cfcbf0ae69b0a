"""What docs/audit.md says of the audit is what the audit has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from factories_imports import DEFINITION, brand, visits

from flows.commands.reconciling import Wanted, reconcile_badges
from flows.pipeline import import_badges, plan_badges
from flows.plans.approving import approve, job_of
from flows.plans.folder import found_plan
from flows.platform.capillary import utc_now
from flows.records.audit import queried
from flows.records.publishing import PUBLISHED, VIEWS
from flows.runs.job import Job
from transforms.platform.reconciliation import Finding
from transforms.statuses import AwardStatus, RequestStatus

DOCUMENT = Path(__file__).parent.parent / "docs" / "audit.md"
TEXT = DOCUMENT.read_text("utf-8")
QUESTIONS = re.findall(
    r"^### (\d+\. .+?)\n\n```sql\n(.*?)\n```\n\n(\|.*?)\n",
    TEXT,
    re.DOTALL | re.MULTILINE,
)
TABLES = {
    name: re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    for name, section in re.findall(
        r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE
    )
}


@pytest.fixture(scope="session")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return an audit in which something of everything has happened."""
    folder = tmp_path_factory.mktemp("audit")
    with brand(folder) as shop:
        shop.define(
            f"{DEFINITION}\n[guards]\napprove_above = 1\n"
            "[quality]\nmax_rejected_share = 0.5\n"
        )
        shop.write(may=visits([4, 5]) + "x,b9,2017-05-01T08:00:00,1.00\n")
        shop.sandbox.fault("customer_error", customers=(5,), code=816, times=None)
        _, plan = asyncio.run(plan_badges(shop.work()))
        saved = found_plan(shop.home, plan.name)
        approve(shop.home, saved, by_name="Ada", note=None, now=utc_now())
        work = shop.work()
        work.job, work.wanted = job_of(saved, Job()), saved
        asyncio.run(import_badges(work))
        asyncio.run(reconcile_badges(shop.work(), Wanted()))
        yield shop.home.audit


@pytest.mark.parametrize(
    ("query", "header"),
    [(query, header) for _, query, header in QUESTIONS],
    ids=[title for title, _, _ in QUESTIONS],
)
def test_every_question_has_an_answer(audit, query, header):
    """Each query runs as it stands, and gives the columns that are shown."""
    answer = queried(audit, query)

    assert answer.columns == re.findall(r"`(\w+)`", header)


def test_there_are_twenty_questions():
    """Twenty were promised, numbered through."""
    assert [title.split(".")[0] for title, _, _ in QUESTIONS] == [
        str(number) for number in range(1, 21)
    ]


def test_every_table_and_column_is_documented(audit):
    """Whatever is published stands there with its type, in its order; nothing else."""
    columns = queried(
        audit,
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "ORDER BY table_name, ordinal_position",
    )
    short = pl.col("data_type").replace({"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"})
    found: dict[str, list[tuple[str, str]]] = {}
    rows = columns.select("table_name", "column_name", short).iter_rows()
    for table, column, kind in rows:
        if table not in VIEWS:
            found.setdefault(table, []).append((column, kind))
    documented = {name: rows for name, rows in TABLES.items() if name != "Views"}

    assert set(documented) == set(PUBLISHED)
    assert documented == found


def test_views_and_statuses_are_documented():
    """Every view, and every status of an award and of a request, is in the text."""
    shown = TEXT[TEXT.index("### Views") : TEXT.index("## Statuses")]
    views = re.findall(r"^\| `(\w+)` \|", shown, re.MULTILINE)
    statuses = TEXT[TEXT.index("## Statuses") :]
    statuses = statuses[: statuses.index("```")]

    assert set(views) == set(VIEWS)
    assert set(re.findall(r"^\| `(\w+)` \|", statuses, re.MULTILINE)) == set(
        AwardStatus
    )
    for word in (*RequestStatus, *Finding):
        assert f"`{word}`" in TEXT, word


def test_answers_of_the_small_audit_are_not_all_empty(audit):
    """The queries are tried on something: most of them find rows."""
    heights = [queried(audit, query).height for _, query, _ in QUESTIONS]

    assert sum(height > 0 for height in heights) >= 12
