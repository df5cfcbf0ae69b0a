"""The import definition: what to import, parsed from TOML into frozen models.

Belongs here: every key of the format, its bounds, and the faults of a definition with
their places. Does not belong here: finding or reading files, and what a rule means
(`rules`) or a condition may say (`conditions`).
"""

from __future__ import annotations

import hashlib
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

ColumnType = Literal["text", "integer", "decimal", "boolean", "date"]
RuleKind = Literal[
    "activity_count",
    "total_amount",
    "distinct_count",
    "streak",
    "elapsed",
    "all_of",
    "any_of",
]
Per = Literal["week", "month", "quarter", "year"]
Period = Literal["day", "week", "month"]
DurationUnit = Literal["h", "d", "w", "mo", "y"]


class Strict(BaseModel):
    """Unknown keys are errors; a parsed definition never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Duration(Strict):
    """A length of time: `h d w` are exact, `mo y` follow the local calendar."""

    count: int
    unit: DurationUnit


class CsvFormat(Strict):
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    quote: str = '"'
    header: bool = True
    nulls: tuple[str, ...] = ("",)


class Source(Strict):
    """One kind of activity file. `columns` maps our names to theirs."""

    name: str = "activity"
    files: tuple[str, ...]
    columns: dict[str, str | tuple[str, ...]]
    constants: dict[str, str] = {}
    types: dict[str, ColumnType] = {}
    timezone: str | None = None
    occurred_at_format: str = "iso"
    ambiguous: Literal["reject", "earliest", "latest"] = "reject"
    format: CsvFormat = CsvFormat()
    amount_decimals: int = 2
    grain: Literal["activity", "line_item"] = "activity"
    fresh_within: Duration | None = None
    missing_files: Literal["refuse", "keep", "forget"] = "refuse"


class Rule(Strict):
    """When a badge is earned. Which keys a kind needs is checked at parsing."""

    kind: RuleKind
    at_least: int | Decimal | None = None
    of: str | None = None
    periods: int | None = None
    period: Period | None = None
    since: str | None = None
    after: Duration | None = None
    rules: tuple[Rule, ...] = ()
    within: Duration | None = None
    per: Per | None = None
    where: str | None = None
    source: str | None = None


class Badge(Strict):
    """One badge to award. Days are local to the definition, `until` is exclusive."""

    name: str
    badge_meta_id: str
    reference_id: str
    rule: Rule
    where: str | None = None
    series: str = ""
    repeat: bool = False
    max_occurrences: int | None = None
    counted_from: date | None = None
    counted_until: date | None = None
    earned_from: date | None = None
    earned_until: date | None = None
    precision: Literal["day", "exact"] = "day"
    before_window: Literal["skip", "window_start"] = "skip"
    hold: Duration | None = None
    canary_customer_ids: tuple[int, ...] = ()
    enrolled: bool = False


class Quality(Strict):
    """How much may be wrong with the files before the plan is refused."""

    max_rejected_share: Decimal = Decimal("0.01")
    max_unmapped_share: Decimal = Decimal("0.05")
    min_rows: int | None = None


class Guards(Strict):
    """What must not happen unasked. Unset bounds do not hold."""

    max_awards: int | None = None
    max_awards_per_customer: int | None = None
    max_calls: int | None = None
    max_out_of_window_share: Decimal | None = None
    approve_above: int | None = None
    allow_relative_expiry: bool = False
    allow_rolling_limit: bool = False
    take_over: bool = False


class Held(Strict):
    """The brand's own list of badges already earned."""

    files: tuple[str, ...]
    columns: dict[str, str]


class Definition(Strict):
    """A parsed import definition. `text` is what was parsed, byte for byte."""

    name: str
    description: str = ""
    owner: str = ""
    ticket: str = ""
    timezone: str
    sources: tuple[Source, ...]
    badges: tuple[Badge, ...]
    quality: Quality = Quality()
    guards: Guards = Guards()
    held: Held | None = None
    path: str = ""
    text: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()
