"""Reads the platform's export "Badges Earn", whatever its columns are called.

Belongs here: finding the columns, reading dates and switches, leaving out what others
awarded. Does not belong here: what an earn is worth
(`transforms.platform.reconciliation`).

The export's columns are described in words only and named by whoever made the export
(contract 2.8). Known names are tried; a column that can't be found must be named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from transforms.activity.values import identifiers, instants, whole_numbers
from transforms.errors import Fault, FilesRefused
from transforms.platform.reconciliation import THEIRS
from transforms.platform.requests import OWNER_TYPE

# Ours → names without case, blanks and underscores under which exports have it.
KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "badge_meta_id": ("badgemetaid", "badgemeta", "badgeid", "badge", "badgename"),
    "customer_id": ("customerid", "customer", "userid"),
    "earn_event_date": ("earneventdate", "eventdate", "eventdatetime", "date"),
    "earned_badge_id": ("earnid", "earnedbadgeid"),
    "owner_type": ("ownertype", "badgesownertype"),
    "reference_id": ("ownerreferenceid", "referenceid"),
    "is_active": ("isactive", "badgesearnactive", "active"),
    "created_at": ("createdon", "createdat", "createddate"),
}
REQUIRED = ("badge_meta_id", "customer_id", "earn_event_date")
_NULLS = ("", "null", "NULL", "NaN")
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_OFFSET = r"(?:[zZ]|[+-]\d{2}:?\d{2})$"
_FALSE = ("false", "0", "no", "n", "inactive", "revoked")
_MOST_FAULTS = 5


@dataclass(frozen=True, kw_only=True)
class EarnExport:
    """The export's earns of our badges.

    `earns`: as `transforms.platform.reconciliation.THEIRS`. `columns`: ours → theirs,
    as they were taken. `others`: rows of other badges, owners or references; `revoked`:
    rows that are switched off. `newest`: when the newest earn in it was made, None
    where the export does not say.
    """

    earns: pl.DataFrame
    columns: Mapping[str, str]
    others: int
    revoked: int
    newest: datetime | None


def earn_export(
    path: Path,
    *,
    columns: Mapping[str, str],
    timezone: str | None,
    badge_names: Mapping[str, str],
    reference_ids: Collection[str],
) -> EarnExport:
    """Read an export. `columns` are those that were named: ours → theirs.

    `badge_names`: badge_meta_id → its name on the platform, by which a badge may stand
    there too. `timezone` is that of dates without offset. Raises FilesRefused for a
    column that can't be found, and for rows that can't be read.
    """
    raw = _table(path)
    found = _found_columns(raw.columns, columns, path)
    text = {ours: raw[theirs].cast(pl.String) for ours, theirs in found.items()}
    badges = _badges(text["badge_meta_id"], badge_names, path, found)
    is_ours = badges.is_not_null() & _is_owned(text, reference_ids)
    is_active = _is_active(text)
    kept = is_ours & is_active
    customers = whole_numbers(text["customer_id"], _NULLS)
    at, days = _dates(text["earn_event_date"].filter(kept), timezone, path, found)
    ids = text.get("earned_badge_id")
    earns = pl.DataFrame(
        {
            "badge_meta_id": badges.filter(kept),
            "customer_id": customers.filter(kept),
            "earn_event_date": at,
            "earn_day": days,
            "earned_badge_id": identifiers(ids.filter(kept), _NULLS)
            if ids is not None
            else pl.Series([None] * at.len(), dtype=pl.String),
            "is_listed": pl.Series([True] * at.len(), dtype=pl.Boolean),
        },
        schema=THEIRS,
    )
    _refuse_unread(earns, found, path)
    return EarnExport(
        earns=earns,
        columns=found,
        others=int((~is_ours).sum()),
        revoked=int((is_ours & ~is_active).sum()),
        newest=_newest(text.get("created_at"), timezone),
    )


def _table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FilesRefused.of(
            "export_unreadable",
            f"can't be read as CSV or Parquet ({str(error).splitlines()[0]})",
            file=str(path),
        ) from error


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _found_columns(
    there: Sequence[str], named: Mapping[str, str], path: Path
) -> dict[str, str]:
    """Return ours → theirs; refuse what is missing, unknown or ambiguous."""
    faults, found = [], {}
    plain: dict[str, list[str]] = {}
    for name in there:
        plain.setdefault(_plain(name), []).append(name)
    for ours, theirs in named.items():
        if ours not in KNOWN_NAMES:
            told = f"no column of ours: name one of {', '.join(KNOWN_NAMES)}"
            faults.append(Fault(code="export_column", message=told, column=ours))
        elif theirs not in there:
            told = f"no such column; there is {', '.join(there)[:300]}"
            fault = Fault(
                code="column_missing", message=told, file=str(path), column=theirs
            )
            faults.append(fault)
        else:
            found[ours] = theirs
    for ours, names in KNOWN_NAMES.items():
        if ours in named:
            continue
        first = next((plain[name] for name in names if name in plain), [])
        if len(first) == 1:
            found[ours] = first[0]
        elif ours in REQUIRED:
            told = (
                f"which column is it? Say --column {ours}=THEIRS; there is "
                f"{', '.join(there)[:300]}"
            )
            faults.append(
                Fault(code="export_column", message=told, file=str(path), column=ours)
            )
    if faults:
        raise FilesRefused(*faults)
    return found


def _badges(
    values: pl.Series,
    names: Mapping[str, str],
    path: Path,
    found: Mapping[str, str],
) -> pl.Series:
    """Return the badges' ids, null where it is none of ours; by name if not by id."""
    ids = identifiers(values, _NULLS)
    by_id = ids.is_in(pl.Series(list(names), dtype=pl.String).implode())
    if by_id.any():
        return ids.set(~by_id.fill_null(value=False), None)
    named = {name: badge_id for badge_id, name in names.items() if name}
    by_name = ids.replace_strict(named, default=None, return_dtype=pl.String)
    if by_name.is_null().all() and values.len():
        raise FilesRefused.of(
            "export_badges",
            "no row is of a badge of ours, by id or by name: say which column holds "
            "the badge with --column badge_meta_id=THEIRS",
            file=str(path),
            column=found["badge_meta_id"],
        )
    return by_name


