"""Builders for awards: valid defaults, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import polars as pl

from transforms.awards.awards import classified_awards
from transforms.definition.definition import Badge, Duration, Rule
from transforms.platform.badges import BadgeFacts, Claim

INSTANT = pl.Datetime("us", "UTC")
NEW_YORK = "America/New_York"
BADGE_META_ID = "653de334b3cda7078c7c68eb"
TARGET = "https://api.example.com|till-1"
AS_OF = datetime(2018, 6, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """Return the UTC instant of an ISO text; without an offset it is UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def hold(count: int, unit: str) -> Duration:
    """Return a duration."""
    return Duration.model_validate({"count": count, "unit": unit})


def badge(**keys: Any) -> Badge:
    """Return a badge that is earned with the first activity."""
    defaults = {
        "name": "first",
        "badge_meta_id": BADGE_META_ID,
        "reference_id": "retro-2017",
        "rule": Rule(kind="activity_count", at_least=1),
    }
    return Badge(**{**defaults, **keys})


def facts(**fields: Any) -> BadgeFacts:
    """Return a badge of the platform that can be awarded, open for ever."""
    defaults = {
        "badge_meta_id": BADGE_META_ID,
        "name": "First",
        "earn_type": "EARN",
        "owners": ("Historical_Import",),
        "claims": (Claim("Historical_Import", "retro-2017", is_active=True),),
        "earned_expiry": "NEVER",
    }
    return BadgeFacts(**{**defaults, **fields})


def qualifications(*rows: tuple[int, int, str]) -> pl.DataFrame:
    """Return qualifications of (customer_id, occurrence, qualified_at)."""
    return pl.DataFrame(
        {
            "customer_id": [row[0] for row in rows],
            "occurrence": [row[1] for row in rows],
            "qualified_at": [at(row[2]) for row in rows],
            "measure": [1.0] * len(rows),
            "threshold": [1.0] * len(rows),
            "evidence_activity_id": [f"bill-{row[0]}-{row[1]}" for row in rows],
            "source": ["activity"] * len(rows),
        },
        schema={
            "customer_id": pl.Int64,
            "occurrence": pl.Int64,
            "qualified_at": INSTANT,
            "measure": pl.Float64,
            "threshold": pl.Float64,
            "evidence_activity_id": pl.String,
            "source": pl.String,
        },
    )


KNOWN_SCHEMA = {
    "award_id": pl.String,
    "customer_id": pl.Int64,
    "occurrence": pl.Int64,
    "generation": pl.Int32,
    "is_revoked": pl.Boolean,
    "is_released": pl.Boolean,
    "qualified_at": INSTANT,
    "earn_event_date": INSTANT,
    "ledger_customer_id": pl.Int64,
}


def known(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return awards of the ledger; customer_id is taken for ledger_customer_id."""
    return pl.DataFrame([_known(**row) for row in rows], schema=KNOWN_SCHEMA)


def _known(
    award_id: str, customer_id: int, occurrence: int = 1, **fields: Any
) -> dict[str, Any]:
    status = fields.pop("status", "issued")
    return {
        "award_id": award_id,
        "customer_id": customer_id,
        "occurrence": occurrence,
        "generation": 1,
        "is_revoked": status in {"revoked", "released"},
        "is_released": status == "released",
        "qualified_at": at("2017-05-03T12:00"),
        "earn_event_date": at("2017-05-03T16:00"),
        "ledger_customer_id": customer_id,
        **fields,
    }


def held(*rows: tuple[int, str, str | None]) -> pl.DataFrame:
    """Return held earns of (customer_id, earn_event_date, earned_badge_id)."""
    return pl.DataFrame(
        {
            "badge_meta_id": [BADGE_META_ID] * len(rows),
            "customer_id": [row[0] for row in rows],
            "earn_event_date": [at(row[1]) for row in rows],
            "earned_badge_id": [row[2] for row in rows],
        },
        schema={
            "badge_meta_id": pl.String,
            "customer_id": pl.Int64,
            "earn_event_date": INSTANT,
            "earned_badge_id": pl.String,
        },
    )


def classified(
    rows: Iterable[tuple[int, int, str]] | pl.DataFrame, **changes: Any
) -> pl.DataFrame:
    """Return the classified awards of qualifications, by default all planned."""
    frame = rows if isinstance(rows, pl.DataFrame) else qualifications(*rows)
    arguments: dict[str, Any] = {
        "definition_timezone": NEW_YORK,
        "as_of": AS_OF,
        "target": TARGET,
        "known": known(),
        **changes,
    }
    badge_of = arguments.pop("badge", badge())
    facts_of = arguments.pop("facts", facts())
    return classified_awards(frame, badge_of, facts_of, **arguments)


def planned(*rows: tuple[int, int, str], **columns: Any) -> pl.DataFrame:
    """Return planned awards of (customer_id, occurrence, earn date)."""
    frame = pl.DataFrame(
        {
            "award_id": [f"award-{row[0]}-{row[1]}-{row[2]}" for row in rows],
            "customer_id": [row[0] for row in rows],
            "occurrence": [row[1] for row in rows],
            "earn_event_date": [at(row[2]) for row in rows],
        },
        schema={
            "award_id": pl.String,
            "customer_id": pl.Int64,
            "occurrence": pl.Int64,
            "earn_event_date": INSTANT,
        },
    )
    labels = {
        "badge": "first",
        "badge_meta_id": BADGE_META_ID,
        "reference_id": "retro-2017",
        **columns,
    }
    return frame.with_columns(**{name: pl.lit(one) for name, one in labels.items()})
