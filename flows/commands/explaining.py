"""Gathers all that is known of one customer and one badge: the command `explain`.

Belongs here: reading the customer's activity, the audit and, if asked, the platform.
Does not belong here: what it means (`transforms.reports.explanation`), and how it looks
(`flows.screens.answers`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from flows.commands.asked_customer import Asked, Identifier, asked_customer
from flows.files.accepted_activity import load_activity
from flows.files.activity_files import AcceptedFile
from flows.files.counting import counting_activity
from flows.files.file_rows import file_rows, on_disk
from flows.files.finding import FoundFile, find_files, read_definition
from flows.files.held_earns import held_earns
from flows.pipeline import Accepted, Work, accept, not_ours
from flows.platform.capillary import Platform, utc_now
from flows.platform.pacing import Pace
from flows.platform.preflight import read_badges
from flows.platform.reading import read_customer
from flows.records.audit import asked, earned_ids, known_awards
from transforms.activity.accepted import amount_decimals
from transforms.activity.identifiers import read_identifiers
from transforms.activity.rows import ROW_NUMBER
from transforms.activity.values import whole_numbers
from transforms.awards.awards import classified_awards
from transforms.customers.mapping import Fate
from transforms.customers.survivors import known_by_survivors, merged_into
from transforms.definition.definition import Badge, Definition, Source
from transforms.errors import PlanRefused, PlatformRefused
from transforms.platform.badges import BadgeFacts, badge_facts
from transforms.platform.evidence import Reading
from transforms.reports.explanation import Explanation, Setting, explained
from transforms.reports.return_words import with_fates

_IN_AUDIT = (
    "explain_awards",
    "explain_events",
    "explain_requests",
    "explain_attempts",
    "newest_badge",
)


@dataclass(frozen=True, kw_only=True)
class NotAccepted:
    """A row of the customer that stands in a file and did not become activity."""

    path: str
    row_number: int
    reason: str
    value: str = ""


@dataclass(kw_only=True)
class Answer:
    """All that is known. Frames as the queries `explain_…` of `flows/sql` answer.

    `awards`: as `awards.classified_awards`; `facts` is None where the badge was never
    read; `reading` is what the platform showed, None where it was not asked or did not
    say; `notes` are what a reader must know besides.
    """

    definition: Definition
    badge: Badge
    customer_id: int
    setting: Setting
    explanation: Explanation
    awards: pl.DataFrame
    not_accepted: list[NotAccepted]
    paths: dict[int, str]
    facts: BadgeFacts | None
    ledger: dict[str, pl.DataFrame]
    reading: Reading | None = None
    is_online: bool = False
    notes: list[str] = field(default_factory=list)


async def explain(
    work: Work, badge_name: str, customer: int | Identifier, *, is_online: bool
) -> Answer:
    """Return why the customer has the badge, when, or how far it is from that."""
    definition = read_definition(work.job.definition)
    badge = _badge(definition, badge_name)
    accepted = await accept(work, definition)
    meant = await _asked(work, definition, accepted, customer, is_online=is_online)
    files, customer_id = accepted.files, meant.customer_id
    setting = Setting(
        timezone=definition.timezone,
        as_of=work.job.as_of or utc_now(),
        amount_decimals=amount_decimals(definition),
    )
    activity = _activity(files, definition, customer_id)
    if definition.returns is not None:
        counting = counting_activity(files, definition, as_of=setting.as_of)
        activity = with_fates(activity, counting.fates)
    explanation = explained(activity, badge, setting)
    ledger = _ledger(work, badge, [customer_id, *meant.merged])
    answer = Answer(
        definition=definition,
        badge=badge,
        customer_id=customer_id,
        setting=setting,
        explanation=explanation,
        awards=pl.DataFrame(),
        not_accepted=list(_not_accepted(accepted, definition, meant, activity)),
        paths={file.file_order: file.path for file in files},
        facts=_known_facts(ledger),
        ledger=ledger,
        is_online=is_online,
        notes=list(meant.notes),
    )
    if is_online:
        await _ask_platform(work, answer)
    answer.awards = _awards(work, answer, accepted.survivors)
    return answer


async def _asked(
    work: Work,
    definition: Definition,
    accepted: Accepted,
    customer: int | Identifier,
    *,
    is_online: bool,
) -> Asked:
    """Return who is meant; the platform is asked only for what the files don't say."""
    if not is_online:
        return await asked_customer(customer, definition, accepted.customers, None)
    pace = Pace(work.home.pace, work.settings.capillary_requests_per_minute)
    async with Platform(work.settings, pace).line() as line:
        return await asked_customer(customer, definition, accepted.customers, line)


