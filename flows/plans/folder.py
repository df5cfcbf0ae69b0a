"""Keeps plans: a folder each, for review, for approval and for carrying out.

Belongs here: what a plan's folder holds, finding one again, and reading it. Does not
belong here: making a plan (`flows.planning`), its page (`flows.pages.plan_page`), and
what has moved since (`transforms.reports.plan_parts`).

    plan.html             for people
    awards.csv            one row per award, inert in a spreadsheet
    awards.parquet        the same, typed
    rejected_rows.csv     a line per reason
    mend/                 the rejected rows themselves, to be mended and fed back
    selected_….csv        customers or awards that were asked for, if any
    plan.json             for programs; written last: with it the plan is whole
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.files.activity_files import AcceptedFile
from flows.home import Home, open_private
from flows.pages.pages import write_page
from flows.pages.plan_page import begun_months, plan_html
from flows.planning import Plan
from transforms.awards.awards import PlanResult
from transforms.errors import PlanRefused
from transforms.reports.months import odd_months
from transforms.reports.plan_parts import PlanParts
from transforms.spreadsheets import inert

_JSON, _PAGE, _AWARDS = "plan.json", "plan.html", "awards.parquet"
_CUSTOMERS, _AWARD_IDS = "selected_customers.csv", "selected_awards.csv"


@dataclass(frozen=True, kw_only=True)
class SavedPlan:
    """A plan as it was written down: enough to make it anew and compare.

    `customers_file` and `awards_file` are the selections in its folder, if any.
    """

    plan_id: str
    folder: Path
    digest: str
    definition: Path
    as_of: datetime
    earned_from: date | None
    earned_until: date | None
    badges: tuple[str, ...]
    customers_file: Path | None
    awards_file: Path | None
    awards_planned: int
    wants_approval: bool
    is_refused: bool
    parts: PlanParts


def new_folder(home: Home, plan: Plan, made_at: datetime) -> Path:
    """Return a folder for a plan that no other plan has."""
    name = f"{made_at:%Y%m%dT%H%M%S}-{plan.digest[:8]}"
    number, folder = 1, home.plans / name
    while folder.exists():
        number += 1
        folder = home.plans / f"{name}-{number}"
    return folder


def write_plan(
    plan: Plan, folder: Path, rejected: pl.DataFrame, *, made_at: datetime
) -> None:
    """Write a plan into a folder of its own, which only its owner may read."""
    # It reads files, and what reads files is heavy; most commands write no plan.
    from flows.plans.mending import write_mends  # noqa: PLC0415

    months = begun_months(plan)
    folder.mkdir(parents=True, mode=0o700)
    with open(folder / _AWARDS, "wb", opener=open_private) as file:
        plan.awards.write_parquet(file)
    _write_csv(folder / "awards.csv", plan.awards)
    _write_csv(folder / "rejected_rows.csv", rejected)
    plan.mends = write_mends(plan.definition, plan.files, folder)
    asked = plan.selection
    if asked.customer_ids is not None:
        ids = pl.Series("customer_id", sorted(asked.customer_ids), dtype=pl.Int64)
        _write_csv(folder / _CUSTOMERS, ids.to_frame())
    if asked.award_ids is not None:
        ids = pl.Series("award_id", sorted(asked.award_ids), dtype=pl.String)
        _write_csv(folder / _AWARD_IDS, ids.to_frame())
    html = plan_html(plan, folder.name, rejected, made_at=made_at, months=months)
    write_page(folder / _PAGE, html)
    option = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z
    said = {**plan_json(plan, folder), "made_at": made_at, **_for_making_anew(plan)}
    with open(folder / _JSON, "wb", opener=open_private) as file:
        file.write(orjson.dumps(said, option=option))


def _write_csv(path: Path, frame: pl.DataFrame) -> None:
    with open(path, "wb", opener=open_private) as file:
        inert(frame).write_csv(file)


def plan_json(plan: Plan, folder: Path) -> dict[str, Any]:
    """Return what `plan --json` prints; `plan.json` has it too."""
    return {
        "plan_id": folder.name,
        "path": str(folder),
        "digest": plan.digest,
        "import_name": plan.definition.name,
        "definition_digest": plan.definition.digest,
        "target": plan.target,
        "as_of": plan.selection.as_of,
        "refused_by": [fault.as_json() for fault in plan.refused_by],
        "wants_approval": plan.wants_approval,
        **file_counts(plan.files),
        "rows_superseded": sum(plan.rows_superseded.values()),
        "mend": [asdict(mend) for mend in plan.mends],
        "awards_qualified": plan.qualified,
        "awards_in_ledger": plan.count(PlanResult.IN_LEDGER),
        "awards_held": plan.count(PlanResult.HELD),
        "awards_planned": plan.count(PlanResult.PLANNED),
        "calls": plan.calls,
        "calls_if_exact": sum(one.calls_exact for one in plan.summaries),
        "minutes": round(plan.minutes, 1),
        "badges": plan.results,
        "months": plan.by_month.to_dicts(),
        "odd_months": [str(odd) for odd in odd_months(plan.by_month)],
        "canaries": {
            one.badge.name: one.canary_customer_id
            for one in plan.summaries
            if one.canary_customer_id is not None
        },
        "warnings": plan.warnings,
    }


def _for_making_anew(plan: Plan) -> dict[str, Any]:
    asked, parts = plan.selection, plan.parts
    return {
        "definition": str(Path(plan.definition.path).absolute()),
        "selection": {
            "earned_from": asked.earned_from,
            "earned_until": asked.earned_until,
            "badges": list(asked.badges),
            "customers": _CUSTOMERS if asked.customer_ids is not None else None,
            "awards": _AWARD_IDS if asked.award_ids is not None else None,
        },
        "files": dict(parts.files),
        "customer_files": dict(parts.customers),
        "badge_digests": dict(parts.badges),
        "badge_windows": dict(parts.windows),
    }


def file_counts(files: Iterable[AcceptedFile]) -> dict[str, int]:
    """Return the row counts of all files, under the names of the books."""
    names = (
        "rows_read",
        "rows_accepted",
        "rows_rejected",
        "rows_duplicate",
        "rows_anonymous",
        "rows_unmapped",
        "rows_excluded",
    )
    found = list(files)
    return {name: sum(getattr(file, name) for file in found) for name in names}


def found_plan(home: Home, asked: str) -> SavedPlan:
    """Return the plan that was asked for: an id, its beginning, a folder, `latest`.

    Raises PlanRefused for none, for several, and for a folder that is no whole plan.
    """
    if asked and (Path(asked) / _JSON).is_file():
        return _read(Path(asked).absolute())
    written = sorted(home.plans.glob(f"*/{_JSON}"), key=lambda p: p.stat().st_mtime_ns)
    plans = [path.parent for path in written]
    names = [plan.name for plan in plans]
    if asked == "latest" and plans:
        return _read(plans[-1])
    found = [name for name in names if asked and name.startswith(asked)]
    if asked in found:
        found = [asked]
    if len(found) == 1:
        return _read(home.plans / found[0])
    if found:
        told = f"{len(found)} plans begin with {asked!r} ({', '.join(found[:5])})"
        raise PlanRefused.of("plan_ambiguous", f"{told}: write more of the id")
    newest = f"the newest are {', '.join(names[:-6:-1])}" if names else "there is none"
    raise PlanRefused.of(
        "plan_unknown",
        f"no plan {asked!r} in {home.plans}: {newest}; `retrobadge plan` makes one",
    )


def plan_page_of(saved: SavedPlan) -> str:
    """Return the page of a plan, as it was written with it."""
    path = saved.folder / _PAGE
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise PlanRefused.of(
            "plan_without_page",
            f"can't be read ({error.strerror}): plan again",
            file=str(path),
        ) from error


def _read(folder: Path) -> SavedPlan:
    try:
        said = orjson.loads((folder / _JSON).read_bytes())
        awards = pl.read_parquet(folder / _AWARDS, glob=False)
        return _saved(folder, said, awards)
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise PlanRefused.of(
            "plan_unreadable",
            f"is no whole plan ({type(error).__name__}: {error}): plan again",
            file=str(folder),
        ) from error


def _saved(folder: Path, said: dict[str, Any], awards: pl.DataFrame) -> SavedPlan:
    asked = said["selection"]
    return SavedPlan(
        plan_id=said["plan_id"],
        folder=folder,
        digest=said["digest"],
        definition=Path(said["definition"]),
        as_of=datetime.fromisoformat(said["as_of"]),
        earned_from=_day(asked["earned_from"]),
        earned_until=_day(asked["earned_until"]),
        badges=tuple(asked["badges"]),
        customers_file=folder / _CUSTOMERS if asked["customers"] else None,
        awards_file=folder / _AWARD_IDS if asked["awards"] else None,
        awards_planned=said["awards_planned"],
        wants_approval=said["wants_approval"],
        is_refused=bool(said["refused_by"]),
        parts=PlanParts(
            target=said["target"],
            definition_digest=said["definition_digest"],
            files=said["files"],
            badges=said["badge_digests"],
            windows=said["badge_windows"],
            awards=awards,
            customers=said["customer_files"],
        ),
    )


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
