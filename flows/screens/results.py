"""How the results of commands look that are no import: retry, undo, repair, claims.

Belongs here: words and layout. Does not belong here: tables, JSON and progress as such
(`flows.screens.terminal`), and what is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.screens.terminal import printable, show_table

if TYPE_CHECKING:
    from flows.commands.claiming import Claims, Listed
    from flows.commands.undo import Preview
    from flows.repair.rebuilt import Repaired
    from flows.runs.report import Report


def show_preview(found: Preview, *, verb: str) -> None:
    """Print what `revoke` or `release` would take."""
    out = sys.stdout.write
    out(f"{verb} would take, of run {found.run_id}\n")
    show_table(None, ["badge", "awards"], found.badges.items())
    minutes = f", {found.minutes:.0f} minutes at the limit" if found.minutes else ""
    out(f"{found.awards:,} awards, {found.calls:,} calls{minutes}\n")
    if found.without_id:
        out(f"{found.without_id:,} of them have no earned_badge_id and are kept\n")
    others = ", ".join(f"{n:,} {status}" for status, n in found.others.items())
    if others:
        out(f"left as they are: {others}\n")
    if found.awards:
        out(f"nothing was done yet; `retrobadge {verb} … --yes` does it\n")


def show_undone(report: Report) -> None:
    """Print what came of a `revoke` or `release`."""
    told = report.told
    _show_head(report)
    show_table(
        None,
        ["", "awards"],
        [[n, told[n]] for n in ("revoked", "kept", "failed", "released") if n in told],
    )
    for name in ("kept_because", "failed_because"):
        reasons: Mapping[str, int] = told.get(name, {})
        for why, count in reasons.items():
            verb = name.removesuffix("_because")
            sys.stdout.write(f"{verb}, {count:,}: {printable(why)}\n")
    if told.get("left"):
        sys.stdout.write(f"{told['left']:,} awards were not come to\n")
    _show_end(report)


def show_retried(report: Report) -> None:
    """Print what came of a `retry`."""
    told = report.told
    if not told.get("awards_retried"):
        sys.stdout.write(f"run {told.get('of_run')} has nothing to be retried\n")
    else:
        _show_head(report)
        show_table(None, ["retried", "awards"], told.get("statuses", {}).items())
    counts = report.counts
    sys.stdout.write(
        f"{counts['earn_calls']:,} earnBulk calls for {counts['requests']:,} requests, "
        f"{counts['calls']:,} calls in all\n"
    )
    _show_end(report)


def _show_head(report: Report) -> None:
    told = f"run {report.run_id}: {report.status}, of run {report.told.get('of_run')}"
    sys.stdout.write(f"{told}\n")


def _show_end(report: Report) -> None:
    out = sys.stdout.write
    for fault in report.errors:
        out(f"look: {printable(fault)}\n")
    if report.stopped_by:
        out(f"stopped: {report.stopped_by}; run the same again to go on\n")
    for badge, reason in report.stopped_badges.items():
        out(f"badge {badge} stopped: {printable(reason)}\n")


def show_repaired(repaired: Repaired) -> None:
    """Print what came of a `restore` or `recover`."""
    out = sys.stdout.write
    out(
        f"the ledger is back, made of {printable(repaired.source)}, up to event "
        f"{repaired.sequence:,}\n"
    )
    for note in repaired.notes:
        out(f"note: {printable(note)}\n")
    if repaired.kept_aside:
        out(f"the file that was there is kept as {repaired.kept_aside}\n")
    if repaired.maybe_sent:
        out(
            f"{repaired.maybe_sent:,} awards seemed planned and may have been sent "
            "since: they are unknown until they are settled\n"
        )
    if repaired.settled:
        out(f"{repaired.settled:,} awards were settled by reading back\n")
    if repaired.open_awards:
        out(
            f"{repaired.open_awards:,} awards are open: `retrobadge resume` settles "
            "them\n"
        )


def show_badges(found: Listed) -> None:
    """Print the platform's badges."""
    show_table(
        None,
        [
            "id",
            "name",
            "earn type",
            "status",
            "from",
            "until",
            "an earn expires",
            "owners",
            "claims",
        ],
        (
            [
                badge.badge_meta_id,
                badge.name,
                badge.earn_type,
                badge.status if badge.is_active else f"{badge.status}, deactivated",
                badge.starts_at.date() if badge.starts_at else None,
                badge.expires_at.date() if badge.expires_at else None,
                badge.expiry_text or badge.earned_expiry,
                ", ".join(badge.owners),
                ", ".join(_claim_text(claim) for claim in badge.claims),
            ]
            for badge in found.badges
        ),
    )
    if found.is_cut:
        sys.stdout.write("there may be more badges: narrow it with --name\n")


def _claim_text(claim: Any) -> str:
    ended = "" if claim.is_active else " (ended)"
    return f"{claim.owner_type}/{claim.reference_id}{ended}"


def show_claims(found: Claims) -> None:
    """Print the claims that a definition needs, and where each stands."""
    show_table(
        f"claims for {found.definition.name}",
        ["badge", "id", "name on the platform", "reference_id", "claim"],
        (
            [c.badge, c.badge_meta_id, c.badge_name, c.reference_id, found.state(c)]
            for c in found.claims
        ),
    )
