"""The way of the data, as one table of contents: from definition to audit.

Belongs here: the order of the steps. Does not belong here: any decision (`transforms`),
any Prefect (the flow files), any screen (`flows.cli.main`).

One body runs with and without Prefect: `Steps` decides whether a step is a plain call
or a task. Both give the same rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from flows.cluster import Cluster, Each, Told, on_cluster
from flows.files.accepted_activity import rejected_rows
from flows.files.activity_files import AcceptedFile, accept_file
from flows.files.customer_files import CustomerFiles, read_customers
from flows.files.finding import EarlierFile, find_files, read_definition
from flows.files.held_earns import held_earns
from flows.files.mapping import mapped_file
from flows.home import Home
from flows.pages.pages import start_plotting
from flows.planning import (
    Plan,
    Qualified,
    Selection,
    made_plan,
    selected_customers,
    selected_ids,
)
from flows.plans.approving import refuse_moved, refuse_unapproved
from flows.plans.folder import SavedPlan, new_folder, write_plan
from flows.platform.capillary import Platform, utc_now
from flows.platform.pacing import Pace
from flows.platform.preflight import read_badges
from flows.qualifying import accept_there, qualified_on, refuse_unshared
from flows.records.audit import earlier_files, earned_ids
from flows.records.known import known_in_parts, of_audit, of_ledger
from flows.runs.job import Job, Screen
from flows.runs.plan_counts import refuse_unbalanced
from flows.runs.report import Report
from flows.runs.run import Run, open_run
from flows.sending.sending import (
    choose_canaries,
    reserve_plan,
    send_reserved,
    settle_earlier,
)
from flows.settings import Settings
from transforms.activity.accepted import quality_faults
from transforms.customers.survivors import by_survivors
from transforms.definition.definition import Definition
from transforms.errors import Fault, FilesRefused, PlanRefused
from transforms.platform.badges import BadgeFacts


class Steps(Protocol):
    """Runs one named step of the pipeline."""

    async def __call__(
        self, name: str, function: Callable[..., Any], *values: Any
    ) -> Any:
        """Return what the function returns, awaited if it is a coroutine."""


async def plainly(name: str, function: Callable[..., Any], *values: Any) -> Any:
    """Run a step as a plain call."""
    del name
    result = function(*values)
    return await result if isinstance(result, Awaitable) else result


@dataclass
class Work:
    """What the steps of a run or a plan work with."""

    job: Job
    settings: Settings
    home: Home
    screen: Screen = field(default_factory=Screen)
    steps: Steps = plainly
    # How a cluster is used, where the settings name one.
    cluster: Cluster = on_cluster
    # The plan that is to be carried out, exactly; None plans and sends in one go.
    wanted: SavedPlan | None = None


async def import_badges(work: Work) -> Report:
    """Read, qualify, award, reserve, send, settle, publish; return the run's report.

    With a plan that is wanted, exactly that one is carried out, or refused for what has
    moved. A refusal before the first earnBulk call is raised, after it has been
    recorded.
    """
    steps, job = work.steps, work.job
    definition = await steps("read definition", read_definition, job.definition)
    kind = "apply" if work.wanted else "import"
    with open_run(
        job, work.settings, work.home, definition, kind=kind, screen=work.screen
    ) as run:
        await steps("settle earlier runs", settle_earlier, run)
        facts = await steps("read badges", preflight, work, run.platform, definition)
        run.record_badges(facts)
        read = await read_activity(work, definition, run.as_of)
        plan = await steps("plan", plan_for, work, definition, read, facts, run)
        run.record_plan(plan)
        refuse_unbalanced(plan)
        refuse_or_confirm(work, run, plan)
        canaries = await steps("choose canaries", choose_canaries, run, plan)
        await refuse_changed_badges(work, run, facts)
        await steps("reserve", reserve_plan, run, plan, canaries)
        await steps("send and settle", send_reserved, run, canaries)
    return run.report


async def resume_badges(work: Work) -> Report:
    """Settle, and send what earlier runs reserved, byte for byte as it was reserved.

    No definition is read: a request row holds all that sending it needs.
    """
    with open_run(
        work.job, work.settings, work.home, None, kind="resume", screen=work.screen
    ) as run:
        run.bind()
        await work.steps("send and settle", send_reserved, run)
    return run.report


async def plan_badges(work: Work) -> tuple[Plan, Path]:
    """Say what a run would do, and write it down for review; nothing is sent."""
    steps = work.steps
    definition = await steps("read definition", read_definition, work.job.definition)
    start_plotting()
    pace = Pace(work.home.pace, work.settings.capillary_requests_per_minute)
    platform = Platform(work.settings, pace)
    facts = await steps("read badges", preflight, work, platform, definition)
    read = await read_activity(work, definition, utc_now())
    plan = await steps("plan", plan_for, work, definition, read, facts, None)
    refuse_unbalanced(plan)
    made_at = utc_now()
    folder = new_folder(work.home, plan, made_at)
    write_plan(plan, folder, rejected_rows(read.accepted.files), made_at=made_at)
    return plan, folder


async def preflight(
    work: Work, platform: Platform, definition: Definition
) -> Mapping[str, BadgeFacts]:
    """Read every badge of the definition; refuse what can't be awarded."""
    work.screen.stage("reading the badges", None)
    as_of = work.job.as_of or utc_now()
    async with platform.line() as line:
        return await read_badges(line, definition.badges, as_of=as_of)


