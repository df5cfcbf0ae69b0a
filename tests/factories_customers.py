"""A brand that knows its customers by mobile number: activity, customer files, a home.

Belongs here: definitions with `[customers]`, and reading their files without a
platform. What runs against the sandbox is `factories_imports.brand`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from flows.files.accepted_activity import load_activity
from flows.files.activity_files import AcceptedFile, accept_file
from flows.files.customer_files import CustomerFiles, read_customers
from flows.files.finding import find_files, read_definition
from flows.files.mapping import mapped_file
from transforms.activity.accepted import current_activity
from transforms.definition.definition import Definition

BADGE = "653de334b3cda7078c7c68eb"
CUSTOMERS = """
[customers]
identifier = "mobile"
country_code = "91"
files = ["who/*.csv"]
columns = { identifier = "phone", customer_id = "id", survivor_id = "into", \
enrolled_at = "joined", tier = "tier" }
"""
RULE = '{ kind = "activity_count", at_least = 2 }'
WHO = "id,phone,into,joined,tier"
VISITS = "who,bill,at,paid"


def mapped_definition(
    *, customers: str = CUSTOMERS, rule: str = RULE, more: str = ""
) -> str:
    """Return a definition whose files name customers by mobile number."""
    return f"""
name = "visits"
timezone = "America/New_York"

[activity]
files = ["*.csv"]
columns = {{ customer_id = "who", activity_id = "bill", occurred_at = "at", \
amount = "paid" }}
{customers}
[badges.regular]
badge_meta_id = "{BADGE}"
reference_id = "retro"
rule = {rule}
{more}
"""


def phone(number: int) -> str:
    """Return a mobile number of India that no other number gives."""
    return f"98{number:08d}"


def who(*rows: str) -> str:
    """Return a customer file: rows of id, phone, survivor, joined and tier."""
    return "\n".join([WHO, *rows, ""])


def bills(*customers: str) -> str:
    """Return an activity file: a bill a day for each customer that is named."""
    return "\n".join(
        [
            VISITS,
            *(
                f"{customer},b{number},2017-05-{1 + number % 28:02d}T12:00:00,9.99"
                for number, customer in enumerate(customers)
            ),
            "",
        ]
    )


@dataclass(frozen=True)
class Read:
    """What became of a brand's files."""

    definition: Definition
    files: list[AcceptedFile]
    customers: CustomerFiles

    @property
    def activity(self) -> pl.DataFrame:
        """Return the accepted rows of all files that count."""
        return current_activity(load_activity(self.files, self.definition)).collect()

    def counts(self, at: int = 0) -> dict[str, int]:
        """Return what was counted of a file, without zeros."""
        file = self.files[at]
        names = (
            *("read", "accepted", "anonymous", "unmapped"),
            *("excluded", "rejected", "duplicate"),
        )
        counted = {name: getattr(file, f"rows_{name}") for name in names}
        return {name: count for name, count in counted.items() if count}


@dataclass(frozen=True)
class Place:
    """A brand's folder and its home."""

    root: Path

    def write(self, **files: str) -> None:
        """Write files: `may` is activity, `who__a` a customer file, and so on."""
        for name, text in files.items():
            path = self.root / f"{name.replace('__', '/')}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def read(self, text: str | None = None) -> Read:
        """Read everything that a definition names, and map it."""
        path = self.root / "visits.toml"
        path.write_text(mapped_definition() if text is None else text, "utf-8")
        definition = read_definition(path)
        customers = read_customers(definition)
        assert customers is not None
        home = self.root / "home"
        files = [
            mapped_file(accept_file(one, definition, home), definition, customers, home)
            for one in find_files(definition)
        ]
        return Read(definition, files, customers)
