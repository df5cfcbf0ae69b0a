"""Flow runs as they are deployed: a real server, a real worker, the sandbox.

The tests share one server, and go from the top; each has customers of its own.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from factories_imports import DEFINITION, Brand, brand, visits
from factories_prefect import (
    SECRET_BLOCK,
    Orchestra,
    kill_group,
    orchestra,
    until,
    webhook,
)

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]
# Everything of an award but what differs from one run to the next.
SAME = """
SELECT * EXCLUDE (award_id, request_id, earned_badge_id, planned_run_id,
    settled_run_id, planned_at, sent_at, settled_at, expires_on, target)
FROM audit WHERE import_name = 'visits' ORDER BY customer_id, occurrence
"""
# No count, date or port has as many digits.
FIRST_CUSTOMER = 5531625630


@dataclass
class Stage:
    """What the tests of this file share."""

    prefect: Orchestra
    shop: Brand
    worker: Any
    alarms: list[dict[str, str]]
    taken: int = FIRST_CUSTOMER

    def define(self, name: str, customers: int, *, more: str = "", day: int = 1) -> str:
        """Write an import with customers of its own; return its definition's path."""
        first, self.taken = self.taken, self.taken + customers
        text = DEFINITION.replace('"visits"', f'"{name}"').replace(
            "*.csv", f"{name}.csv"
        )
        text = text.replace('= "retro"\n', f'= "retro"\nseries = "{name}"\n') + more
        path = self.shop.folder / f"{name}.toml"
        path.write_text(text)
        self.add(name, range(first, first + customers), day=day)
        return str(path)

    def add(self, name: str, customers: range, *, day: int = 1) -> None:
        """Write the activity of an import."""
        self.shop.write(**{name: visits(customers, day=day)})

    def statuses(self, name: str) -> dict[str, int]:
        """Return how many awards of an import stand where."""
        query = "SELECT status, count(*) FROM audit WHERE import_name = '{}' GROUP BY 1"
        return dict(self.shop.ask(query.format(name)).iter_rows())

    def start_worker(self) -> None:
        """Start a worker; the password is not in its environment."""
        given = {k: v for k, v in self.shop.environ.items() if "PASSWORD" not in k}
        self.worker = self.prefect.worker(**given)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Deploy everything to a server of its own, and start a worker."""
    folder = tmp_path_factory.mktemp("flows")
    slow = {"CAPILLARY_MAX_IN_FLIGHT": "1"}
    with brand(folder, environ=slow) as shop, webhook() as (address, alarms):
        secret = shop.environ["CAPILLARY_PASSWORD"]
        with orchestra(folder / "prefect", secret=secret) as prefect:
            prefect.run("docs/examples/alarms.py", address)
            made = Stage(prefect, shop, None, alarms)
            made.start_worker()
            yield made


def test_two_runs_take_turns_and_show_what_they_did(stage: Stage) -> None:
    """Runs asked for at once work one after the other, with plan, books and events."""
    prefect = stage.prefect
    nightly = stage.define("visits", 12)
    other = stage.define("older", 6)
    first = prefect.ask("import-badges/nightly", definition=nightly)
    second = prefect.ask(
        "backfill-badges/on-demand",
        definition=other,
        earned_from="2017-05-01",
        earned_until="2017-05-02",
    )

    assert prefect.ended(first) == ("COMPLETED", "12 issued, books balance")
    assert prefect.ended(second) == ("COMPLETED", "nothing to do, books balance")
    times = stage.shop.ask("SELECT started_at, ended_at FROM runs ORDER BY started_at")
    assert times["ended_at"][0] <= times["started_at"][1]
    shown = prefect.artifacts(first)
    assert "12 awards in 3 earnBulk calls" in shown["plan-visits"]
    assert "| · issued |  | 12 |" in shown["summary-visits"]
    assert shown["progress-visits"] == "100"
    left = prefect.artifacts(second)["plan-older"]
    assert "at most 6 more outside the bounds" in left
    assert re.fullmatch(
        r"visits as of \d{4}-\d\d-\d\d \d\d:\d\dZ", prefect.flow_run(first)["name"]
    )
    bounds = "older from 2017-05-01 until 2017-05-02"
    assert prefect.flow_run(second)["name"] == bounds
    issued = until(
        lambda: prefect.events("retrobadge.").get("retrobadge.awards.issued"), "events"
    )
    assert issued == {"count": 12, "summary": "12 issued, books balance"}


def test_a_flow_run_gives_the_same_rows_as_a_plain_one(
    stage: Stage, tmp_path: Path
) -> None:
    """With Prefect and without it, the audit differs only in run ids and times."""
    name = Path("visits.toml")
    with brand(tmp_path) as shop:
        for file in (name, name.with_suffix(".csv")):
            shop.folder.joinpath(file).write_text(
                stage.shop.folder.joinpath(file).read_text()
            )
        shop.run(definition=shop.folder / name)
        expected = shop.ask(SAME)

    actual = stage.shop.ask(SAME)
    assert actual.height == 12
    assert expected.equals(actual)


def test_a_backfill_that_was_stopped_goes_on(stage: Stage) -> None:
    """Stopped at its hour a backfill is done well; asked for again, it goes on."""
    asked = {
        "definition": str(stage.shop.folder / "older.toml"),
        "earned_from": "2017-05-02",
        "earned_until": "2017-05-04",
    }
    backfill = "backfill-badges/on-demand"
    stopped = stage.prefect.ask(backfill, **asked, stop_at="2020-01-01T00:00:00+00:00")

    kind, message = stage.prefect.ended(stopped)
    assert (kind, message[:30]) == ("COMPLETED", "stopped at the hour asked for,")
    assert "6 planned" in message
    again = stage.prefect.ask(backfill, **asked)
    assert stage.prefect.ended(again) == ("COMPLETED", "6 issued, books balance")
    assert stage.statuses("older") == {"issued": 6}


def test_a_plan_waits_for_a_person_and_is_then_carried_out(stage: Stage) -> None:
    """A run that wants an approval is suspended, told of, answered, and done."""
    prefect = stage.prefect
    guard = "\n[guards]\napprove_above = 5\n"
    yes, no = stage.define("large", 8, more=guard), stage.define("vast", 9, more=guard)
    approved = prefect.ask("import-badges/nightly", definition=yes)

    assert prefect.ended(approved, "Suspended")[0] == "PAUSED"
    assert stage.shop.home.run_lock.read_text() == ""
    assert "8 awards in 2 earnBulk calls" in prefect.artifacts(approved)["plan-large"]
    until(lambda: any("approval" in told["subject"] for told in stage.alarms), "alarm")
    assert prefect.answer(approved, decision="approve", name="") == "REJECT"
    given = {"decision": "approve", "name": "Ada Osei", "note": "as agreed"}
    assert prefect.answer(approved, **given) == "ACCEPT"
    declined = prefect.ask("import-badges/nightly", definition=no)
    assert prefect.ended(approved) == ("COMPLETED", "8 issued, books balance")
    assert prefect.ended(declined, "Suspended")[0] == "PAUSED"
    assert prefect.answer(declined, decision="decline", name="Bo Lind") == "ACCEPT"
    told = "declined by Bo Lind: nothing was sent"
    assert prefect.ended(declined) == ("COMPLETED", told)
    decisions = stage.shop.ask(
        "SELECT decision, by_name, note FROM approvals ORDER BY by_name"
    )
    assert decisions.rows() == [
        ("approved", "Ada Osei", "as agreed"),
        ("declined", "Bo Lind", None),
    ]
    assert (stage.statuses("large"), stage.statuses("vast")) == ({"issued": 8}, {})


def test_the_next_run_settles_what_a_killed_one_left(stage: Stage) -> None:
    """Worker and run killed in mid-send: the next run settles, and nobody is lost."""
    definition = stage.define("killed", 40)
    first = stage.taken - 40
    stage.shop.sandbox.fault("slow", times=None, seconds=0.4)
    killed = stage.prefect.ask("import-badges/nightly", definition=definition)
    until(lambda: stage.shop.sandbox.earns(customer_id=first + 9), "some earns")

    holder = orjson.loads(stage.shop.home.run_lock.read_bytes())
    os.kill(holder["pid"], signal.SIGKILL)
    kill_group(stage.worker)
    stage.shop.sandbox.clear_faults()
    stage.start_worker()
    following = stage.prefect.ask("import-badges/nightly", definition=definition)
    kind, message = stage.prefect.ended(following)
    assert (kind, message.endswith("books balance")) == ("COMPLETED", True)
    assert stage.statuses("killed") == {"issued": 40}
    customers = range(first, first + 40)
    earns = [len(stage.shop.sandbox.earns(customer_id=one)) for one in customers]
    assert earns == [1] * 40
    assert stage.prefect.flow_run(killed)["state"]["type"] != "COMPLETED"


def test_the_command_runs_as_a_flow_run(stage: Stage, tmp_path: Path) -> None:
    """With a server, `run` is a flow run there, and its report comes back."""
    definition = stage.define("typed", 7)
    customer = stage.taken - 1
    stage.shop.sandbox.fault(
        "customer_error", times=None, customers=(customer,), code=1026
    )
    ours = {"PREFECT_API_URL": stage.prefect.url, "PREFECT_HOME": str(tmp_path)}
    shop = Brand(stage.shop.folder, stage.shop.home, stage.shop.sandbox)
    shop.environ = {**stage.shop.environ, **ours}

    done = shop.command("run", definition, "--yes", "--json")

    assert done.returncode == 3, done.stderr
    told = orjson.loads(done.stdout)
    assert told["statuses"] == {"blocked": 1, "issued": 6}
    name = {"flow_runs": {"name": {"like_": "typed"}}}
    (run,) = stage.prefect.call("flow_runs/filter", name)
    message = "1 blocked, 6 issued, books balance"
    assert (run["state"]["type"], run["state"]["message"]) == ("COMPLETED", message)


def test_reconcile_and_revoke_tell_what_they_find(stage: Stage) -> None:
    """Reconciling changes nothing, and an unconfirmed revocation calls nothing."""
    query = "SELECT run_id FROM runs WHERE import_name = 'visits' LIMIT 1"
    run_id = stage.shop.ask(query).item()
    reconcile = stage.prefect.ask("reconcile-badges/weekly", run=run_id, sample=3)
    revoke = stage.prefect.ask("revoke-badges/on-demand", run=run_id)

    kind, message = stage.prefect.ended(reconcile)
    assert (kind, message[:10]) == ("COMPLETED", "3 matched,")
    kind, message = stage.prefect.ended(revoke)
    told = f"would take back 12 awards of run {run_id} (regular 12) in 12 calls: "
    assert (kind, message.startswith(told)) == ("COMPLETED", True)
    assert stage.statuses("visits") == {"issued": 12}


def test_no_secret_and_no_customer_reaches_the_server(stage: Stage) -> None:
    """Neither server nor worker kept or printed a password or a customer."""
    told = stage.prefect.told()
    pool = orjson.dumps(stage.prefect.call("deployments/filter", {}))

    assert SECRET_BLOCK.encode() in told
    assert stage.shop.environ["CAPILLARY_PASSWORD"].encode() not in told + pool
    customers = {str(one).encode() for one in range(FIRST_CUSTOMER, stage.taken)}
    found = set(re.findall(rb"(?<!\d)55316\d{5}(?!\d)", told))
    assert len(customers) > 80
    assert found & customers == set()
