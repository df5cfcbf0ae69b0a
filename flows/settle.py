"""Brings an ambiguous request to a known end, or leaves it unknown (settlement 4).

Belongs here: reading back, and choosing the next step from what it shows. Does not
belong here: what a reading proves (`transforms.evidence`), sending and waiting
(`flows.dispatch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import polars as pl

from flows.capillary import Line, utc_now
from flows.ledger import Entry, Ledger
from flows.recorder import Recorder
from flows.tracking import Rows, Tracked
from transforms.evidence import (
    Reading,
    Sought,
    Verdict,
    data_of,
    found_earns,
    has_unexplained,
    is_absence_shown,
    is_missing,
    last_earn_of,
    page_count,
    reading_of,
)
from transforms.outcomes import Answer, Outcome
from transforms.requests import split, successor
from transforms.statuses import AwardStatus, RequestStatus

# The platform may have forgotten the id of a request that is older than this.
ID_REMEMBERED = timedelta(hours=1)
MOST_SUCCESSORS = 2
MOST_RESENDS = 3
MOST_FAILED_READS = 3
READ_TRIES = 3
# So many refusals beside a new id are read back in vain, then they are believed unread.
MOST_DOUBTS = 20


NO_CONTROL = "absence is not proved: somebody who has the badge does not show"


@dataclass(frozen=True)
class Step:
    """What is to be done next with a request, and not before when."""

    tracked: Tracked
    action: Literal["send", "read"]
    due_at: datetime | None = None


@dataclass
class Waits:
    """How long things rest, in seconds."""

    resend_after: float
    settle_after: float


@dataclass
class Settling:
    """Settles requests of one run; the verdicts are shared with the canary."""

    ledger: Ledger
    recorder: Recorder
    rows: Rows
    waits: Waits
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # Without canaries absence is never proved.
    may_prove: bool = True

    def __post_init__(self) -> None:
        self._doubts: dict[str, int] = {}
        # What one request strikes out another must see: two may seek the same earn.
        self._matching = asyncio.Lock()

    def is_shown(self, tracked: Tracked) -> bool:
        """Tell whether a canary of its badge showed how earns are read back."""
        verdict = self.verdicts.get(tracked.request.badge_meta_id)
        return verdict is not None and verdict.holds_at(utc_now())

    def rest_until(self, tracked: Tracked) -> datetime:
        """Return when an ambiguous request may be read back first."""
        since = tracked.last_ended_at or utc_now()
        lag = self._lag(tracked.request.badge_meta_id)
        return since + max(self._rest(), lag)

    def shown_at(self, tracked: Tracked) -> datetime:
        """Return when reads show what an answered call has made."""
        since = tracked.last_ended_at or utc_now()
        return since + self._lag(tracked.request.badge_meta_id)

    def _lag(self, badge_meta_id: str) -> timedelta:
        verdict = self.verdicts.get(badge_meta_id)
        return timedelta(seconds=2 * verdict.lag_seconds if verdict else 0.0)

    def quiet_until(self, tracked: Tracked) -> datetime:
        """Return when the second read may take absence for a proof."""
        since = tracked.last_ended_at or utc_now()
        quiet = timedelta(seconds=self.waits.settle_after)
        return max(since + quiet, self.rest_until(tracked))

    def is_doubted(self, badge_meta_id: str) -> bool:
        """Tell whether a refusal beside a new id is still worth a read.

        Where so many were read in vain, such an id is shown to mean nothing.
        """
        return self._doubts.get(badge_meta_id, 0) < MOST_DOUBTS

    async def read_back(self, tracked: Tracked, line: Line) -> list[Step]:
        """Read every open customer, settle those proved, choose what comes next."""
        readings, known = await self.settle_present(tracked, line)
        await self._settle_doubted(tracked, readings, known)
        if not tracked.awards:
            return []
        await self._look_at_controls(tracked.request.badge_meta_id, line)
        unread = [c for c in tracked.awards if readings[c] is None]
        if unread and tracked.reads_failed < MOST_FAILED_READS - 1:
            return self._read_again(tracked)
        if told := _unprovable(tracked, unread):
            return await self.give_up(tracked, told)
        if _needs_proof(tracked):
            return await self._after_burning(tracked, readings, known, line)
        return await self._before_resending(tracked, readings, known, line)

    async def _look_at_controls(self, badge: str, line: Line) -> None:
        """Where no canary could be seen, look for others who surely have the badge.

        Reading may have failed just when the canary was looked for, or its verdict is
        too old. One who was issued by answer and shows with the date we sent does as
        well as a canary.
        """
        verdict, now = self.verdicts.get(badge), utc_now()
        is_seen = verdict and (verdict.lists_earns or verdict.moves_count)
        if not self.may_prove or (verdict and is_seen and verdict.holds_at(now)):
            return
        for customer_id, earned_badge_id, earn_date in await self._controls(badge, now):
            reading = await read_customer(line, customer_id, badge, is_thorough=True)
            earns = reading.earns if reading else ()
            dated = [earn for earn in earns if earn.earn_event_date == earn_date]
            if reading is None or not dated:
                continue
            ids = {earn.earned_badge_id for earn in dated}
            found = Verdict(
                badge_meta_id=badge,
                customer_id=customer_id,
                lists_earns=reading.is_listed and earned_badge_id in ids,
                moves_count=(reading.earn_count or 0) >= len(earns),
                lag_seconds=verdict.lag_seconds if verdict else 0.0,
                decided_at=now,
            )
            await self.store(found)
            return

    async def _controls(
        self, badge: str, near: datetime
    ) -> list[tuple[int, str, datetime]]:
        """Return who was issued by answer, so long ago that it shows, nearest first."""
        controls = await asyncio.to_thread(
            self.ledger.read,
            "control_customers",
            badge_meta_id=badge,
            issued_until=utc_now() - self._lag(badge),
            near=near,
        )
        return list(controls.iter_rows())

    async def store(self, verdict: Verdict) -> None:
        """Keep what reading back showed of a badge."""
        entry = Entry().add(
            "verdicts",
            badge_meta_id=verdict.badge_meta_id,
            run_id=self.rows.run_id,
            customer_id=verdict.customer_id,
            lists_earns=verdict.lists_earns,
            moves_count=verdict.moves_count,
            lag_seconds=verdict.lag_seconds,
            decided_at=verdict.decided_at,
        )
        await self.recorder.write(entry)
        self.verdicts[verdict.badge_meta_id] = verdict

    async def settle_present(
        self, tracked: Tracked, line: Line
    ) -> tuple[dict[int, Reading | None], pl.DataFrame]:
        """Read every open customer and settle those whose earn is there.

        Returns what was read, and what the ledger has for these customers.
        """
        badge = tracked.request.badge_meta_id
        readings = {
            customer_id: await self._read(line, customer_id, badge)
            for customer_id in list(tracked.awards)
        }
        async with self._matching:
            known = await asyncio.to_thread(self._known, badge, list(readings))
            await self._settle_found(tracked, readings, known)
        return readings, known

    async def _read(self, line: Line, customer_id: int, badge: str) -> Reading | None:
        """Read a customer by every way, unless the list alone was shown to do."""
        verdict = self.verdicts.get(badge)
        is_shown = verdict is not None and verdict.lists_earns
        return await read_customer(line, customer_id, badge, is_thorough=not is_shown)

    def _known(self, badge_meta_id: str, customer_ids: list[int]) -> pl.DataFrame:
        wanted = pl.DataFrame({"customer_id": customer_ids}, {"customer_id": pl.Int64})
        return self.ledger.read_with(
            "awards_of_customers", wanted, badge_meta_id=badge_meta_id
        )

    async def _settle_found(
        self, tracked: Tracked, readings: dict[int, Reading | None], known: pl.DataFrame
    ) -> None:
        entry, now = Entry(), utc_now()
        for customer_id, reading in readings.items():
            if reading is None:
                continue
            theirs = known.filter(pl.col("customer_id") == customer_id)
            ours = tracked.sought(customer_id)
            found = found_earns(
                reading,
                [ours, *_rivals(theirs, ours)],
                struck_out=_ids(theirs),
                dates_known=set(theirs.filter(_IS_SETTLED)["earn_event_date"]),
            )
            for one in found:
                if one.award_id == ours.award_id:
                    self.rows.found(entry, tracked, customer_id, one, now)
                    self._doubts.pop(tracked.request.badge_meta_id, None)
        if not tracked.awards:
            self.rows.request(entry, tracked, RequestStatus.ANSWERED, now)
        if entry.rows:
            await self.recorder.write(entry)

    async def _settle_doubted(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        known: pl.DataFrame,
    ) -> None:
        """Believe a refusal beside a new id if the earn is not there all the same.

        Where the platform offers nothing to read, its code is all there is.
        """
        doubted = {
            customer_id: outcome
            for customer_id, outcome in tracked.doubted.items()
            if customer_id in tracked.awards
        }
        missing = self._missing(tracked, readings, known, is_proof=False)
        believed = {
            customer_id: outcome
            for customer_id, outcome in doubted.items()
            if customer_id in missing
            or ((reading := readings[customer_id]) is not None and reading.is_silent)
        }
        await self._believe(tracked, believed)

    async def _believe(self, tracked: Tracked, refusals: dict[int, Outcome]) -> None:
        """Settle refusals that reading back did not contradict."""
        entry, now = Entry(), utc_now()
        for customer_id, outcome in list(refusals.items()):
            if customer_id in tracked.awards:
                self.rows.outcome(entry, tracked, outcome, now)
                if outcome.is_doubtful:
                    badge = tracked.request.badge_meta_id
                    self._doubts[badge] = self._doubts.get(badge, 0) + 1
        if not tracked.awards:
            self.rows.request(entry, tracked, RequestStatus.ANSWERED, now)
        if entry.rows:
            await self.recorder.write(entry)

    async def _shown_absent(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        known: pl.DataFrame,
        line: Line,
    ) -> list[int] | None:
        """Return the open customers whose absence is a proof.

        None if that can't be told now: nobody who has the badge shows.
        """
        absent = self._missing(tracked, readings, known, is_proof=True)
        if absent and not await self._is_control_visible(tracked, absent, line):
            return None
        return absent

    def _missing(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        known: pl.DataFrame,
        *,
        is_proof: bool,
    ) -> list[int]:
        """Return the open customers in whose reading there is no room for our earn.

        A verdict says how a reading is to be taken. Without one no reading is a proof.
        """
        verdict = self.verdicts.get(tracked.request.badge_meta_id)
        since = tracked.first_attempt_at or tracked.request.earn_event_date
        missing = []
        for customer_id in tracked.awards:
            reading = readings[customer_id]
            if reading is None:
                continue
            theirs = known.filter(pl.col("customer_id") == customer_id)
            is_explained = not has_unexplained(
                reading,
                struck_out=_ids(theirs),
                our_dates=set(theirs["earn_event_date"]),
                since=since,
            )
            before = theirs.filter(_IS_SETTLED).height
            if is_proof or self.is_shown(tracked):
                is_out = is_absence_shown(
                    reading,
                    verdict=verdict,
                    now=utc_now(),
                    issued_before=before,
                    is_explained=is_explained,
                )
            else:
                is_out = is_missing(
                    reading, issued_before=before, is_explained=is_explained
                )
            if is_out:
                missing.append(customer_id)
        return missing

    async def _is_control_visible(
        self, tracked: Tracked, absent: Sequence[int], line: Line
    ) -> bool | None:
        """Tell whether a customer who surely has the badge shows the same way.

        Of those who were issued long enough ago to show, the one whose answer came
        nearest to our last attempt: what hides one of the two hides the other. None if
        there is nobody.
        """
        badge = tracked.request.badge_meta_id
        near = tracked.last_ended_at or utc_now()
        verdict = self.verdicts.get(badge)
        for customer_id, earned_badge_id, earn_date in await self._controls(
            badge, near
        ):
            if customer_id in absent:
                continue
            reading = await self._read(line, customer_id, badge)
            if reading is None:
                continue
            if verdict is None or not verdict.lists_earns:
                return bool(reading.earn_count or reading.earns)
            return any(
                earn.earned_badge_id == earned_badge_id
                or earn.earn_event_date == earn_date
                for earn in reading.earns
            )
        return None

    async def _again_or_give_up(self, tracked: Tracked, reason: str) -> list[Step]:
        if tracked.reads_failed < MOST_FAILED_READS - 1:
            return self._read_again(tracked)
        return await self.give_up(tracked, reason)

    def _read_again(self, tracked: Tracked) -> list[Step]:
        tracked.reads_failed += 1
        return [Step(tracked, "read", utc_now() + self._rest())]

    def _rest(self) -> timedelta:
        return timedelta(seconds=self.waits.resend_after)

    async def _before_resending(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        known: pl.DataFrame,
        line: Line,
    ) -> list[Step]:
        """Send the rest again under the same id, with only those still missing.

        An id is no fence where a call that half succeeded and failed has freed it: a
        customer whose reading has room for our earn is not missing.
        """
        tracked.reads_absent += 1
        age = utc_now() - (tracked.last_ended_at or utc_now())
        if age > ID_REMEMBERED:
            absent = await self._shown_absent(tracked, readings, known, line)
        else:
            absent = self._missing(tracked, readings, known, is_proof=False)
            if await self._is_control_visible(tracked, absent, line) is False:
                absent = None
        if absent is None:
            return await self._again_or_give_up(tracked, NO_CONTROL)
        return await self._resent(tracked, absent)

    async def _resent(self, tracked: Tracked, may_be_sent: list[int]) -> list[Step]:
        if not may_be_sent:
            return await self.give_up(tracked, "absence is not proved")
        if tracked.resends >= MOST_RESENDS:
            return await self.give_up(tracked, "every attempt ended ambiguously")
        tracked.resends += 1
        tracked.to_send = tuple(may_be_sent)
        return [Step(tracked, "send")]

    async def _after_burning(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        known: pl.DataFrame,
        line: Line,
    ) -> list[Step]:
        """Absent in two reads, the second after the quiet time: a proof."""
        tracked.reads_absent += 1
        quiet_until = self.quiet_until(tracked)
        if tracked.reads_absent < 2 or utc_now() < quiet_until:
            return [Step(tracked, "read", quiet_until)]
        absent = await self._shown_absent(tracked, readings, known, line)
        if absent is None:
            return await self._again_or_give_up(tracked, NO_CONTROL)
        # The refusals of a further attempt hold: the earlier one did nothing.
        refused = {c: o for c, o in tracked.refusals.items() if c in absent}
        await self._believe(tracked, refused)
        if not tracked.awards:
            return []
        return await self._proved_absent(
            tracked, [c for c in absent if c in tracked.awards]
        )

    async def _proved_absent(self, tracked: Tracked, proved: list[int]) -> list[Step]:
        """Send those proved absent again, under a new id if the old one is burnt."""
        if tracked.is_foreign:
            return await self.give_up(tracked, "its id was used by somebody else")
        if not proved:
            return await self.give_up(tracked, "absence is not proved")
        if tracked.is_too_large and len(proved) > 1:
            return await self.split(tracked, proved, Entry())
        if not tracked.is_burnt:
            return await self._resent(tracked, proved)
        if tracked.succession >= MOST_SUCCESSORS:
            return await self.give_up(tracked, "two successors did not settle it")
        return await self._succeed(tracked, proved)

    async def _succeed(self, tracked: Tracked, proved: list[int]) -> list[Step]:
        """Send those proved absent under a new id that names this one."""
        ids = {tracked.awards[customer_id].award_id for customer_id in proved}
        awards = [award for award in tracked.request.awards if award.award_id in ids]
        child = successor(tracked.request, awards)
        entry = Entry()
        (made,) = self.rows.replaced(
            entry,
            tracked,
            [child],
            utc_now(),
            status=RequestStatus.SUCCEEDED,
            reason="proved absent, its id was used",
        )
        self._leave_behind(entry, tracked)
        await self.recorder.write(entry)
        return [Step(made, "send")]

    async def split(
        self, tracked: Tracked, customer_ids: Sequence[int], entry: Entry
    ) -> list[Step]:
        """Replace a request, for these of its customers, by halves with own ids."""
        halves = split(
            tracked.request,
            [a for a in tracked.request.awards if a.customer_id in customer_ids],
        )
        made = self.rows.replaced(
            entry,
            tracked,
            halves,
            utc_now(),
            status=RequestStatus.SPLIT,
            reason="too many customers for one call",
        )
        self._leave_behind(entry, tracked)
        await self.recorder.write(entry)
        return [Step(half, "send") for half in made]

    def _leave_behind(self, entry: Entry, tracked: Tracked) -> None:
        """Keep a request that was replaced open for those who are not proved."""
        if tracked.awards:
            self.rows.request(entry, tracked, RequestStatus.UNKNOWN, utc_now())
            tracked.is_given_up = True

    async def give_up(self, tracked: Tracked, reason: str) -> list[Step]:
        """Leave what is not proved as `unknown`, with the reason, for a person."""
        tracked.is_given_up = True
        entry, now = Entry(), utc_now()
        self.rows.moved(
            entry,
            tracked,
            AwardStatus.UNKNOWN,
            now,
            customer_ids=list(tracked.awards),
            reason=reason,
        )
        self.rows.request(entry, tracked, RequestStatus.UNKNOWN, now, reason)
        await self.recorder.write(entry)
        return []


def _needs_proof(tracked: Tracked) -> bool:
    """Tell whether what is left can't simply go out again as it was."""
    return bool(
        tracked.is_burnt
        or tracked.is_foreign
        or tracked.is_too_large
        or tracked.refusals
    )


