"""Runs that end before their end: killed, stopped, interrupted, out of disk."""

from __future__ import annotations

import resource
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rig_death import DEFINITION, EARN_BULK, Mortal, mortal, wanted
from rig_faults import BADGE

from flows.sandbox import Fault
from transforms.errors import HomeRefused, PlanRefused

# Of so many deaths the plain run dies one; `-m faults` dies them all.
SHARE = 12
SIDE_BY_SIDE = 3


@dataclass(frozen=True)
class Death:
    """A moment of a call, counted from the first earnBulk on, after some faults."""

    call: int
    moment: str
    faults: tuple[Fault, ...] = ()
    senders: int = 8

    def __str__(self) -> str:
        """Return the name of its test."""
        struck = "after a fault" if self.faults else "plain"
        ahead = "" if self.senders > 2 else ", marked ahead"
        return f"{self.moment} {self.call}, {struck}{ahead}"


# The third call of a badge is not answered, so that there is something to settle.
STRUCK = (Fault("crash", nth=3, badge_meta_id=BADGE), Fault("part_drop", nth=6))
DEATHS = [
    *(Death(call, moment) for call in range(1, 16) for moment in ("asked", "answered")),
    *(Death(call, "answered", STRUCK) for call in range(14, 26)),
    # With few senders most requests are marked while the one before is out.
    *(
        Death(call, moment, senders=senders)
        for call, senders in ((2, 1), (4, 2), (6, 1), (7, 2))
        for moment in ("asked", "answered")
    ),
    *(Death(call, "answered", STRUCK, senders=1) for call in (5, 16)),
]


def _died(death: Death) -> tuple[int | None, int, Counter[str], tuple[int, ...], int]:
    """Kill a run at a moment, finish it; return how that ended and what is there."""
    with (
        tempfile.TemporaryDirectory(prefix="death-") as place,
        mortal(Path(place), CAPILLARY_MAX_IN_FLIGHT=str(death.senders)) as it,
    ):
        for fault in death.faults:
            it.brand.sandbox.fault(fault)
        it.at((death.call, death.moment), it.kill)
        process = it.start()
        process.communicate(timeout=60)
        runs = it.finish()
        score = it.score()
        earns = len(it.brand.sandbox.earns())
        return process.returncode, runs, score.statuses, score.four, earns


@pytest.fixture(scope="module")
def died(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """Die the deaths that were asked for, a few side by side."""
    items = [item for item in request.session.items if item.path == request.path]
    specs = [getattr(item, "callspec", None) for item in items]
    deaths = [spec.params["death"] for spec in specs if spec and "death" in spec.params]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {str(death): pool.submit(_died, death) for death in deaths}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "death",
    [
        pytest.param(
            death, id=str(death), marks=pytest.mark.faults(share=n % SHARE == 0)
        )
        for n, death in enumerate(DEATHS)
    ],
)
def test_a_run_that_was_killed_is_finished_by_the_next(
    death: Death, died: dict[str, Future[Any]]
) -> None:
    """Wherever it dies, every award ends as exactly one earn."""
    status, _, statuses, four, earns = died[str(death)].result()

    assert status in {-signal.SIGKILL, 0}  # 0: there was no such call
    assert four == (0, 0, 0, 0)
    assert statuses == {"issued": 29}
    assert earns == 29


@pytest.mark.faults(share=False)
@pytest.mark.parametrize(
    "pattern",
    ["ledger.duckdb", "audit.duckdb.new", "pace.json", "backups/.2*", "backups/2*"],
)
def test_a_run_that_was_killed_while_writing_is_finished(
    tmp_path: Path, pattern: str
) -> None:
    """Half a ledger, audit, or backup stops no later run."""
    with mortal(tmp_path) as it:
        process = it.start()
        root, looking = it.brand.home.root, threading.Event()
        while not list(root.glob(pattern)) and process.poll() is None:
            looking.wait(0.0005)
        process.kill()
        process.communicate()
        it.finish()

        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("call", [2, 9])
def test_a_run_that_stands_still_is_not_overtaken(tmp_path: Path, call: int) -> None:
    """Stopped between mark and send it keeps the lock, and then goes on."""
    with mortal(tmp_path) as it:
        stands_still, may_go_on = threading.Event(), threading.Event()

        def stand_still() -> bool:
            it.signal(signal.SIGSTOP)
            stands_still.set()
            return may_go_on.wait(30)

        it.at((call, "asked"), stand_still)
        process = it.start()
        assert stands_still.wait(60)
        with pytest.raises(HomeRefused, match=f"process {process.pid}"):
            it.brand.run()
        it.signal(signal.SIGCONT)
        may_go_on.set()
        status, _ = it.ended(process)
        it.finish()

        assert status in {0, 3}
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


