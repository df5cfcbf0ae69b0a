"""Each term of each equation of the books, broken on purpose in a whole run: exit 5.

What a step hands over, or what the ledger has after it, is changed by one; nothing is
patched. Before the ledger nothing may be sent; after it, the run must say so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories_imports import BADGE, DEFINITION, Brand, brand, visits

from flows.files.activity_files import AcceptedFile
from flows.pipeline import import_badges, plan_badges
from flows.planning import Plan
from flows.runs.run import Run
from transforms.awards.awards import PlanResult
from transforms.errors import Fault, Unbalanced

ROWS = (
    "read",
    "accepted",
    "anonymous",
    "unmapped",
    "excluded",
    "rejected",
    "duplicate",
)
Change = Callable[[str, Any, tuple[Any, ...]], Any]


WIDE = f"{DEFINITION}\n[quality]\nmax_rejected_share = 1\nmax_unmapped_share = 1\n"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brand]:
    """Run one brand for all walls before which nothing is sent."""
    with brand(tmp_path_factory.mktemp("walls")) as made:
        made.define(WIDE)
        made.write(may=visits([1, 2]))
        yield made


def broken(shop: Brand, change: Change, work: Any = import_badges) -> list[Fault]:
    """Return the faults of work in which each step's outcome was changed."""

    async def steps(name: str, function: Callable[..., Any], *values: Any) -> Any:
        found = function(*values)
        found = await found if isinstance(found, Awaitable) else found
        return change(name, found, values)

    asked = shop.work()
    asked.steps = steps
    with pytest.raises(Unbalanced) as caught:
        asyncio.run(work(asked))
    assert caught.value.exit_status == 5
    faults = list(caught.value.faults)
    if work is import_badges:
        (last,) = shop.ask("SELECT status, balanced, message FROM latest_run").rows()
        assert last[:2] == ("unbalanced", False)
        assert str(faults[0]) in last[2]
    return faults


def earn_calls(shop: Brand) -> int:
    """Return how many calls have issued something."""
    return sum(call.endpoint == "earnBulk" for call in shop.sandbox.calls)


@pytest.mark.parametrize("term", ROWS)
@pytest.mark.parametrize("work", [import_badges, plan_badges])
def test_rows_that_got_lost_stop_everything(shop, term, work) -> None:
    """A row too many on one side of a wall: nothing is sent and no plan is written."""

    def change(_: str, found: Any, __: Any) -> Any:
        if not isinstance(found, AcceptedFile):
            return found
        return replace(found, **{f"rows_{term}": getattr(found, f"rows_{term}") + 1})

    before = earn_calls(shop), list(shop.home.plans.iterdir())
    faults = broken(shop, change, work)
    assert {fault.code for fault in faults} == {"books_rows"}
    assert any(f"{term} " in fault.message for fault in faults)
    assert (earn_calls(shop), list(shop.home.plans.iterdir())) == before


@pytest.mark.parametrize("term", ["rows_current", "rows_superseded"])
def test_accepted_rows_are_current_or_superseded(shop, term) -> None:
    """An accepted row that neither counts nor is replaced is lost: nothing is sent."""

    def change(_: str, found: Any, __: Any) -> Any:
        if isinstance(found, Plan):
            getattr(found, term)[0] = getattr(found, term).get(0, 0) + 1
        return found

    before = earn_calls(shop)
    (fault,) = broken(shop, change)
    assert "rows: accepted" in fault.message
    assert earn_calls(shop) == before


@pytest.mark.parametrize("term", ["qualified", *map(str, PlanResult)])
def test_every_qualification_has_a_result(shop, term) -> None:
    """A qualification too many or too few anywhere: nothing is sent."""

    def change(_: str, found: Any, __: Any) -> Any:
        if isinstance(found, Plan):
            found.results["regular"][term] += 1
        return found

    before = earn_calls(shop)
    (fault,) = broken(shop, change)
    assert (fault.code, fault.column) == ("books_qualified", "badges.regular")
    assert earn_calls(shop) == before


LEDGER = {
    "an award that is gone": (
        "DELETE FROM awards WHERE planned_run_id = $run_id AND customer_id % 10 = 0",
        "books_awards",
    ),
    "an award without a state": (
        (
            "DELETE FROM award_events WHERE award_id IN (SELECT award_id FROM awards "
            "WHERE planned_run_id = $run_id AND customer_id % 10 = 0)"
        ),
        "books_awards",
    ),
    "an award that is there twice": (
        "INSERT INTO awards SELECT * FROM awards WHERE planned_run_id = $run_id",
        "books_awards",
    ),
    "a status that is none": (
        (
            "UPDATE award_events SET to_status = 'lost' WHERE to_status = 'issued' "
            "AND run_id = $run_id"
        ),
        "books_status",
    ),
    "an id of two awards": (
        (
            "UPDATE award_events SET earned_badge_id = 'one' || $run_id "
            "WHERE to_status = 'issued' AND run_id = $run_id"
        ),
        "books_earned_badge_id",
    ),
    **{
        f"an answer with one more of {term}": (
            (
                f"UPDATE attempt_results SET customers_{term} = customers_{term} + 1 "
                "WHERE attempt_id IN (SELECT attempt_id FROM attempts "
                "WHERE run_id = $run_id)"
            ),
            "books_answer",
        )
        for term in ("listed_well", "listed_failed", "missing")
    },
    "an answer to more customers": (
        "UPDATE attempts SET customers = customers + 1 WHERE run_id = $run_id",
        "books_answer",
    ),
}


@pytest.mark.parametrize(("statement", "code"), LEDGER.values(), ids=LEDGER)
def test_what_the_ledger_lost_is_seen(tmp_path, statement, code) -> None:
    """An award or an answer that went wrong in the ledger ends the run with exit 5."""

    def change(name: str, found: Any, values: tuple[Any, ...]) -> Any:
        if name == "send and settle":
            run = values[0]
            assert isinstance(run, Run)
            run.ledger.cursor().execute(statement, {"run_id": run.run_id})
        return found

    with brand(tmp_path) as own:
        own.write(may=visits([10, 11]))
        faults = broken(own, change)
    assert {fault.code for fault in faults} == {code}


def test_the_command_ends_with_5(tmp_path: Path) -> None:
    """A kept file's counts are damaged on the disk: `plan` and `run` say so, exit 5."""
    with brand(tmp_path) as own:
        own.write(may=visits([1, 2]))
        assert own.command("check", str(own.definition)).returncode == 0
        (record,) = own.home.accepted.glob("*.json")
        told = json.loads(record.read_bytes())
        record.write_text(json.dumps(told | {"rows_read": 5}))
        planned = own.command("plan", str(own.definition))
        done = own.command("run", str(own.definition), "--yes", "--json")

        assert (planned.returncode, done.returncode) == (5, 5)
        assert "rows: read 5 is not accepted 4" in planned.stderr
        report = json.loads(done.stdout)
        assert (report["status"], report["balanced"]) == ("unbalanced", False)
        assert report["errors"][0]["code"] == "books_rows"
        assert own.sandbox.earns(BADGE) == []