def _unprovable(tracked: Tracked, unread: Sequence[int]) -> str | None:
    """Say why nothing more can be proved of what is left of a request, if so it is."""
    if len(unread) == len(tracked.awards):
        return "the platform could not be read"
    if tracked.lists_strangers:
        return "the answer listed customers who were not asked for: merged perhaps"
    if set(tracked.doubted) == set(tracked.awards):
        return "refused beside a new id, and an earn shows that may be it"
    return None


_IS_SETTLED = pl.col("status").is_in(["issued", "already_earned", "revoked"])


def _ids(theirs: pl.DataFrame) -> set[str]:
    """Return the ids of earns that the ledger knows whose they are."""
    return set(theirs["earned_badge_id"].drop_nulls())


def _rivals(theirs: pl.DataFrame, ours: Sought) -> list[Sought]:
    """Return lower occurrences of the same instant that an earn may belong to."""
    rows = theirs.filter(
        pl.col("status").is_in(["sent", "unknown"]),
        pl.col("earn_event_date") == ours.earn_event_date,
        pl.col("occurrence") < ours.occurrence,
    )
    return [
        Sought(
            award_id=row["award_id"],
            occurrence=row["occurrence"],
            earn_event_date=ours.earn_event_date,
            since=ours.since,
        )
        for row in rows.iter_rows(named=True)
    ]