def _badge(definition: Definition, name: str) -> Badge:
    for badge in definition.badges:
        if badge.name == name:
            return badge
    names = ", ".join(badge.name for badge in definition.badges)
    raise PlanRefused.of(
        "badge_not_defined",
        f"{name}: the definition has {names}",
        file=definition.path,
    )


def _activity(
    files: Sequence[AcceptedFile], definition: Definition, customer_id: int
) -> pl.DataFrame:
    """Return the customer's accepted rows of all files, with superseded_by String."""
    loaded = load_activity(files, definition)
    mine = loaded.filter(pl.col("customer_id") == customer_id).collect()
    paths = {file.file_order: file.path for file in files}
    # A newer file may have the activity again under another customer.
    keys = mine.select("source", "activity_id").unique()
    newest = (
        loaded.filter(pl.col("activity_id").is_in(keys["activity_id"].implode()))
        .group_by("source", "activity_id")
        .agg(newest=pl.col("file_order").max())
        .collect()
    )
    is_older = pl.col("file_order") < pl.col("newest")
    newer = pl.col("newest").replace_strict(paths, return_dtype=pl.String)
    return (
        mine.join(newest, on=["source", "activity_id"], how="left")
        .with_columns(superseded_by=pl.when(is_older).then(newer))
        .drop("newest")
    )


def _not_accepted(
    accepted: Accepted, definition: Definition, asked: Asked, activity: pl.DataFrame
) -> Iterator[NotAccepted]:
    """Find the customer's rows that were rejected, excluded, or stand twice in a file.

    Which customer a rejected row belongs to is not kept: such files are read again.
    """
    sources = {source.name: source for source in definition.sources}
    found = {(one.source, one.path): one for one in find_files(definition)}
    other = _why_not_accepted(accepted, asked)
    for file in accepted.files:
        if not (file.rows_rejected or file.rows_duplicate or file.rows_excluded):
            continue
        rows = _rows_of(
            found[file.source, file.path],
            sources[file.source],
            definition,
            asked,
            file.accepted_path.parent,
        )
        counting = activity.filter(pl.col("file_order") == file.file_order)
        left = sorted(set(rows) - set(counting["row_number"]))
        rejected = pl.read_parquet(file.rejected_path, glob=False)
        for row_number in left:
            lines = rejected.filter(pl.col("row_number") == row_number)
            if lines.is_empty():
                yield NotAccepted(path=file.path, row_number=row_number, reason=other)
            for line in lines.iter_rows(named=True):
                yield NotAccepted(
                    path=file.path,
                    row_number=row_number,
                    reason=f"rejected: {line['reason']}",
                    value=line["value"] or "",
                )


def _why_not_accepted(accepted: Accepted, asked: Asked) -> str:
    """Return why rows of the customer are not accepted that nobody rejected."""
    if accepted.customers is not None:
        fates = accepted.customers.known.fates
        own = fates.filter(pl.col("customer_id") == asked.customer_id)["fate"]
        if (own == Fate.EXCLUDED).any():
            return "excluded: the customer is on a suppression list, or left out"
    return "duplicate: its activity id stands in this file already"


def _rows_of(
    found: FoundFile, source: Source, definition: Definition, asked: Asked, folder: Path
) -> list[int]:
    """Return the numbers of the rows of one customer in a file."""
    theirs = source.columns["customer_id"]
    if not isinstance(theirs, str):
        return []
    numbers: list[int] = []
    with on_disk(found, folder) as location:
        for chunk in file_rows(found, source, location):
            is_theirs = _is_theirs(chunk[theirs], source, definition, asked)
            is_theirs = is_theirs.fill_null(value=False)
            numbers += chunk.filter(is_theirs)[ROW_NUMBER].to_list()
    return numbers


def _is_theirs(
    field: pl.Series, source: Source, definition: Definition, asked: Asked
) -> pl.Series:
    """Return which values of the customer column name the customer."""
    customers = definition.customers
    if customers is None:
        return whole_numbers(field, source.format.nulls) == asked.customer_id
    read = read_identifiers(
        field,
        source.format.nulls,
        kind=customers.identifier,
        country_code=customers.country_code,
    )
    return read["identifier"].is_in(asked.identifiers.implode())


def _ledger(
    work: Work, badge: Badge, customer_ids: Sequence[int]
) -> dict[str, pl.DataFrame]:
    if not work.home.audit.exists():
        return {}
    badge_id = badge.badge_meta_id
    values = {"badge_meta_id": badge_id, "series": badge.series}
    of_them = {**values, "customer_ids": list(customer_ids)}
    answers = asked(work.home.audit, *_IN_AUDIT[:-1], **of_them)
    return answers | asked(work.home.audit, _IN_AUDIT[-1], badge_meta_id=badge_id)


