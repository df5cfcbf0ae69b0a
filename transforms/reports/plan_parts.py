"""Says what a plan stands on, and what of it has moved since it was looked at.

Belongs here: the digest for which an approval is given, and the comparison of a plan
that was written down with the same plan made anew. Does not belong here: making plans
(`flows.planning`), and keeping them (`flows.plans.folder`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from transforms.awards.awards import PlanResult
from transforms.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from transforms.platform.badges import BadgeFacts

# As many customers are named where awards have moved.
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class PlanParts:
    """What a plan stands on, and the awards that it comes to.

    `files`: path → fingerprint; `badges`: name → digest of the platform's facts;
    `windows`: name → those facts in words. `awards`: award_id, badge, customer_id,
    earn_event_date Datetime(us, UTC), result (planned or held). `customers`: customer
    files and suppression lists, path → SHA-256.
    """

    target: str
    definition_digest: str
    files: Mapping[str, str]
    badges: Mapping[str, str]
    windows: Mapping[str, str]
    awards: pl.DataFrame
    customers: Mapping[str, str] = field(default_factory=dict)


def plan_digest(parts: PlanParts) -> str:
    """Return a SHA-256 of everything that an approval is given for."""
    said = [parts.target, parts.definition_digest]
    said += sorted(parts.files.values())
    said += [f"{path}={digest}" for path, digest in sorted(parts.customers.items())]
    said += [f"{name}={digest}" for name, digest in sorted(parts.badges.items())]
    digest = hashlib.sha256("\x1f".join(said).encode())
    earned = pl.col("earn_event_date").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    line = pl.concat_str("award_id", earned, "result", separator="|")
    lines = parts.awards.sort("award_id").select(line=line)
    for some in lines.iter_slices(_LINES_AT_A_TIME):
        digest.update(("\x1f" + some["line"].str.join("\x1f").item()).encode())
    return digest.hexdigest()


_LINES_AT_A_TIME = 100_000


def window_words(facts: BadgeFacts) -> str:
    """Return what a plan rests on of a badge, for people to compare."""
    starts_at, expires_at = facts.starts_at, facts.expires_at
    told = [
        f"open from {starts_at.isoformat()}" if starts_at else "open from ever",
        f"to {expires_at.isoformat()}" if expires_at else "without end",
        facts.earn_type or "no earn type",
        f"earned ones expire {facts.expiry_text or 'as the platform says'}",
        "active" if facts.is_active else "not active",
        *facts.limits,
    ]
    return ", ".join(told)


def moved_faults(then: PlanParts, now: PlanParts, made: pl.Series) -> list[Fault]:
    """Return what has changed between a plan and the same plan made anew.

    `made`: the ids of all awards that the ledger has now.
    """
    return [
        Fault(code=f"plan_{code}", message=f"{message}: {_ADVICE}", column=place)
        for code, message, place in _moved(then, now, made)
    ]


_ADVICE = "plan again, and look at the new plan"


def _moved(
    then: PlanParts, now: PlanParts, made: pl.Series
) -> Iterator[tuple[str, str, str | None]]:
    if then.target != now.target:
        told = f"the plan was made for {then.target}, the settings name {now.target}"
        yield "target_moved", told, "CAPILLARY_BASE_URL"
    if then.definition_digest != now.definition_digest:
        told = (
            "the definition was edited since the plan was made "
            f"({then.definition_digest[:12]} then, {now.definition_digest[:12]} now)"
        )
        yield "definition_moved", told, None
    yield from _moved_files(then.files, now.files, "activity file", "activity.files")
    yield from _moved_files(
        then.customers, now.customers, "customer file", "customers.files"
    )
    for name in sorted(then.badges.keys() | now.badges.keys()):
        if then.badges.get(name) != now.badges.get(name):
            told = (
                f"badge {name} is another on the platform: then "
                f"{then.windows.get(name, 'not there')}; now "
                f"{now.windows.get(name, 'not there')}"
            )
            yield "badge_moved", told, f"badges.{name}"
    yield from _moved_awards(then.awards, now.awards, made)


def _moved_files(
    then: Mapping[str, str], now: Mapping[str, str], what: str, key: str
) -> Iterator[tuple[str, str, str | None]]:
    for path in sorted(then.keys() | now.keys()):
        if path not in now:
            yield "files_moved", f"{what} {path} is gone", key
        elif path not in then:
            yield "files_moved", f"{what} {path} is new", key
        elif then[path] != now[path]:
            told = f"{what} {path} has another content, or is read otherwise"
            yield "files_moved", told, key


def _moved_awards(
    then: pl.DataFrame, now: pl.DataFrame, made: pl.Series
) -> Iterator[tuple[str, str, str | None]]:
    """Say which awards the plan had that are not planned now, and the other way."""
    keys = ["award_id", "badge", "customer_id", "earn_event_date", "result"]
    both = then.select(keys).join(
        now.select(keys), on="award_id", how="full", suffix="_now", coalesce=True
    )
    was, stands = pl.col("badge").is_not_null(), pl.col("badge_now").is_not_null()
    is_made = pl.col("award_id").is_in(made.implode())
    date, date_now = pl.col("earn_event_date"), pl.col("earn_event_date_now")
    held = str(PlanResult.HELD)
    kinds = {
        "of the plan are in the ledger by now": was & ~stands & is_made,
        "of the plan are no longer earned": was & ~stands & ~is_made,
        "are earned now that the plan does not have": ~was,
        "have another earn date now": was & stands & date.ne_missing(date_now),
        f"are {held} in one of the two plans and not in the other": (
            was & stands & (pl.col("result") != pl.col("result_now"))
        ),
    }
    for told, is_moved in kinds.items():
        rows = both.filter(is_moved).select(
            pl.coalesce("badge", "badge_now"),
            pl.coalesce("customer_id", "customer_id_now"),
        )
        code = "ledger_moved" if "ledger" in told else "awards_moved"
        if not rows.is_empty():
            yield code, f"{rows.height:,} awards {told} ({_named(rows)})", None


def _named(rows: pl.DataFrame) -> str:
    counts = rows.group_by("badge").len().sort("badge")
    told = ", ".join(f"{badge}: {count:,}" for badge, count in counts.iter_rows())
    first = rows.sort("customer_id")["customer_id"].unique(maintain_order=True)
    named = ", ".join(map(str, first.head(_NAMED)))
    more = ", …" if first.len() > _NAMED else ""
    return f"{told}; customers {named}{more}"