# Asked again, the platform would say the same.
_NOT_OFFERED = frozenset({400, 403, 404})


async def read_customer(
    line: Line, customer_id: int, badge: str, *, is_thorough: bool = False
) -> Reading | None:
    """Read one customer's earns of one badge; None if the platform won't say.

    Where earns are counted and not listed with their dates, or with `is_thorough` none
    are listed, the customer's earned list is asked as well, expired ones included: it
    shows the last earn of each badge, and how many there are.
    """
    answer = await _asked(line, partial(line.customer_badge, customer_id, badge))
    if answer.http_status in _NOT_OFFERED:
        return Reading(earn_count=None)
    reading = reading_of(answer.body) if answer.http_status == 200 else None
    if reading is None or (reading.is_whole and reading.is_dated):
        return reading
    if not reading.earn_count and not is_thorough:
        return reading
    pages = await _earned_pages(line, customer_id)
    if pages is None:
        return None
    last = last_earn_of(pages, badge)
    return reading if last is None else reading.joined(last)


async def _earned_pages(line: Line, customer_id: int) -> list[bytes] | None:
    """Return the pages of a customer's earned list; none where there is no such list.

    None if the platform won't say now: what can't be read must not look empty.
    """
    bodies: list[bytes] = []
    page, pages = 0, 1
    while page < pages:
        answer = await _asked(line, partial(line.earned_list, customer_id, page))
        if answer.http_status in _NOT_OFFERED:
            return []
        if answer.http_status != 200 or data_of(answer.body) is None:
            return None
        bodies.append(answer.body)
        pages, page = page_count(answer.body), page + 1
    return bodies


async def _asked(line: Line, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Read something, again where the platform may answer better in a moment."""
    for number in range(READ_TRIES - 1):
        answer = await ask()
        if answer.http_status in _NOT_OFFERED:
            return answer
        if answer.http_status == 200 and data_of(answer.body) is not None:
            return answer
        if answer.http_status == 401:
            line.discard_token()
        await asyncio.sleep(0.2 * 2**number)
    return await ask()
