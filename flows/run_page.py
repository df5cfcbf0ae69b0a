"""The report of a run: one page about what it read, awarded, called and left.

Belongs here: gathering what the page `run.html` says from the published audit. Does not
belong here: how it looks (`flows.templates`, `flows.pages`), and the numbers behind the
plots (`transforms.months`, `transforms.call_times`).
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.audit import asked
from flows.pages import page, plot, write_page
from transforms.awards import PlanResult
from transforms.call_times import call_rate, latency_bins, most_in_a_minute, quantiles
from transforms.errors import Refused
from transforms.months import odd_months
from transforms.plots import latency_plot, months_plot, rate_plot, statuses_plot
from transforms.statuses import AwardStatus

Row = Mapping[str, Any]

# Runs that plan awards; every other kind settles, revokes or compares what others did.
IMPORTING = frozenset({"import", "apply"})
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
_VERDICTS = {
    "finished": ("good", "Everything came to a good end, and the books balance."),
    "finished_open": ("warn", "Finished, but some awards wait for a person."),
    "stopped": (
        "warn",
        "Stopped part-way: run again, and it goes on where it stopped.",
    ),
    "refused": ("bad", "Refused before anything was sent: change something first."),
    "unbalanced": ("bad", "The books do not balance: a person must look."),
    "running": ("warn", "Still running, or ended without a word: look at `runs`."),
}


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
    by_status = _summed(found["report_awards"], "badge", "status")
    by_month = _summed(found["report_awards"], "badge", "month")
    statuses = [s for s in map(str, AwardStatus) if s in set(by_status["status"])]
    return page(
        "run.html",
        timezone=definition["timezone"],
        run=run,
        description=definition["description"],
        verdict=_verdict(run),
        took=_seconds(run["started_at"], run["ended_at"]),
        figures=_figures(run, by_status, calls),
        looks=_looks(run, found, by_month),
        balances=_balances(run, found, by_status),
        badges=_badges(found, by_status),
        statuses=statuses,
        totals=dict(_summed(by_status, "status").iter_rows()),
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


def _summed(counts: pl.DataFrame, *by: str) -> pl.DataFrame:
    return counts.group_by(by).agg(pl.col("awards").sum()).sort(by)


def _seconds(began_at: datetime, ended_at: datetime | None) -> float | None:
    return None if ended_at is None else (ended_at - began_at).total_seconds()


def _verdict(run: Row) -> dict[str, str]:
    tone, words = _VERDICTS.get(run["status"], ("warn", ""))
    if run["status"] == "finished" and not run["awards_planned"]:
        words = "Nothing was left to award, and the books balance."
    return {"tone": tone, "words": words if run["kind"] in IMPORTING else ""}


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


def _figures(run: Row, by_status: pl.DataFrame, calls: _Calls) -> list[Row]:
    counts = Counter(dict(_summed(by_status, "status").iter_rows()))
    good = counts["issued"] + counts["already_earned"]
    whole = counts.total()
    is_import = run["kind"] in IMPORTING
    named = [
        ("awards planned" if is_import else "awards settled", f"{whole:,}", ""),
        ("arrived", f"{good:,}", f"{good / whole:.1%}" if whole else ""),
        ("not arrived", f"{whole - good:,}", ""),
        ("earnBulk calls", f"{calls.earn_calls:,}", ""),
        ("other calls", f"{calls.reads:,}", ""),
    ]
    if is_import and run["rows_read"] is not None:
        named.insert(0, ("rows read", f"{run['rows_read']:,}", ""))
    if run["waiting"]:
        named.append(("of earlier runs", f"{run['waiting']:,}", "wait"))
    return [{"name": name, "value": value, "more": more} for name, value, more in named]


def _looks(
    run: Row, found: Mapping[str, pl.DataFrame], by_month: pl.DataFrame
) -> list[Row]:
    """Return what a person should look at, worst first."""
    looks: list[Row] = []
    if run["message"]:
        looks.append({"tone": "bad", "words": run["message"]})
    looks += [
        {
            "tone": "warn",
            "words": f"{row['awards']:,} awards are {row['status']}: {row['meaning']} "
            f"{row['what_to_do']}",
        }
        for row in found["report_open"].iter_rows(named=True)
    ]
    looks += [
        {
            "tone": "warn",
            "words": f"Alarm of request {row['request_id']}: {row['alarms']}",
        }
        for row in found["report_alarms"].iter_rows(named=True)
    ]
    words = {
        "earn_date": "would get another earn date from today's activity",
        "not_qualified": "would not be granted by today's activity",
        "merged": "would be gained by customers who were merged",
    }
    looks += [
        {
            "tone": "warn",
            "words": f"{awards:,} awards of earlier runs {words.get(kind, kind)}. "
            "They stay as they are; see `drift` in the audit.",
        }
        for kind, awards in found["report_drift"].iter_rows()
    ]
    looks += [{"tone": "", "words": str(odd)} for odd in odd_months(by_month)]
    return looks


def _balances(
    run: Row, found: Mapping[str, pl.DataFrame], by_status: pl.DataFrame
) -> list[Row]:
    """Return each equation of the books as two sides."""
    if run["rows_read"] is None:
        return []
    files, results = found["report_files"], found["report_results"]
    attempts = found["report_attempts"].filter(
        pl.col("result").is_in(["answered", "refused"])
    )
    planned = [*((str(r), _sum(results, str(r))) for r in PlanResult)]
    statuses = dict(_summed(by_status, "status").iter_rows())
    listed = ("listed_well", "listed_failed", "missing")
    sides = [
        (
            "Rows",
            "rows read",
            run["rows_read"],
            [
                (name, run[f"rows_{name}"])
                for name in (
                    "accepted",
                    "rejected",
                    "duplicate",
                    "anonymous",
                    "unmapped",
                    "excluded",
                )
            ],
        ),
        (
            "Activity",
            "accepted rows",
            run["rows_accepted"],
            [
                ("current", _sum(files, "rows_current")),
                ("superseded", _sum(files, "rows_superseded")),
            ],
        ),
        ("Qualifications", "qualified", run["awards_qualified"], planned),
    ]
    if run["kind"] in IMPORTING and run["status"] != "refused":
        sides.append(
            (
                "Awards",
                "planned and held",
                (run["awards_planned"] or 0) + (run["awards_held"] or 0),
                [*statuses.items(), ("withdrawn", run["awards_withdrawn"] or 0)],
            )
        )
    if not attempts.is_empty():
        sides.append(
            (
                "Answers",
                "customers asked for",
                _sum(attempts, "customers"),
                [
                    (name.replace("_", " "), _sum(attempts, f"customers_{name}"))
                    for name in listed
                ],
            )
        )
    return [_balance(*side) for side in sides if side[2] or any(n for _, n in side[3])]


def _balance(
    name: str, whole: str, total: int | None, parts: Iterable[tuple[str, int | None]]
) -> Row:
    counted = [(part.replace("_", " "), count or 0) for part, count in parts]
    summed = sum(count for _, count in counted)
    return {
        "name": name,
        "whole": whole,
        "total": total,
        "parts": [(part, count) for part, count in counted if count],
        "sum": summed,
        "is_even": summed == total,
    }


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0) if not frame.is_empty() else 0


def _badges(
    found: Mapping[str, pl.DataFrame], by_status: pl.DataFrame
) -> list[dict[str, Any]]:
    days = (
        found["report_awards"]
        .group_by("badge")
        .agg(
            pl.col("awards").sum(),
            pl.col("first_day").min(),
            pl.col("last_day").max(),
        )
        .join(found["report_customers"], on="badge", how="left")
        .sort("badge")
    )
    names = dict(found["report_badges"].select("badge", "badge_name").iter_rows())
    statuses: dict[str, dict[str, int]] = {}
    for badge, status, awards in by_status.iter_rows():
        statuses.setdefault(badge, {})[status] = awards
    return [
        {
            **row,
            "name": row["badge"],
            "platform_name": names.get(row["badge"]),
            "statuses": statuses[row["badge"]],
        }
        for row in days.iter_rows(named=True)
    ]


def _facts(run: Row) -> str:
    versions = orjson.loads(run["versions"] or b"{}")
    told = [f"{name} {version}" for name, version in versions.items()]
    told.insert(0, f"Platform {run['target']}")
    if run["definition_digest"]:
        told.insert(1, f"definition {run['definition_digest'][:16]}")
    if run["plan_digest"]:
        told.insert(2, f"plan {run['plan_digest'][:16]}")
    return " · ".join(told)
