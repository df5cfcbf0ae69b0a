"""The bench of the fault suite: a crowd of awards, a sandbox that fails, and the score.

Belongs here: running the sending of a crowd, once or until nothing is left to do, and
`python tests/rig_faults.py`, which measures every fault and prints the table as
Markdown. Does not belong here: the score (`rig_scoring`), the faults (`faults_known`).

The bench reserves and sends by the functions that a run uses (`flows.sending.sending`),
without the files and the plan before them, so that hundreds of runs fit into a minute.
All waits are those of a run whose settings are tiny; scenes that wait run side by side.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl
import pytest
from rig_scoring import Audit, Score, Wanted, broken_chains, scored

from flows.home import Home, open_home
from flows.platform.capillary import Platform, utc_now
from flows.platform.pacing import Pace
from flows.platform.preflight import FirstAwards
from flows.records.audit import open_audit
from flows.records.ledger import Ledger, open_ledger
from flows.records.publishing import Publisher
from flows.runs.job import Job, Screen
from flows.runs.report import Report
from flows.runs.run import Run
from flows.sandbox import Earn, Fault, Sandbox, Switches
from flows.sending.reserve import Reservation, reserve
from flows.sending.sending import send_reserved, settle_earlier
from flows.settings import Settings, settings
from transforms.awards.awards import award_id
from transforms.awards.batches import cut_requests
from transforms.platform.evidence import Verdict

T = TypeVar("T")

BADGE = "653de334b3cda7078c7c68eb"
OTHER_BADGE = "653de334b3cda7078c7c68ec"
REFERENCE = "retro"
# The smallest waits that a loaded machine keeps: a call, a rest, the quiet time.
TIMEOUT, REST, QUIET = 0.3, 0.6, 1.0
# How many scenes run side by side: they mostly wait.
SIDE_BY_SIDE = 5


class Due(NamedTuple):
    """An award to be sent."""

    customer_id: int
    occurrence: int = 1
    day: int = 1
    badge_meta_id: str = BADGE
    series: str = ""

    @property
    def earn_event_date(self) -> datetime:
        """Return the noon of its day."""
        return datetime(2017, 5, self.day, 16, tzinfo=UTC)

    @property
    def wanted(self) -> Wanted:
        """Return what should be on the platform."""
        return Wanted(self.badge_meta_id, self.customer_id, self.earn_event_date)


# Customers with several awards of one badge: see `crowd`.
TWICE = frozenset(range(1, 7))


def crowd() -> list[Due]:
    """Return 26 awards in 10 calls: two badges, two days, customers who earn twice.

    Customers 1 to 3 earn the badge twice on one day, in requests that wait for each
    other; 4 to 6 on two days. Customer 1 is the canary too.
    """
    first_day = [Due(customer) for customer in range(1, 13)]
    twice_a_day = [Due(customer, occurrence=2) for customer in (1, 2, 3)]
    second_day = [Due(customer, occurrence=2, day=2) for customer in (4, 5, 6)]
    others = [Due(customer, badge_meta_id=OTHER_BADGE) for customer in range(1, 5)]
    newcomers = [Due(customer, day=2) for customer in range(13, 17)]
    return [*first_day, *twice_a_day, *second_day, *newcomers, *others]


@dataclass
class Bench:
    """A crowd, a home, and a sandbox to send to."""

    sandbox: Sandbox
    home: Home
    settings: Settings
    due: Sequence[Due]
    theirs: list[Earn] = field(default_factory=list)
    runs: int = 0

    def send(self, *, resumes: bool = False, stop_at: datetime | None = None) -> Report:
        """Run once: settle, reserve what the ledger has not, send, publish."""
        self.runs += 1
        ledger = open_ledger(self.home.ledger, now=utc_now())
        try:
            run = self._run(ledger, stop_at)
            asyncio.run(self._sent(run, resumes=resumes))
            run.publisher.publish(utc_now())
            return run.made_report()
        finally:
            ledger.close()

    def _run(self, ledger: Ledger, stop_at: datetime | None) -> Run:
        pace = Pace(self.home.pace, self.settings.capillary_requests_per_minute)
        return Run(
            run_id=f"run-{self.runs}",
            job=Job(stop_at=stop_at),
            settings=self.settings,
            home=self.home,
            ledger=ledger,
            platform=Platform(self.settings, pace),
            screen=Screen(),
            as_of=utc_now(),
            definition=None,
            publisher=Publisher(ledger, self.home.audit),
        )

    async def _sent(self, run: Run, *, resumes: bool) -> None:
        if resumes:
            await send_reserved(run)
            return
        await settle_earlier(run)
        await send_reserved(run, self._reserved(run))

    def _reserved(self, run: Run) -> dict[str, FirstAwards]:
        """Reserve what the ledger lacks, with a canary per badge that needs one."""
        awards = _frame(self.due, self.settings.target)
        known = [
            run.known_awards(badge, series)["award_id"]
            for badge, series in {(one.badge_meta_id, one.series) for one in self.due}
        ]
        missing = awards.filter(~pl.col("award_id").is_in(pl.concat(known).implode()))
        if missing.is_empty():
            return {}
        canaries = self._canaries(run, missing)
        requests, members = cut_requests(
            missing,
            batch_size=self.settings.capillary_batch_size,
            canaries=[one.canary_award_id for one in canaries.values()],
        )
        run.bind()
        reserve(
            run.ledger, run.run_id, Reservation(missing, requests, members), utc_now()
        )
        return canaries

    def _canaries(self, run: Run, missing: pl.DataFrame) -> dict[str, FirstAwards]:
        verdicts = {
            row["badge_meta_id"]: Verdict(**row)
            for row in run.ledger.read("newest_verdicts").iter_rows(named=True)
        }
        chosen = {}
        for badge in missing["badge_meta_id"].unique().sort():
            if not self.settings.capillary_canary or badge in verdicts:
                continue
            first = missing.filter(pl.col("badge_meta_id") == badge).row(0, named=True)
            customer_id = first["customer_id"]
            count = len(self.sandbox.earns(badge, customer_id))
            chosen[badge] = FirstAwards(badge, first["award_id"], customer_id, count)
        return chosen

    def score(self) -> Score:
        """Return the score as things stand, from sandbox, audit and crowd."""
        audit = audited(self.home)
        assert broken_chains(audit.events) == []
        # Every call that the platform saw is on record as an attempt.
        calls = self.sandbox.calls
        seen = Counter(one.request_id for one in calls if one.endpoint == "earnBulk")
        assert not seen - Counter(one["request_id"] for one in audit.attempts)
        wanted = [one.wanted for one in self.due]
        return scored(wanted, self.sandbox.earns(), audit, theirs=self.theirs)


def audited(home: Home) -> Audit:
    """Return what a home's audit says."""
    connection = open_audit(home.audit)

    def rows(query: str) -> list[dict[str, Any]]:
        return connection.sql(query).pl().rows(named=True)

    try:
        return Audit(
            awards=rows("SELECT * FROM audit"),
            events=rows("SELECT * FROM award_events ORDER BY event_seq"),
            attempts=rows("SELECT request_id, result FROM attempts"),
            request_awards=rows("SELECT * FROM request_awards"),
        )
    finally:
        connection.close()


