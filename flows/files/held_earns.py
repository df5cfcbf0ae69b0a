"""Reads `[held]`: the brand's own list of badges that customers earned already.

Belongs here: finding and reading those files, strictly. Does not belong here: which
award an earn covers (`transforms.awards.covered`).

A row that can't be read stops everything: it may be the badge that would be issued a
second time.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from flows.files.object_storage import fetched, is_url, matching_objects
from transforms.activity.values import INSTANT, identifiers, instants, whole_numbers
from transforms.definition.definition import Definition, Held
from transforms.errors import Fault, FilesRefused

_NULLS = ("",)
_MOST_FAULTS = 20
HELD_SCHEMA: dict[str, pl.DataType] = {
    "badge_meta_id": pl.String(),
    "customer_id": pl.Int64(),
    "earn_event_date": INSTANT,
    "earned_badge_id": pl.String(),
}


def held_earns(definition: Definition) -> pl.DataFrame | None:
    """Return the listed earns as HELD_SCHEMA; None where the definition lists none.

    Dates without offset are local to the definition. An earn that two files list
    under one id is one earn. Raises `FilesRefused` with the first rows that can't be
    read.
    """
    if definition.held is None:
        return None
    with TemporaryDirectory() as scratch:
        frames = [
            _read(path, shown, definition.held, definition.timezone)
            for path, shown in _found(definition, definition.held, Path(scratch))
        ]
    listed = pl.concat(frames)
    named = listed.filter(pl.col("earned_badge_id").is_not_null())
    unnamed = listed.filter(pl.col("earned_badge_id").is_null())
    return pl.concat([named.unique("earned_badge_id", maintain_order=True), unnamed])


def _found(
    definition: Definition, held: Held, scratch: Path
) -> Iterator[tuple[Path, str]]:
    """Yield each file with the name that is shown of it; objects one at a time."""
    folder = Path(definition.path).absolute().parent
    for pattern in held.files:
        stored = matching_objects(pattern) if is_url(pattern) else []
        for one in stored:
            with fetched(one, scratch) as copy:
                yield copy, one.url
        # Path.glob knows neither `..` nor absolute patterns.
        names = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207
        if not names and not stored:
            raise FilesRefused.of(
                "no_files",
                f"'{pattern}' matches no file in {folder}: change files, or put files "
                "there",
                file=definition.path,
                column="held.files",
            )
        yield from ((folder / name, name) for name in names)


def _read(path: Path, shown: str, held: Held, timezone: str) -> pl.DataFrame:
    raw = _table(path, shown)
    missing = [name for name in held.columns.values() if name not in raw.columns]
    if missing:
        raise FilesRefused(
            *(
                Fault(
                    code="column_missing",
                    message=f"no such column: change held.columns; there is "
                    f"{', '.join(raw.columns)}",
                    file=shown,
                    column=name,
                )
                for name in missing
            )
        )
    columns = {ours: raw[theirs] for ours, theirs in held.columns.items()}
    ids = columns.get(
        "earned_badge_id", pl.Series([None] * raw.height, dtype=pl.String)
    )
    read = pl.DataFrame(
        {
            "badge_meta_id": identifiers(columns["badge_meta_id"], _NULLS),
            "customer_id": whole_numbers(columns["customer_id"], _NULLS),
            "earn_event_date": instants(
                columns["earn_event_date"],
                _NULLS,
                style="iso",
                timezone=timezone,
                ambiguous="earliest",
            ),
            "earned_badge_id": identifiers(ids, _NULLS),
        },
        schema=HELD_SCHEMA,
    )
    _refuse_unread(read, raw, held, shown)
    return read


def _table(path: Path, shown: str) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FilesRefused.of(
            "held_unreadable",
            f"can't be read as CSV or Parquet ({str(error).splitlines()[0]})",
            file=shown,
        ) from error


def _refuse_unread(
    read: pl.DataFrame, raw: pl.DataFrame, held: Held, shown: str
) -> None:
    """Refuse rows in which the badge, the customer or the date could not be read."""
    faults = []
    for ours in ("badge_meta_id", "customer_id", "earn_event_date"):
        theirs = held.columns[ours]
        bad = read[ours].is_null()
        for row in bad.arg_true()[:_MOST_FAULTS]:
            value = str(raw[theirs][row])[:200]
            faults.append(
                Fault(
                    code="held_row",
                    message=f"{value!r} is no {ours}: mend the list; a row that can't "
                    "be read may be a badge that would be issued again",
                    file=shown,
                    row=row + (1 if shown.endswith(".parquet") else 2),
                    column=theirs,
                )
            )
    if faults:
        raise FilesRefused(*faults)