async def refuse_changed_badges(
    work: Work, run: Run, facts: Mapping[str, BadgeFacts]
) -> None:
    """Read the badges again before anything is reserved: the plan stands on them."""
    if run.definition is None:
        return
    again = await preflight(work, run.platform, run.definition)
    moved = [name for name, one in facts.items() if again[name].digest != one.digest]
    if moved:
        raise PlanRefused(
            *(
                Fault(
                    code="badge_changed",
                    message="the badge was changed on the platform while the plan was "
                    "made: run again",
                    column=f"badges.{name}",
                )
                for name in moved
            )
        )


@dataclass(frozen=True)
class Accepted:
    """What was read: activity files, and whose their rows are if that is mapped."""

    files: list[AcceptedFile]
    customers: CustomerFiles | None

    @property
    def survivors(self) -> pl.DataFrame | None:
        """Return who stands for merged customers; None where nothing is mapped."""
        return None if self.customers is None else self.customers.known.survivors


@dataclass(frozen=True, kw_only=True)
class Read:
    """The activity of a run as of an instant; `found` where a cluster qualified it."""

    accepted: Accepted
    as_of: datetime
    found: Qualified | None = None


async def read_activity(work: Work, definition: Definition, now: datetime) -> Read:
    """Accept every file; where there is a cluster, qualify on it as well."""
    as_of = work.job.as_of or now
    async with spread(work) as each:
        accepted = await accept(work, definition, each)
        if work.settings.retrobadge_dask is None:
            return Read(accepted=accepted, as_of=as_of)
        work.screen.stage("qualifying on the cluster", len(definition.badges))
        found = await qualified_on(
            each,
            accepted.files,
            definition,
            as_of,
            folder=work.home.accepted,
            told=work.screen.advance,
        )
        return Read(accepted=accepted, as_of=as_of, found=found)


@asynccontextmanager
async def spread(work: Work) -> AsyncIterator[Each]:
    """Give what runs a function on many values: on the cluster, or one by one here."""
    address = work.settings.retrobadge_dask
    if address is None:
        yield partial(_one_by_one, work.steps)
        return
    async with work.cluster(address, work.home.accepted) as each:
        yield each


async def _one_by_one(
    steps: Steps,
    name: str,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    told: Told,
) -> list[Any]:
    results: list[Any] = []
    for values in calls:
        results.append(await steps(name, function, *values))
        told(len(results))
    return results


async def accept(
    work: Work, definition: Definition, each: Each | None = None
) -> Accepted:
    """Accept every activity file; refuse when too much of them is bad.

    A file that the run before this one stood on must not vanish unnoticed.
    """
    if each is None:
        async with spread(work) as opened:
            return await accept(work, definition, opened)
    earlier = [
        EarlierFile(source=source, path=path, fingerprint=fingerprint)
        for source, path, fingerprint in earlier_files(work.home.audit, definition.name)
    ]
    found = await work.steps("find files", find_files, definition, earlier)
    customers = await work.steps("read customers", read_customers, definition)
    work.screen.stage("accepting activity files", len(found))
    function = accept_file if work.settings.retrobadge_dask is None else accept_there
    calls = [(file, definition, work.home.accepted) for file in found]
    files = _read_once(await each("accept", function, calls, work.screen.advance))
    refuse_unshared(files)
    if customers is not None:
        # What the customer files say is much to send, and their rows are here.
        given = (definition, customers, work.home.accepted)
        files = [
            await work.steps("map customers", mapped_file, file, *given)
            for file in files
        ]
    if faults := quality_faults(files, definition.quality):
        raise FilesRefused(*faults)
    return Accepted(files, customers)