def _frame(due: Sequence[Due], target: str) -> pl.DataFrame:
    """Return the awards as a plan gives them to the ledger."""
    instant = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        [
            {
                "award_id": award_id(
                    target=target,
                    badge_meta_id=one.badge_meta_id,
                    series=one.series,
                    customer_id=one.customer_id,
                    occurrence=one.occurrence,
                ),
                "badge": f"{one.badge_meta_id}{one.series}",
                "badge_meta_id": one.badge_meta_id,
                "series": one.series,
                "customer_id": one.customer_id,
                "occurrence": one.occurrence,
                "qualified_at": one.earn_event_date,
                "earn_event_date": one.earn_event_date,
                "earn_day": one.earn_event_date.date(),
            }
            for one in sorted(due)
        ],
        schema_overrides={"qualified_at": instant, "earn_event_date": instant},
    ).with_columns(
        import_name=pl.lit("bench"),
        badge_name=pl.lit("Bench"),
        reference_id=pl.lit(REFERENCE),
        generation=pl.lit(1, pl.Int32),
        rule_kind=pl.lit("activity_count"),
        rule_digest=pl.lit("bench"),
        target=pl.lit(target),
        result=pl.lit("planned"),
        held_earned_badge_id=pl.lit(None, pl.String),
    )


@contextmanager
def bench(
    folder: Path,
    *,
    switches: Mapping[str, Any] | None = None,
    faults: Iterable[Fault] = (),
    due: Sequence[Due] | None = None,
    is_oauth: bool = False,
    clock: Callable[[], datetime] = utc_now,
    **environ: str,
) -> Iterator[Bench]:
    """Give a crowd a home and a sandbox with its badges, its faults scripted."""
    chosen = Switches(**(switches or {}))
    with Sandbox.running(switches=chosen, clock=clock) as sandbox:
        for badge in (BADGE, OTHER_BADGE):
            sandbox.add_badge(badge, reference_id=REFERENCE)
        for fault in faults:
            sandbox.fault(fault)
        found = {**_environment(sandbox, is_oauth=is_oauth), **environ}
        yield Bench(
            sandbox=sandbox,
            home=open_home(folder),
            settings=settings(found, env_file=None),
            due=crowd() if due is None else due,
        )