def _interrupted(it: Mortal, call: int, times: int = 1) -> tuple[int, dict[str, Any]]:
    """Run, and press Ctrl-C while a call is out, so many times."""

    def press() -> bool:
        for _ in range(times):
            it.signal(signal.SIGINT)
            threading.Event().wait(0.1)  # a finger is no faster
        return True

    it.at((call, "asked"), press)
    return it.ended(it.start())


@pytest.mark.faults(share=True)
def test_ctrl_c_finishes_what_is_in_flight_and_the_next_run_plans_anew(
    tmp_path: Path,
) -> None:
    """Exit 4, recorded; what was never sent is withdrawn and planned again."""
    with mortal(tmp_path, CAPILLARY_MAX_IN_FLIGHT="1") as it:
        status, told = _interrupted(it, 5)
        interrupted = it.score()
        left = it.brand.statuses()
        runs = it.brand.ask("SELECT status, message FROM runs").rows()

        assert (status, told["status"], told["stopped_by"]) == (
            4,
            "stopped",
            "interrupted",
        )
        assert runs == [("stopped", "interrupted")]
        assert interrupted.four == (0, 0, 0, 0)
        assert set(left) == {"issued", "planned"}
        # Nothing is left between: what was in flight was awaited and written down.
        assert left["issued"] == len(it.brand.sandbox.earns())

        it.finish()
        events = it.brand.ask("SELECT to_status FROM award_events")["to_status"]
        assert (events == "withdrawn").sum() == left["planned"]
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


@pytest.mark.faults(share=True)
def test_resume_sends_what_was_reserved_byte_for_byte(tmp_path: Path) -> None:
    """Whatever became of the definition: resume needs none, and computes nothing."""
    with mortal(tmp_path, CAPILLARY_MAX_IN_FLIGHT="1") as it:
        _interrupted(it, 5)
        reserved = _reserved_bodies(it)
        it.brand.definition.write_text("this is no definition any more")
        it.relay.bodies.clear()
        it.relay.act = lambda _number, _moment: True
        status, told = it.ended(it.start("resume", "--json"))

        assert (status, told["status"]) == (0, "finished")
        assert sorted(it.relay.bodies) == sorted(reserved)
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


def _reserved_bodies(it: Mortal) -> list[bytes]:
    """Return the bodies of what is planned, put together from the audit's rows."""
    rows = it.brand.ask(
        "SELECT any_value(r.body_head) || string_agg(q.customer_id::VARCHAR, ',' "
        "ORDER BY q.position) || any_value(r.body_tail) FROM requests AS r "
        "JOIN request_awards AS q USING (request_id) WHERE r.status = 'planned' "
        "GROUP BY r.request_id"
    )
    return [text.encode() for (text,) in rows.iter_rows()]


@pytest.mark.faults(share=False)
def test_ctrl_c_twice_stops_at_once_and_is_safe(tmp_path: Path) -> None:
    """The call that is out is not waited for; the next run settles it."""
    with mortal(tmp_path, CAPILLARY_TIMEOUT_SECONDS="19", **_LONG) as it:
        it.brand.sandbox.fault("slow", nth=4, seconds=16)
        began = time.monotonic()
        status, _ = _interrupted(it, 5, times=2)
        took = time.monotonic() - began
        recorded = it.brand.ask("SELECT status, message FROM runs").rows()
        it.brand.environ["CAPILLARY_TIMEOUT_SECONDS"] = "0.4"
        it.brand.environ["CAPILLARY_RESEND_AFTER_SECONDS"] = "0.8"
        it.finish()

        assert (status, recorded) == (4, [("stopped", "interrupted")])
        assert took < 15
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


_LONG = {"CAPILLARY_RESEND_AFTER_SECONDS": "38"}