def _read_once(files: Sequence[AcceptedFile]) -> list[AcceptedFile]:
    """Let only the first of files with one content be read now, whoever read it."""
    first: dict[str, int] = {}
    for index, file in enumerate(files):
        first.setdefault(file.fingerprint, index)
    # Of those that are accepted at once any may be the one that was read.
    read = {file.fingerprint for file in files if file.is_read_now}
    return [
        replace(
            file,
            is_read_now=first[file.fingerprint] == index and file.fingerprint in read,
        )
        for index, file in enumerate(files)
    ]


def plan_for(
    work: Work,
    definition: Definition,
    read: Read,
    facts: Mapping[str, BadgeFacts],
    run: Run | None,
) -> Plan:
    """Qualify and award, against the ledger of a run, or against the audit.

    What was awarded or held before customers were merged counts for their survivors.
    """
    work.screen.stage("qualifying and awarding", len(definition.badges))
    done: list[str] = []

    survivors = read.accepted.survivors
    reading = of_audit(work.home.audit) if run is None else of_ledger(run.ledger)
    listed = held_earns(definition)
    if run is not None:
        ours = run.earned_ids(listed)
    else:
        ours = earned_ids(work.home.audit, listed)
    asked = selection(work.job, definition, read.as_of)
    if asked.customer_ids is not None:
        ids = pl.DataFrame(
            {"customer_id": sorted(asked.customer_ids)},
            schema={"customer_id": pl.Int64},
        )
        wanted = by_survivors(ids, survivors)["customer_id"]
        asked = replace(asked, customer_ids=frozenset(wanted))

    def one_more(badge: str) -> None:
        work.screen.advance(len(done))
        done.append(badge)

    with known_in_parts(reading, survivors, work.home.accepted) as known:
        return made_plan(
            definition,
            read.accepted.files,
            facts,
            asked,
            known_awards=known,
            held=not_ours(listed, ours, survivors),
            customers=read.accepted.customers,
            target=work.settings.target,
            batch_size=work.settings.capillary_batch_size,
            requests_per_minute=work.settings.capillary_requests_per_minute,
            on_badge=one_more,
            found=read.found,
        )


def not_ours(
    held: pl.DataFrame | None, ours: pl.Series, survivors: pl.DataFrame | None
) -> pl.DataFrame | None:
    """Leave out listed earns that the ledger itself made: they cover nothing anew.

    What merged customers earned is their survivors'.
    """
    if held is None:
        return None
    others = held.filter(
        ~pl.col("earned_badge_id").is_in(ours.implode()).fill_null(value=False)
    )
    return by_survivors(others, survivors)


def selection(job: Job, definition: Definition, now: Any) -> Selection:
    """Return what is asked for, its selection files read; refuse unknown badges."""
    known = {badge.name for badge in definition.badges}
    if strangers := sorted(set(job.badges) - known):
        raise PlanRefused.of(
            "badge_not_defined",
            f"{', '.join(strangers)}: the definition has {', '.join(sorted(known))}",
            file=definition.path,
        )
    return Selection(
        as_of=job.as_of or now,
        earned_from=job.earned_from,
        earned_until=job.earned_until,
        badges=job.badges,
        customer_ids=selected_customers(job.customers_file)
        if job.customers_file
        else None,
        award_ids=frozenset(selected_ids(job.awards_file, "award_id"))
        if job.awards_file
        else None,
    )


def refuse_or_confirm(work: Work, run: Run, plan: Plan) -> None:
    """Refuse what a guard refuses, what has moved, and what nobody said yes to."""
    if work.wanted is not None:
        refuse_moved(run, work.wanted, plan)
    if plan.refused_by:
        raise PlanRefused(*plan.refused_by)
    if plan.wants_approval:
        refuse_unapproved(run, plan, work.wanted)
    if plan.planned.is_empty() or work.job.is_confirmed or work.screen.confirm(plan):
        return
    raise PlanRefused.of(
        "not_confirmed",
        f"nobody said yes to {plan.planned.height:,} awards: look at "
        "`retrobadge plan`, then run with --yes",
    )
