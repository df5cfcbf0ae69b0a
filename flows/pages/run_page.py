"""The report of a run: one page about what it read, awarded, called and left.

Belongs here: gathering what the page `run.html` says from the published audit. Does not
belong here: how it looks (`flows.templates`, `flows.pages.pages`), and the numbers
behind the plots (`transforms.reports.months`, `transforms.reports.call_times`) and the
words (`transforms.reports.run_summary`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.pages.pages import page, plot, write_page
from flows.records.audit import asked
from transforms.errors import Refused
from transforms.reports.call_times import (
    call_rate,
    latency_bins,
    most_in_a_minute,
    quantiles,
)
from transforms.reports.plots import latency_plot, months_plot, rate_plot, statuses_plot
from transforms.reports.run_summary import (
    IMPORTING,
    Row,
    badges,
    balances,
    figures,
    looks,
    summed,
    verdict,
)
from transforms.statuses import AwardStatus

_OF_A_RUN = (
    "report_run",
    "report_results",
    "report_files",
    "report_badges",
    "report_attempts",
    "report_rejected",
    "report_open",
    "report_failures",
    "report_drift",
    "report_alarms",
)
_BY_AWARD = ("report_awards", "report_customers")


def write_run_page(audit: Path, run_id: str, path: Path, now: datetime) -> None:
    """Write the report of one run; raises Refused for a run that is not in the audit.

    Takes the audit as it is published: statuses are those of now, not of the run's end.
    """
    write_page(path, run_page(audit, run_id, now))


def run_page(audit: Path, run_id: str, now: datetime) -> str:
    """Return the report of one run as HTML."""
    found = asked(audit, *_OF_A_RUN, run_id=run_id)
    runs = found["report_run"].to_dicts()
    if not runs:
        raise Refused.of(
            "no_such_run", f"the audit knows no run {run_id}: see `retrobadge runs`"
        )
    run = runs[0]
    found |= asked(audit, *_BY_AWARD, run_id=run_id, is_import=run["kind"] in IMPORTING)
    published_at = asked(audit, "report_published")["report_published"].item()
    definition = _definition(run)
    calls = _calls(run, found["report_attempts"])
    by_status = summed(found["report_awards"], "badge", "status")
    by_month = summed(found["report_awards"], "badge", "month")
    statuses = [s for s in map(str, AwardStatus) if s in set(by_status["status"])]
    return page(
        "run.html",
        timezone=definition["timezone"],
        run=run,
        description=definition["description"],
        verdict=verdict(run),
        took=_seconds(run["started_at"], run["ended_at"]),
        figures=figures(run, by_status),
        looks=looks(run, found, by_month),
        balances=balances(run, found, by_status),
        badges=badges(found, by_status),
        statuses=statuses,
        totals=dict(summed(by_status, "status").iter_rows()),
        months_svg=plot(months_plot(by_month), "Awards by month and badge"),
        statuses_svg=plot(statuses_plot(by_status), "Awards by status and badge"),
        calls=calls,
        rate_svg=calls.rate_svg,
        latency_svg=calls.latency_svg,
        reasons=found["report_open"].to_dicts(),
        failures=found["report_failures"].to_dicts(),
        files=found["report_files"].to_dicts(),
        rejected=found["report_rejected"].to_dicts(),
        platform_badges=found["report_badges"].to_dicts(),
        facts=_facts(run),
        written_at=now,
        published_at=published_at,
    )


def _definition(run: Row) -> dict[str, str]:
    """Return what the page says of the definition as it was when the run began."""
    told = tomllib.loads(run["definition_text"]) if run["definition_text"] else {}
    return {
        "timezone": str(told.get("timezone", "UTC")),
        "description": str(told.get("description", "")),
    }


def _seconds(began_at: datetime, ended_at: datetime | None) -> float | None:
    return None if ended_at is None else (ended_at - began_at).total_seconds()


@dataclass
class _Calls:
    """What the page says of the platform: in words, as plots, and by what came back."""

    words: str
    earn_calls: int
    reads: int
    rate_svg: Any = None
    rate_words: str = ""
    latency_svg: Any = None
    latency_words: str = ""
    results: Sequence[Row] = ()


def _calls(run: Row, attempts: pl.DataFrame) -> _Calls:
    earn_calls = run["earn_calls"] or 0
    told = _Calls("", earn_calls, (run["calls"] or 0) - earn_calls)
    told.words = (
        f"{earn_calls:,} earnBulk calls and {told.reads:,} other calls: logins, and "
        "reads of badges and customers."
    )
    if attempts.is_empty():
        return told
    limit = run.get("requests_per_minute") or 0
    times = attempts["started_at"]
    most = most_in_a_minute(times)
    took = _seconds(times.min(), times.max())  # type: ignore[arg-type]
    customers = int(attempts["customers"].sum())
    told.words += (
        f" They carried {customers:,} customers, {customers / attempts.height:.1f} a "
        f"call, and began within {_length(took)}; most in any 60 seconds: {most:,}, "
    )
    told.words += f"of {limit:,} allowed." if limit else "with no limit set."
    rate = call_rate(times, has_limit=bool(limit))
    if rate is not None:
        told.rate_svg = plot(rate_plot(rate, limit=limit), "Calls per minute")
        told.rate_words = (
            f"earnBulk calls per minute, in steps of {_length(rate.seconds)}. Reads "
            "count against the limit too and are not in this plot."
        )
    bins = latency_bins(attempts["seconds"])
    if bins is not None:
        told.latency_svg = plot(latency_plot(bins), "Calls by how long they took")
        half, most_of, nearly_all = quantiles(attempts["seconds"], (0.5, 0.95, 0.99))
        told.latency_words = (
            f"Half of the calls took {half * 1000:,.0f} ms at most, 95 % "
            f"{most_of * 1000:,.0f} ms, 99 % {nearly_all * 1000:,.0f} ms."
        )
    told.results = (
        attempts.group_by("result", "http_status")
        .agg(calls=pl.len(), customers=pl.col("customers").sum())
        .sort("calls", descending=True)
        .to_dicts()
    )
    return told


def _length(seconds: float | None) -> str:
    if not seconds:
        return "a moment"
    if seconds < 90:
        return f"{seconds:,.0f} s"
    minutes = seconds / 60
    return f"{minutes:,.0f} min" if minutes < 120 else f"{minutes / 60:,.1f} h"


def _facts(run: Row) -> str:
    versions = orjson.loads(run["versions"] or b"{}")
    told = [f"{name} {version}" for name, version in versions.items()]
    told.insert(0, f"Platform {run['target']}")
    if run["definition_digest"]:
        told.insert(1, f"definition {run['definition_digest'][:16]}")
    if run["plan_digest"]:
        told.insert(2, f"plan {run['plan_digest'][:16]}")
    return " · ".join(told)