@pytest.mark.faults(share=False)
def test_ctrl_c_does_not_wait_for_a_pause(tmp_path: Path) -> None:
    """Where the platform asked for an hour, nothing is in flight: it ends at once."""
    with mortal(tmp_path) as it:
        wait = {"retry_after": "seconds", "retry_after_seconds": 3000}
        it.brand.sandbox.fault("too_many", nth=4, **wait)
        # With more senders all other requests may be out already: nothing would wait.
        it.brand.environ.update(CAPILLARY_MAX_IN_FLIGHT="1")

        def press_soon() -> bool:
            threading.Timer(0.5, it.signal, [signal.SIGINT]).start()
            return True

        it.at((4, "answered"), press_soon)
        status, told = it.ended(it.start())

        assert (status, told["stopped_by"]) == (4, "interrupted")
        assert it.score().four == (0, 0, 0, 0)


@pytest.mark.faults(share=False)
def test_ctrl_c_while_earlier_requests_are_settled_plans_nothing_new(
    tmp_path: Path,
) -> None:
    """A run that was stopped before it planned does not go on to plan."""
    with mortal(tmp_path) as it:
        it.at((9, "answered"), it.kill)
        it.start().communicate()
        killed = it.relay.calls
        earns = len(it.brand.sandbox.earns())
        it.brand.write(june="who,bill,at\n77,x1,2017-05-09T12:00:00\n")
        status, told = _interrupted(it, killed + 1)
        planned = it.brand.ask("SELECT 1 FROM audit WHERE customer_id = 77")

        assert (status, told["status"]) == (4, "stopped")
        assert planned.is_empty()
        assert len(it.brand.sandbox.earns()) - earns <= 3
        assert it.score().doubled == 0


EDITS: dict[str, Callable[[Mortal], None]] = {
    "name": lambda it: it.brand.define(DEFINITION, **{'"visits"': '"other-visits"'}),
    "reference": lambda it: _claimed(it, "other"),
    "zone": lambda it: it.brand.define(DEFINITION, New_York="Los_Angeles"),
    "precision": lambda it: it.brand.define(
        DEFINITION, repeat='precision = "exact"\nrepeat'
    ),
    "batch size": lambda it: it.brand.environ.update(CAPILLARY_BATCH_SIZE="7"),
    "threshold": lambda it: it.brand.define(
        DEFINITION, **{"at_least = 2": "at_least = 1"}
    ),
    "whole rule": lambda it: it.brand.define(
        DEFINITION, **{"at_least = 1": "at_least = 2"}
    ),
}


def _claimed(it: Mortal, reference_id: str) -> None:
    """Claim the badges for another reference too, and let the definition say so."""
    for badge in it.brand.sandbox.badges:
        claim = badge.claims[0].model_copy(update={"reference_id": reference_id})
        claims = (*badge.claims, claim)
        it.brand.sandbox.add_badge(badge.badge_meta_id, badge.name, claims=claims)
    it.brand.define(DEFINITION, **{'"retro"': f'"{reference_id}"'})


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("edit", EDITS)
def test_edits_between_death_and_resume_double_nothing(
    tmp_path: Path, edit: str
) -> None:
    """What was reserved goes out as it was; what the edit would change comes after."""
    with mortal(tmp_path) as it:
        it.at((7, "answered"), it.kill)
        it.start().communicate()
        EDITS[edit](it)
        it.relay.act = lambda _number, _moment: True
        status, told = it.ended(it.start("resume", "--json"))

        assert status == 0, told
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("edit", EDITS)
def test_edits_between_death_and_run_double_nothing(tmp_path: Path, edit: str) -> None:
    """A run with another definition plans anew, or refuses; nobody earns more."""
    with mortal(tmp_path) as it:
        it.at((7, "answered"), it.kill)
        it.start().communicate()
        EDITS[edit](it)
        it.relay.act = lambda _number, _moment: True
        refused: set[str] = set()
        try:
            for _ in range(3):
                it.brand.run()
        except PlanRefused as refusal:
            refused = {fault.code for fault in refusal.faults}
        _nobody_has_more_than_due(it)

        if refused:
            it.brand.define(DEFINITION)
            it.finish()
        is_another = edit in {"name", "threshold", "whole rule"}
        assert refused == ({"guard_take_over"} if is_another else set())
        _nobody_has_more_than_due(it)
        assert len(it.brand.sandbox.earns()) == 29


