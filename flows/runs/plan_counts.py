"""What the walls before the ledger counted: rows by file, awards by badge.

Belongs here: a plan's counts, as the ledger keeps them and as the books want them. Does
not belong here: what the ledger and the answers count (`flows.runs.run`), and whether
all of it balances (`transforms.books`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows.files.activity_files import AcceptedFile
from flows.planning import Plan
from transforms.awards.awards import PlanResult
from transforms.books import BadgeCounts, Books, FileCounts, balance
from transforms.errors import Unbalanced


def plan_books(plan: Plan) -> Books:
    """Return what the walls before the ledger counted."""
    return Books(
        files=tuple(_file_counts(plan, file) for file in plan.files),
        badges=tuple(_badge_counts(b, c) for b, c in plan.results.items()),
    )


def refuse_unbalanced(plan: Plan) -> None:
    """Refuse to go on with a plan in which a row or an award is lost or doubled."""
    if faults := balance(plan_books(plan)):
        raise Unbalanced(*faults)


def file_row(plan: Plan, file: AcceptedFile) -> dict[str, Any]:
    """Return what the ledger keeps of one file, without the run's id."""
    return {
        "source": file.source,
        "path": file.path,
        "fingerprint": file.fingerprint,
        "read_now": file.is_read_now,
        "rows_read": file.rows_read,
        "rows_accepted": file.rows_accepted,
        "rows_anonymous": file.rows_anonymous,
        "rows_unmapped": file.rows_unmapped,
        "rows_excluded": file.rows_excluded,
        "rows_rejected": file.rows_rejected,
        "rows_duplicate": file.rows_duplicate,
        "rows_superseded": plan.rows_superseded.get(file.file_order, 0),
        "rows_current": plan.rows_current.get(file.file_order, 0),
    }


def _file_counts(plan: Plan, file: AcceptedFile) -> FileCounts:
    row = file_row(plan, file)
    named = {
        name.removeprefix("rows_"): count
        for name, count in row.items()
        if name.startswith("rows_")
    }
    return FileCounts(source=file.source, path=file.path, **named)


def badge_row(badge: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return what the ledger keeps of one badge, without the run's id."""
    return {
        "badge": badge,
        "qualified": counts["qualified"],
        **{str(result): counts[str(result)] for result in PlanResult},
    }


def _badge_counts(badge: str, counts: Mapping[str, int]) -> BadgeCounts:
    return BadgeCounts(**badge_row(badge, counts))
