"""Finds the awards that a command speaks of, and says who speaks.

Belongs here: reading a run's awards from the ledger or the audit, and the selection
files. Does not belong here: which of them are meant (`transforms.awards.selection`),
and what becomes of them (`flows.commands.retrying`, `flows.commands.undo`).

The awards of a run are those that it planned, and those that it was the last to touch:
so what a later `resume` settled, or a `revoke` that was killed had begun, is found
under that run's name too.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass

import polars as pl

from flows.home import Home
from flows.planning import selected_customers, selected_ids
from flows.records.audit import asked as asked_of_audit
from flows.runs.job import Job
from flows.runs.run import Run
from flows.sending.tracking import ACTOR
from transforms.awards.selection import Wanted, run_named


@dataclass(frozen=True)
class RunAwards:
    """A run that was asked for, and its awards as they stand now."""

    run_id: str
    awards: pl.DataFrame


def in_ledger(run: Run, asked: str) -> RunAwards:
    """Return the awards of the run that was asked for; `latest` is never this run."""
    run_id = latest_other(run, asked)
    return RunAwards(run_id, run.ledger.read("awards_of_run", run_id=run_id))


def latest_other(run: Run, asked: str) -> str:
    """Return the id of the run that was asked for; `latest` is never this run."""
    run_ids = run.ledger.read("run_ids")["run_id"]
    return run_named([one for one in run_ids if one != run.run_id], asked)


def in_audit(home: Home, asked: str) -> RunAwards:
    """Return the same as it was published last: for looking, without the ledger."""
    run_id = run_asked_for(home, asked)
    query = "awards_of_run_in_audit"
    return RunAwards(run_id, asked_of_audit(home.audit, query, run_id=run_id)[query])


def run_asked_for(home: Home, asked: str) -> str:
    """Return the id of the run that was asked for, as it was published last."""
    run_ids = asked_of_audit(home.audit, "run_ids")["run_ids"]
    return run_named(run_ids["run_id"].to_list(), asked)


def wanted(
    job: Job, *, statuses: tuple[str, ...], codes: tuple[int, ...] = ()
) -> Wanted:
    """Return what a job selects, its selection files read."""
    customers, awards = job.customers_file, job.awards_file
    return Wanted(
        statuses=statuses,
        codes=codes,
        badges=job.badges,
        customer_ids=selected_customers(customers) if customers else None,
        award_ids=frozenset(selected_ids(awards, "award_id")) if awards else None,
    )


def person() -> str:
    """Return the name under which whoever runs this is logged in on this machine."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # no such user: a container's number
        return ACTOR