def _environment(sandbox: Sandbox, *, is_oauth: bool) -> dict[str, str]:
    login = {
        "CAPILLARY_USERNAME": sandbox.username,
        "CAPILLARY_PASSWORD": sandbox.password,
    }
    if is_oauth:
        login = {
            "CAPILLARY_CLIENT_KEY": sandbox.client_key,
            "CAPILLARY_CLIENT_SECRET": sandbox.client_secret,
        }
    return {
        **login,
        "CAPILLARY_BASE_URL": sandbox.base_url,
        "CAPILLARY_BATCH_SIZE": "4",
        "CAPILLARY_REQUESTS_PER_MINUTE": "0",
        "CAPILLARY_TIMEOUT_SECONDS": str(TIMEOUT),
        "CAPILLARY_RESEND_AFTER_SECONDS": str(REST),
        "CAPILLARY_SETTLE_AFTER_SECONDS": str(QUIET),
    }


@dataclass(frozen=True)
class Seen:
    """What came of one scene: after its first run, and when nothing is left to do."""

    first: Score
    last: Score
    first_exit: int
    last_exit: int
    runs: int
    is_balanced: bool
    stopped_badges: Mapping[str, str]
    earn_calls: int

    @property
    def is_wrong(self) -> bool:
        """Whether anything was lost, doubled, misreported, unexplained, unbalanced."""
        return bool(any(self.first.four + self.last.four)) or not self.is_balanced

    @property
    def told(self) -> list[str]:
        """Return in words what is wrong."""
        return [*self.first.told, *self.last.told]


def played(
    *,
    faults: Iterable[Fault] = (),
    switches: Mapping[str, Any] | None = None,
    most_runs: int = 4,
    **more: Any,
) -> Seen:
    """Run a scene in a folder of its own, then again until nothing is left to do.

    The faults strike the first run only: whatever is left of them is cleared.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        bench(Path(folder), switches=switches, faults=faults, **more) as made,
    ):
        report = made.send()
        first = last = made.score()
        first_exit = report.exit_status
        stopped, is_balanced = report.stopped_badges, report.is_balanced
        made.sandbox.clear_faults()
        while made.runs < most_runs and _is_left(last):
            report = made.send()
            is_balanced &= report.is_balanced
            last = made.score()
        calls = [call for call in made.sandbox.calls if call.endpoint == "earnBulk"]
        return Seen(
            first=first,
            last=last,
            first_exit=first_exit,
            last_exit=report.exit_status,
            runs=made.runs,
            is_balanced=is_balanced,
            stopped_badges=stopped,
            earn_calls=len(calls),
        )


def _is_left(score: Score) -> bool:
    return any(score.statuses[one] for one in ("planned", "sent", "unknown"))


class Playing(Generic[T]):
    """Plays scenes side by side, in their order; a test takes what came of its own.

    A machine under load makes calls time out that no fault has struck, and leaves more
    open than the scene does. So a scene in which nothing is wrong, and which does not
    end `as_expected`, is played once more.
    """

    def __init__(
        self,
        play: Callable[[T], Seen],
        scenes: Sequence[T],
        as_expected: Callable[[T, Seen], bool] = lambda _scene, _seen: True,
    ) -> None:
        self._play = play
        self._as_expected = as_expected
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._seen = {
            str(scene): self._pool.submit(self._played, scene) for scene in scenes
        }

    def _played(self, scene: T) -> Seen:
        seen = self._play(scene)
        if seen.is_wrong or self._as_expected(scene, seen):
            return seen
        return self._play(scene)

    def __getitem__(self, scene: T) -> Seen:
        """Return what came of a scene, when it is over."""
        return self._seen[str(scene)].result()

    def close(self) -> None:
        """Leave out what nobody waits for."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def playing(
    request: pytest.FixtureRequest,
    name: str,
    play: Callable[[T], Seen],
    as_expected: Callable[[T, Seen], bool],
) -> Iterator[Playing[T]]:
    """Play the scenes of all tests of this module that were asked for.

    They are the values of the parameter `name`.
    """
    items = [item for item in request.session.items if item.path == request.path]
    specs = [getattr(item, "callspec", None) for item in items]
    scenes = [spec.params[name] for spec in specs if spec and name in spec.params]
    made = Playing(play, scenes, as_expected)
    try:
        yield made
    finally:
        made.close()
