"""Sums a run up for a person: how it ended, its figures, its books, what to look at.

Belongs here: what the report of a run says, of rows and counts of the audit. Does not
belong here: asking the audit (`flows.pages.run_page`), and how a page looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from transforms.awards.awards import PlanResult
from transforms.reports.months import odd_months

Row = Mapping[str, Any]
# Answers of the queries `report_…` of `flows/sql`, by their names.
Found = Mapping[str, pl.DataFrame]

# Runs that plan awards; every other kind settles, revokes or compares what others did.
IMPORTING = frozenset({"import", "apply"})
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


def verdict(run: Row) -> dict[str, str]:
    """Return `tone` (good, warn, bad) and `words` about how the run ended."""
    tone, words = _VERDICTS.get(run["status"], ("warn", ""))
    if run["status"] == "finished" and not run["awards_planned"]:
        words = "Nothing was left to award, and the books balance."
    return {"tone": tone, "words": words if run["kind"] in IMPORTING else ""}


def figures(run: Row, by_status: pl.DataFrame) -> list[Row]:
    """Return the key figures: name, value, and a word more.

    `by_status`: badge, status, awards.
    """
    counts = Counter(dict(summed(by_status, "status").iter_rows()))
    good = counts["issued"] + counts["already_earned"]
    whole = counts.total()
    is_import = run["kind"] in IMPORTING
    named = [
        ("awards planned" if is_import else "awards settled", f"{whole:,}", ""),
        ("arrived", f"{good:,}", f"{good / whole:.1%}" if whole else ""),
        ("not arrived", f"{whole - good:,}", ""),
        ("earnBulk calls", f"{run['earn_calls'] or 0:,}", ""),
        ("other calls", f"{(run['calls'] or 0) - (run['earn_calls'] or 0):,}", ""),
    ]
    if is_import and run["rows_read"] is not None:
        named.insert(0, ("rows read", f"{run['rows_read']:,}", ""))
    if run["waiting"]:
        named.append(("of earlier runs", f"{run['waiting']:,}", "wait"))
    return [{"name": name, "value": value, "more": more} for name, value, more in named]


def looks(run: Row, found: Found, by_month: pl.DataFrame) -> list[Row]:
    """Return what a person should look at, worst first: tone and words."""
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


def balances(run: Row, found: Found, by_status: pl.DataFrame) -> list[Row]:
    """Return each equation of the books as two sides."""
    if run["rows_read"] is None:
        return []
    files, results = found["report_files"], found["report_results"]
    attempts = found["report_attempts"].filter(
        pl.col("result").is_in(["answered", "refused"])
    )
    planned = [*((str(r), _sum(results, str(r))) for r in PlanResult)]
    statuses = dict(summed(by_status, "status").iter_rows())
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


def badges(found: Found, by_status: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a row per badge: awards, customers, days, and how many stand where."""
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


def summed(counts: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Return how many awards there are, by these columns."""
    return counts.group_by(by).agg(pl.col("awards").sum()).sort(by)


def _sum(frame: pl.DataFrame, column: str) -> int:
    return int(frame[column].sum() or 0) if not frame.is_empty() else 0