def _nobody_has_more_than_due(it: Mortal) -> None:
    """Compare earns with what is due, whatever their dates have become."""
    due = Counter((one.badge_meta_id, one.customer_id) for one in wanted(it.visits))
    earns = it.brand.sandbox.earns()
    there = Counter((earn.badge_meta_id, earn.customer_id) for earn in earns)
    assert not there - due


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("call", [1, 2, 3, 5, 8, 12, 15])
@pytest.mark.parametrize("moment", ["asked", "answered"])
def test_a_full_disk_stops_the_run_and_doubles_nothing(
    tmp_path: Path, call: int, moment: str
) -> None:
    """What can't be written down is not gone on from: exit 5, and later all is well."""
    with mortal(tmp_path) as it:

        def fill() -> bool:
            assert it.process is not None
            largest = max(_size(it, name) for name in ("ledger.duckdb", _WAL))
            limits = (largest, largest)
            resource.prlimit(it.process.pid, resource.RLIMIT_FSIZE, limits)
            return True

        it.at((call, moment), fill)
        process = it.start()
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        it.finish()

        assert process.returncode == 5
        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("size", [1_000, 20_000, 300_000, 600_000])
def test_a_disk_that_is_full_from_the_start_doubles_nothing(
    tmp_path: Path, size: int
) -> None:
    """What can't be reserved is not sent, what can't be published is told."""
    with mortal(tmp_path, PYTHONDONTWRITEBYTECODE="1") as it:
        process = it.start()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode in {1, 5}
        it.finish()

        assert it.score().four == (0, 0, 0, 0)
        assert len(it.brand.sandbox.earns()) == 29


_WAL = "ledger.duckdb.wal"


def _size(it: Mortal, name: str) -> int:
    path = it.brand.home.root / name
    return path.stat().st_size if path.exists() else 0


@pytest.mark.faults(share=False)
def test_an_older_ledger_is_refused(tmp_path: Path) -> None:
    """A copy brought back by hand has forgotten what was sent since."""
    with mortal(tmp_path) as it:
        it.brand.write(may="who,bill,at\n1,b1,2017-05-01T12:00:00\n")
        it.brand.run()
        shutil.copy(it.brand.home.ledger, tmp_path / "copy")
        it.brand.write(june="who,bill,at\n2,b2,2017-05-01T12:00:00\n")
        it.brand.run()
        sent = len(it.relay.bodies)
        shutil.copy(tmp_path / "copy", it.brand.home.ledger)
        with pytest.raises(HomeRefused, match="restore"):
            it.brand.run()

        assert len(it.relay.bodies) == sent


@pytest.mark.faults(share=False)
@pytest.mark.parametrize("keeps_audit", [True, False])
def test_a_ledger_of_another_home_is_refused(
    tmp_path: Path, *, keeps_audit: bool
) -> None:
    """A ledger that this home does not know is not written to, audit or no audit."""
    (tmp_path / "other").mkdir()
    with mortal(tmp_path) as it, mortal(tmp_path / "other") as other:
        for one in (it, other):
            one.brand.run()
        shutil.copy(other.brand.home.ledger, it.brand.home.ledger)
        if not keeps_audit:
            it.brand.home.audit.unlink()
        sent = len(it.relay.bodies)
        with pytest.raises(HomeRefused):
            it.brand.run()

        assert len(it.relay.bodies) == sent


@pytest.mark.faults(share=False)
def test_a_home_whose_ledger_and_audit_are_gone_is_known_by_its_backups(
    tmp_path: Path,
) -> None:
    """Without either, a new ledger would issue everything again."""
    with mortal(tmp_path) as it:
        it.brand.run()
        sent = len(it.relay.bodies)
        it.brand.home.ledger.unlink()
        it.brand.home.audit.unlink()
        with pytest.raises(HomeRefused, match="restore"):
            it.brand.run()

        assert len(it.relay.bodies) == sent


@pytest.mark.faults(share=False)
def test_a_home_used_against_another_host_is_refused_before_anything(
    tmp_path: Path,
) -> None:
    """Even a run that would find nothing to do names both platforms."""
    (tmp_path / "other").mkdir()
    with mortal(tmp_path) as it, mortal(tmp_path / "other") as other:
        it.brand.run()
        was = it.brand.environ["CAPILLARY_BASE_URL"]
        it.brand.environ["CAPILLARY_BASE_URL"] = now = other.relay_address
        with pytest.raises(HomeRefused) as refused:
            it.brand.run()

        assert was in str(refused.value)
        assert now in str(refused.value)
        assert not [c for c in other.brand.sandbox.calls if c.path.endswith(EARN_BULK)]