def _is_owned(
    text: Mapping[str, pl.Series], reference_ids: Collection[str]
) -> pl.Series:
    """Tell what was awarded by us: owner and reference, as far as they are there."""
    any_of_them = next(iter(text.values()))
    owned = pl.Series([True] * any_of_them.len(), dtype=pl.Boolean)
    if "owner_type" in text:
        ours = _plain(OWNER_TYPE)
        plain = text["owner_type"].str.to_lowercase().str.replace_all(r"[^a-z0-9]", "")
        owned &= (plain == ours).fill_null(value=False)
    if "reference_id" in text:
        known = pl.Series(sorted(reference_ids), dtype=pl.String).implode()
        owned &= text["reference_id"].is_in(known).fill_null(value=False)
    return owned


def _is_active(text: Mapping[str, pl.Series]) -> pl.Series:
    any_of_them = next(iter(text.values()))
    if "is_active" not in text:
        return pl.Series([True] * any_of_them.len(), dtype=pl.Boolean)
    said = text["is_active"].str.strip_chars().str.to_lowercase()
    return ~said.is_in(list(_FALSE)).fill_null(value=False)


def _dates(
    values: pl.Series, timezone: str | None, path: Path, found: Mapping[str, str]
) -> tuple[pl.Series, pl.Series]:
    """Return instants and days, of which one is null where the other is known."""
    said = values.str.strip_chars()
    is_day = said.str.contains(_DAY).fill_null(value=False)
    days = said.filter(is_day).str.to_date("%Y-%m-%d", strict=False)
    nothing = pl.Series([None] * values.len(), dtype=pl.Date)
    days = nothing.scatter(is_day.arg_true(), days) if is_day.any() else nothing
    times = said.set(is_day, None)
    at = _instants(times, timezone, path, found)
    return at, days


def _instants(
    times: pl.Series, timezone: str | None, path: Path, found: Mapping[str, str]
) -> pl.Series:
    is_number = times.str.contains(r"^\d{9,13}(\.\d+)?$")
    if is_number.any():
        milliseconds = times.str.contains(r"^\d{13}").any()
        style = "epoch_milliseconds" if milliseconds else "epoch_seconds"
        return instants(
            times, _NULLS, style=style, timezone="UTC", ambiguous="earliest"
        )
    naive = times.drop_nulls().str.contains(_OFFSET)
    if timezone is None and not naive.all():
        raise FilesRefused.of(
            "export_zone",
            "its dates have no offset: say with --timezone which zone they are in",
            file=str(path),
            column=found["earn_event_date"],
        )
    return instants(
        times, _NULLS, style="iso", timezone=timezone or "UTC", ambiguous="earliest"
    )


def _newest(values: pl.Series | None, timezone: str | None) -> datetime | None:
    """Return the newest time of making, None if it can't be told."""
    if values is None:
        return None
    is_number = values.str.contains(r"^\d{9,10}(\.\d+)?$").any()
    made = instants(
        values,
        _NULLS,
        style="epoch_seconds" if is_number else "iso",
        timezone=timezone or "UTC",
        ambiguous="earliest",
    ).max()
    return made if isinstance(made, datetime) else None


def _refuse_unread(earns: pl.DataFrame, found: Mapping[str, str], path: Path) -> None:
    undated = earns["earn_event_date"].is_null() & earns["earn_day"].is_null()
    faults = []
    for ours, bad in (
        ("customer_id", earns["customer_id"].is_null()),
        ("earn_event_date", undated),
    ):
        if bad.any():
            told = f"{int(bad.sum()):,} rows of our badges have no readable {ours}"
            faults.append(
                Fault(
                    code="export_row", message=told, file=str(path), column=found[ours]
                )
            )
    if faults:
        raise FilesRefused(*faults[:_MOST_FAULTS])
