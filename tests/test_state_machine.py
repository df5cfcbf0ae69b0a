"""Any order of files, corrections, edits, runs, deaths, refusals, undoing and loss."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from factories_imports import BADGE, Brand, brand
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rig_faults import audited
from rig_scoring import broken_chains

from flows.commands.retrying import MAY_BE_RETRIED, retry_awards
from flows.commands.undo import release_awards, revoke_awards
from flows.pipeline import import_badges, resume_badges
from flows.repair.repair import restore
from flows.settings import settings as settings_of

FILES = ("april", "may", "june")
FAULTS = ("crash", "drop_after", "part", "missing", "error_with_id", "too_many")
DEFINITION = f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
missing_files = "forget"
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at" }}

[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {{ kind = "activity_count", at_least = 2 }}

[customers]
identifier = "external_id"
files = ["customers/*.csv"]
columns = {{ identifier = "code", customer_id = "id", survivor_id = "survivor" }}
"""
WHO = range(1, 8)
ZONES = ("America/New_York", "Asia/Tokyo")
_visits = st.lists(
    st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 28)), max_size=12
)


class Imports(RuleBasedStateMachine):
    """A brand whose files come and go, whose runs die, and a model in plain Python.

    The model: bill → visit of the newest file that has it; whoever has two visits is
    due, on the day of the second, and once due and sent never again, unless the award
    was taken back and released. Customers who were merged are one, the survivor, and
    have what any of them has.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        waits = {
            "CAPILLARY_TIMEOUT_SECONDS": "0.3",
            "CAPILLARY_RESEND_AFTER_SECONDS": "0.6",
            "CAPILLARY_SETTLE_AFTER_SECONDS": "0.9",
            "CAPILLARY_BATCH_SIZE": "2",
        }
        made = brand(Path(folder), environ=waits)
        self.shop: Brand = self._stack.enter_context(made)
        self.files: dict[str, list[tuple[int, int, int]]] = {}
        self.zone = ZONES[0]
        self.was_due: dict[int, set[datetime]] = defaultdict(set)
        self.survivors = {who: who for who in WHO}
        self.revoked: set[int] = set()
        self.refused: set[int] = set()
        self.is_finished = False

    def teardown(self) -> None:
        """End the sandbox."""
        self._stack.close()

    @initialize(visits=_visits)
    def begin(self, visits: list[tuple[int, int, int]]) -> None:
        """Write the first file and the definition."""
        self.shop.define(DEFINITION)
        self._write_customers()
        self.write("april", visits)

    @rule(name=st.sampled_from(FILES), visits=_visits)
    def write(self, name: str, visits: list[tuple[int, int, int]]) -> None:
        """Add a file, or correct one that is there."""
        rows = list(
            {(who, bill): (who, bill, day) for who, bill, day in visits}.values()
        )
        self.files[name] = rows
        lines = [f"C{w},{w}-{b},2017-05-{d:02d}T12:00:00" for w, b, d in rows]
        self.shop.write(**{name: "\n".join(["who,bill,at", *lines, ""])})
        self.is_finished = False

    @precondition(lambda self: len(self.files) > 1)
    @rule()
    def remove(self) -> None:
        """Take the newest file away."""
        name = max(self.files)
        del self.files[name]
        (self.shop.folder / f"{name}.csv").unlink()
        self.is_finished = False

    @rule(gone=st.integers(1, 7), survivor=st.integers(1, 7))
    def merge(self, gone: int, survivor: int) -> None:
        """Make two customers one, on the platform and in the brand's file."""
        survivor = self.survivors[survivor]
        if self.survivors[gone] == survivor:
            return
        gone = self.survivors[gone]
        for who, one in self.survivors.items():
            if one == gone:
                self.survivors[who] = survivor
        self._write_customers()
        self.is_finished = False

    @rule(zone=st.sampled_from(ZONES), batch=st.sampled_from(("2", "3")))
    def edit(self, zone: str, batch: str) -> None:
        """Edit what may be edited: what was made before stays as it was."""
        self.zone = zone
        self.shop.environ["CAPILLARY_BATCH_SIZE"] = batch
        self.shop.define(DEFINITION, **{ZONES[0]: zone})
        self.is_finished = False

    @rule(fault=st.none() | st.sampled_from(FAULTS), nth=st.integers(1, 3))
    def run(self, fault: Any, nth: int) -> None:
        """Run to the end, perhaps with a fault; and again if that left something."""
        self._remember()
        covered, before = self._covered(), self._earned()
        if fault is not None:
            self.shop.sandbox.fault(fault, nth=nth)
        for _ in range(4):
            report = self.shop.run()
            assert report.is_balanced
            self.shop.sandbox.clear_faults()
            if report.exit_status == 0 and not report.waiting:
                break
        news = [e for e in self.shop.sandbox.earns() if e.earned_badge_id not in before]
        assert not covered & {self.survivors[earn.customer_id] for earn in news}
        self.is_finished = True

    @rule(call=st.integers(1, 14))
    def die(self, call: int) -> None:
        """Run, and be ended while some call is out."""
        self._remember()
        asyncio.run(self._ended_at(import_badges(self.shop.work()), call))
        self.is_finished = False

    @rule()
    def resume(self) -> None:
        """Send what was reserved and never sent."""
        asyncio.run(resume_badges(self.shop.work()))
        self.is_finished = False

    @rule(who=st.integers(1, 7))
    def refuse(self, who: int) -> None:
        """Run against a platform that refuses somebody; nobody else is touched."""
        self._remember()
        fault = self.shop.sandbox.fault("unknown_code", customers=(who,), nth=0)
        report = self.shop.run()
        self.shop.sandbox.clear_faults()
        assert fault is not None
        assert report.is_balanced
        self.refused |= set(self._customers("status IN ('blocked', 'failed')"))
        self.is_finished = report.exit_status == 0

    @precondition(lambda self: self.refused)
    @rule()
    def retry(self) -> None:
        """Send again what was refused, run by run."""
        for run_id in self._runs("status IN ('blocked', 'failed')"):
            again = retry_awards(self.shop.work(), run_id, statuses=MAY_BE_RETRIED)
            assert asyncio.run(again).is_balanced
        self.refused.clear()

    @precondition(lambda self: self.is_finished)
    @rule()
    def revoke(self) -> None:
        """Take back what one run issued, and only that."""
        runs = self._runs("status = 'issued'")
        if not runs:
            return
        touched = f"'{runs[-1]}' IN (planned_run_id, settled_run_id)"
        taken = set(self._customers(f"status = 'issued' AND {touched}"))
        before = self._active()
        report = asyncio.run(revoke_awards(self.shop.work(), runs[-1]))
        assert report.is_balanced
        self.revoked |= taken
        assert self._active() == before - taken

    @precondition(lambda self: self.revoked)
    @rule()
    def release(self) -> None:
        """Free what was taken back: the next run may award it anew."""
        for run_id in self._runs("status = 'revoked'"):
            assert release_awards(self.shop.work(), run_id).is_balanced
        self.revoked.clear()
        self.is_finished = False

    @precondition(lambda self: self.shop.home.ledger.exists())
    @rule()
    def lose(self) -> None:
        """Lose the ledger, and bring it back from the newest backup."""
        if not any(self.shop.home.backups.iterdir()):
            return
        self.shop.home.ledger.unlink()
        restore(self.shop.home, "latest", settings_of(self.shop.environ, env_file=None))
        self.is_finished = False

    async def _ended_at(self, work: Any, call: int) -> None:
        task = asyncio.ensure_future(work)
        until = len(self.shop.sandbox.calls) + call
        while len(self.shop.sandbox.calls) < until:
            done, _ = await asyncio.wait({task}, timeout=0.002)
            if done:
                break
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _write_customers(self) -> None:
        folder = self.shop.folder / "customers"
        folder.mkdir(exist_ok=True)
        lines = [f"C{w},{w},{'' if s == w else s}" for w, s in self.survivors.items()]
        text = "\n".join(["code,id,survivor", *lines, ""])
        (folder / "all.csv").write_text(text)

    def _due(self) -> dict[int, datetime]:
        """Return who is due, and when, by the files as they are."""
        newest: dict[tuple[int, int], int] = {}
        for name in sorted(self.files):
            newest |= {(who, bill): day for who, bill, day in self.files[name]}
        days: dict[int, list[int]] = defaultdict(list)
        for (who, _), day in newest.items():
            days[self.survivors[who]].append(day)
        zone = ZoneInfo(self.zone)
        return {
            who: datetime(2017, 5, sorted(found)[1], 12, tzinfo=zone).astimezone(UTC)
            for who, found in days.items()
            if len(found) > 1
        }

    def _remember(self) -> None:
        for who, when in self._due().items():
            self.was_due[who].add(when)

    def _covered(self) -> set[int]:
        """Return who has it by any of those who are one with them; none if some open.

        What was reserved before a merge goes out as it was reserved, to each of them.
        """
        if not self.shop.home.audit.exists():
            return set()
        if self._customers("status IN ('planned', 'sent', 'unknown')"):
            return set()
        return {self.survivors[who] for who in self._active() | self.revoked}

    def _earned(self) -> set[str]:
        return {earn.earned_badge_id for earn in self.shop.sandbox.earns()}

    def _active(self) -> set[int]:
        return {e.customer_id for e in self.shop.sandbox.earns() if e.is_active}

    def _runs(self, chosen: str) -> list[str]:
        query = f"SELECT DISTINCT planned_run_id FROM audit WHERE {chosen} ORDER BY 1"
        return self.shop.ask(query)["planned_run_id"].to_list()

    def _customers(self, chosen: str) -> list[int]:
        query = f"SELECT customer_id FROM audit WHERE {chosen}"
        return self.shop.ask(query)["customer_id"].to_list()

    @invariant()
    def nobody_has_more_than_one(self) -> None:
        """No customer ever has the badge twice, or on a day that never was due."""
        earns = self.shop.sandbox.earns()
        held = Counter(earn.customer_id for earn in earns if earn.is_active)
        assert all(count == 1 for count in held.values())
        assert all(e.earn_event_date in self.was_due[e.customer_id] for e in earns)

    @invariant()
    def at_rest_all_three_agree(self) -> None:
        """After a run to the end: platform, audit and model say the same."""
        if not self.is_finished:
            return
        audit = audited(self.shop.home)
        stands = {
            row["customer_id"]: row["status"]
            for row in audit.awards
            if row["status"] != "released"
        }
        by_model = {
            **dict.fromkeys(self._active(), "issued"),
            **dict.fromkeys(self.revoked, "revoked"),
        }
        said = {who: by_model.get(who, "refused") for who in stands}

        assert set(self._due()) <= {self.survivors[who] for who in stands}
        assert {w for w, status in said.items() if status == "refused"} <= self.refused
        assert all(said[who] in (status, "refused") for who, status in stands.items())
        assert self._active() | self.revoked == {
            who for who, status in stands.items() if status in ("issued", "revoked")
        }
        ids = {row["earned_badge_id"] for row in audit.awards} - {None}
        assert ids <= self._earned()
        assert broken_chains(audit.events) == []


@pytest.mark.faults(share=False)
@pytest.mark.timeout(900)
def test_any_order_of_doing_things_agrees() -> None:
    """Sandbox, audit and plain Python agree at every rest, whatever came before."""
    run_state_machine_as_test(
        Imports,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=(Phase.generate,),  # making a failure smaller would take an hour
            suppress_health_check=list(HealthCheck),
        ),
    )
