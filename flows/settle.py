"""Brings an ambiguous request to a known end, or leaves it unknown (settlement 4).

Belongs here: reading back, and choosing the next step from what it shows. Does not
belong here: what a reading proves (`transforms.evidence`), sending and waiting
(`flows.dispatch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
    found_earns,
    is_absence_shown,
    last_earn_of,
    page_count,
    reading_of,
)
from transforms.requests import successor
from transforms.statuses import AwardStatus, RequestStatus

# The platform may have forgotten the id of a request that is older than this.
ID_REMEMBERED = timedelta(hours=1)
MOST_SUCCESSORS = 2
MOST_RESENDS = 3
MOST_FAILED_READS = 3
READ_TRIES = 3


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

    def rest_until(self, tracked: Tracked) -> datetime:
        """Return when an ambiguous request may be read back first."""
        verdict = self.verdicts.get(tracked.request.badge_meta_id)
        lag = verdict.lag_seconds * 2 if verdict else 0.0
        since = tracked.last_ended_at or utc_now()
        return since + timedelta(seconds=max(self.waits.resend_after, lag))

    def quiet_until(self, tracked: Tracked) -> datetime:
        """Return when the second read may take absence for a proof."""
        since = tracked.last_ended_at or utc_now()
        quiet = timedelta(seconds=self.waits.settle_after)
        return max(since + quiet, self.rest_until(tracked))

    async def read_back(self, tracked: Tracked, line: Line) -> list[Step]:
        """Read every open customer, settle those proved, choose what comes next."""
        badge = tracked.request.badge_meta_id
        readings = {
            customer_id: await read_customer(line, customer_id, badge)
            for customer_id in list(tracked.awards)
        }
        known = await asyncio.to_thread(self._known, badge, list(readings))
        await self._settle_found(tracked, readings, known)
        if not tracked.awards:
            return []
        unread = [c for c in tracked.awards if readings[c] is None]
        if len(unread) == len(tracked.awards):
            return await self._again_or_give_up(tracked)
        absent = await self._shown_absent(tracked, readings, known, line)
        if tracked.is_burnt or tracked.is_foreign or tracked.refusals:
            return await self._after_burning(tracked, absent)
        return await self._before_resending(tracked, readings, absent)

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
            mine = theirs.filter(pl.col("earned_badge_id").is_not_null())
            found = found_earns(
                reading,
                [ours, *_rivals(theirs, ours)],
                struck_out=set(mine["earned_badge_id"]),
                dates_known=set(mine["earn_event_date"]),
            )
            for one in found:
                if one.award_id == ours.award_id:
                    self.rows.found(entry, tracked, customer_id, one, now)
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
    ) -> list[int]:
        """Return the open customers whose absence is a proof."""
        badge, now = tracked.request.badge_meta_id, utc_now()
        issued = known.filter(pl.col("earned_badge_id").is_not_null())
        before = dict(issued["customer_id"].value_counts().iter_rows())
        absent = [
            customer_id
            for customer_id in tracked.awards
            if (reading := readings[customer_id]) is not None
            and is_absence_shown(
                reading,
                verdict=self.verdicts.get(badge),
                now=now,
                issued_before=before.get(customer_id, 0),
            )
        ]
        if absent and not await self._is_control_visible(badge, absent, line):
            return []
        return absent

    async def _is_control_visible(
        self, badge: str, absent: Sequence[int], line: Line
    ) -> bool:
        """Tell whether a customer who surely has the badge shows the same way."""
        controls = await asyncio.to_thread(
            self.ledger.read, "control_customers", badge_meta_id=badge
        )
        for customer_id, earned_badge_id, earn_date in controls.iter_rows():
            if customer_id in absent:
                continue
            reading = await read_customer(line, customer_id, badge)
            if reading is None:
                continue
            if not self.verdicts[badge].lists_earns:
                return bool(reading.earn_count)
            return any(
                earn.earned_badge_id == earned_badge_id
                or earn.earn_event_date == earn_date
                for earn in reading.earns
            )
        return False

    async def _again_or_give_up(self, tracked: Tracked) -> list[Step]:
        tracked.reads_failed += 1
        if tracked.reads_failed >= MOST_FAILED_READS:
            return await self.give_up(tracked, "the platform could not be read")
        return [Step(tracked, "read", utc_now() + self._rest())]

    def _rest(self) -> timedelta:
        return timedelta(seconds=self.waits.resend_after)

    async def _before_resending(
        self,
        tracked: Tracked,
        readings: dict[int, Reading | None],
        absent: list[int],
    ) -> list[Step]:
        """Send the rest again under the same id, with only those still missing."""
        tracked.reads_absent += 1
        age = utc_now() - (tracked.last_ended_at or utc_now())
        may_be_sent = [c for c in tracked.awards if readings[c] is not None]
        if age > ID_REMEMBERED:
            may_be_sent = absent
        if not may_be_sent:
            return await self.give_up(tracked, "absence is not proved")
        if tracked.resends >= MOST_RESENDS:
            return await self.give_up(tracked, "every attempt ended ambiguously")
        tracked.resends += 1
        tracked.to_send = tuple(may_be_sent)
        return [Step(tracked, "send")]

    async def _after_burning(self, tracked: Tracked, absent: list[int]) -> list[Step]:
        """Absent in two reads, the second after the quiet time: a proof."""
        tracked.reads_absent += 1
        quiet_until = self.quiet_until(tracked)
        if tracked.reads_absent < 2 or utc_now() < quiet_until:
            return [Step(tracked, "read", quiet_until)]
        await self._settle_refused(tracked, absent)
        if not tracked.awards:
            return []
        proved = [c for c in absent if c in tracked.awards]
        if tracked.is_foreign:
            return await self.give_up(tracked, "its id was used by somebody else")
        if not tracked.is_burnt or not proved:
            return await self.give_up(tracked, "absence is not proved")
        if tracked.succession >= MOST_SUCCESSORS:
            return await self.give_up(tracked, "two successors did not settle it")
        return await self._succeed(tracked, proved)

    async def _settle_refused(self, tracked: Tracked, absent: list[int]) -> None:
        """Believe the refusals of a further attempt: the earlier one did nothing."""
        entry, now = Entry(), utc_now()
        for customer_id in absent:
            if outcome := tracked.refusals.get(customer_id):
                self.rows.outcome(entry, tracked, outcome, now)
        if not tracked.awards:
            self.rows.request(entry, tracked, RequestStatus.ANSWERED, now)
        if entry.rows:
            await self.recorder.write(entry)

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
        if tracked.awards:  # those who are not proved stay behind, unknown
            self.rows.request(entry, tracked, RequestStatus.UNKNOWN, utc_now())
            tracked.is_given_up = True
        await self.recorder.write(entry)
        return [Step(made, "send")]

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


async def read_customer(line: Line, customer_id: int, badge: str) -> Reading | None:
    """Read one customer's earns of one badge; None if the platform won't say.

    Where the reading lists no earns, the customer's earned list is asked as well: it
    shows the last earn of each badge, which can prove presence, never absence.
    """
    reading = None
    for number in range(READ_TRIES):
        answer = await line.customer_badge(customer_id, badge)
        if answer.http_status == 200:
            reading = reading_of(answer.body)
            break
        if answer.http_status == 401:
            line.discard_token()
        await asyncio.sleep(min(0.2 * 2**number, 2.0))
    if reading is None or reading.is_whole or not reading.earn_count:
        return reading
    last = await _last_earn(line, customer_id, badge)
    return reading if last is None else reading.joined(last)


async def _last_earn(line: Line, customer_id: int, badge: str) -> Reading | None:
    bodies: list[bytes] = []
    page, pages = 0, 1
    while page < pages:
        answer = await line.earned_list(customer_id, page)
        if answer.http_status != 200:
            return None
        bodies.append(answer.body)
        pages, page = page_count(answer.body), page + 1
    return last_earn_of(bodies, badge)