def _known_facts(ledger: dict[str, pl.DataFrame]) -> BadgeFacts | None:
    newest = ledger.get("newest_badge")
    if newest is None or newest.is_empty():
        return None
    return badge_facts(orjson.loads(newest["raw"].item()))


async def _ask_platform(work: Work, answer: Answer) -> None:
    """Read the badge, and what the customer has of it."""
    pace = Pace(work.home.pace, work.settings.capillary_requests_per_minute)
    badge, as_of = answer.badge, answer.setting.as_of
    async with Platform(work.settings, pace).line() as line:
        try:
            facts = await read_badges(line, [badge], as_of=as_of)
            answer.facts = facts[badge.name]
        except PlatformRefused as refused:
            answer.notes += [str(fault) for fault in refused.faults]
        answer.reading = await read_customer(
            line, answer.customer_id, badge.badge_meta_id
        )
    if answer.reading is None:
        answer.notes.append("the platform does not say what this customer has")


def _awards(work: Work, answer: Answer, survivors: pl.DataFrame | None) -> pl.DataFrame:
    """Return what a plan would make of the customer's qualifications."""
    badge, definition = answer.badge, answer.definition
    if answer.facts is None:
        answer.notes.append(
            "the badge was never read from the platform: its window is taken for open "
            "(ask with --online)"
        )
    meant = [answer.customer_id, *merged_into(answer.customer_id, survivors)]
    known = known_awards(work.home.audit, badge.badge_meta_id, badge.series, meant)
    known = known_by_survivors(known, survivors)
    listed = held_earns(definition)
    ours = earned_ids(work.home.audit, listed)
    held = not_ours(listed, ours, survivors)
    return classified_awards(
        answer.explanation.met,
        badge,
        answer.facts or BadgeFacts(badge_meta_id=badge.badge_meta_id),
        definition_timezone=definition.timezone,
        as_of=answer.setting.as_of,
        target=_target(answer, work),
        known=known.filter(pl.col("customer_id") == answer.customer_id),
        held=held,
    )


def _target(answer: Answer, work: Work) -> str:
    """Return the platform that award ids are of: the home's, else the settings'."""
    awards = answer.ledger.get("explain_awards")
    if awards is not None and not awards.is_empty():
        return str(awards["target"][0])
    if work.home.audit.exists():
        bound = asked(work.home.audit, "ledger_target")["ledger_target"]["target"]
        if not bound.is_empty() and bound[0]:
            return str(bound[0])
    return ""


def as_json(answer: Answer) -> dict[str, Any]:
    """Return the object that `explain --json` prints."""
    awards = answer.awards.drop("series", "badge", "badge_meta_id", "reference_id")
    return {
        "import_name": answer.definition.name,
        "badge": answer.badge.name,
        "badge_meta_id": answer.badge.badge_meta_id,
        "customer_id": answer.customer_id,
        "as_of": answer.setting.as_of,
        "timezone": answer.setting.timezone,
        "rule": answer.explanation.rule,
        "is_met": not answer.explanation.met.is_empty(),
        "distance": [part.distance for part in answer.explanation.parts],
        "qualifications": awards.to_dicts(),
        "parts": [
            {
                "place": part.place,
                "rule": part.words,
                "threshold": part.threshold,
                "qualified_at": part.qualified_at,
                "distance": part.distance,
                "activity": [
                    {
                        "activity_id": one.activity["activity_id"],
                        "occurred_at": one.activity["occurred_at"],
                        "source": one.activity["source"],
                        "path": answer.paths[one.activity["file_order"]],
                        "row_number": one.activity["row_number"],
                        "counts": one.reason is None,
                        "reason": one.reason,
                        "note": one.note,
                        "running": one.running,
                        "meets": list(one.meets),
                    }
                    for one in part.verdicts
                ],
            }
            for part in answer.explanation.parts
        ],
        "not_accepted": [vars(one) for one in answer.not_accepted],
        "awards": _rows(answer, "explain_awards"),
        "events": _rows(answer, "explain_events"),
        "requests": _rows(answer, "explain_requests"),
        "attempts": _rows(answer, "explain_attempts"),
        "platform": _reading_json(answer.reading) if answer.is_online else None,
        "notes": answer.notes,
    }


def _rows(answer: Answer, name: str) -> list[dict[str, Any]]:
    frame = answer.ledger.get(name)
    return [] if frame is None else frame.to_dicts()


def _reading_json(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    return {
        "earn_count": reading.earn_count,
        "is_listed": reading.is_listed,
        "earns": [
            {
                "earned_badge_id": earn.earned_badge_id,
                "earn_event_date": earn.earn_event_date,
                "created_at": earn.created_at,
            }
            for earn in reading.earns
        ],
    }
