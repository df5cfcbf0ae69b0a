"""Brings an ambiguous request to a known end, or leaves it unknown (settlement 4).

Belongs here: choosing the next step from what reading back shows. Does not belong here:
what a reading proves (`flows.sending.proofs`), sending and waiting
(`flows.sending.dispatch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from flows.platform.capillary import Line, utc_now
from flows.records.ledger import Entry, Ledger
from flows.sending.proofs import Proofs, Readings, arrived
from flows.sending.recorder import Recorder
from flows.sending.tracking import Rows, Tracked
from transforms.platform.evidence import Verdict
from transforms.platform.outcomes import Outcome
from transforms.platform.requests import split, successor
from transforms.statuses import AwardStatus, RequestStatus

# The platform may have forgotten the id of a request that is older than this.
ID_REMEMBERED = timedelta(hours=1)
MOST_SUCCESSORS = 2
MOST_RESENDS = 3
MOST_FAILED_READS = 3
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
        self.proofs = Proofs(
            self.ledger, self.recorder, self.rows.run_id, self.verdicts, self.may_prove
        )
        self._doubts: dict[str, int] = {}
        # What one request strikes out another must see: two may seek the same earn.
        self._matching = asyncio.Lock()

    def rest_until(self, tracked: Tracked) -> datetime:
        """Return when an ambiguous request may be read back first."""
        since = tracked.last_ended_at or utc_now()
        lag = self.proofs.lag(tracked.request.badge_meta_id)
        return since + max(self._rest(), lag)

    def shown_at(self, tracked: Tracked) -> datetime:
        """Return when reads show what an answered call has made."""
        since = tracked.last_ended_at or utc_now()
        return since + self.proofs.lag(tracked.request.badge_meta_id)

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
        is_hidden = await self._settle_doubted(tracked, readings, known, line)
        if not tracked.awards:
            return []
        await self.proofs.look_at_controls(tracked.request.badge_meta_id, line)
        unread = [c for c in tracked.awards if readings[c] is None]
        if (unread or is_hidden) and tracked.reads_failed < MOST_FAILED_READS - 1:
            return self._read_again(tracked)
        if told := _unprovable(tracked, unread):
            return await self.give_up(tracked, told)
        if _needs_proof(tracked):
            return await self._after_burning(tracked, readings, known, line)
        return await self._before_resending(tracked, readings, known, line)

    async def settle_present(
        self, tracked: Tracked, line: Line
    ) -> tuple[Readings, pl.DataFrame]:
        """Read every open customer and settle those whose earn is there.

        Returns what was read, and what the ledger has for these customers.
        """
        badge = tracked.request.badge_meta_id
        readings = {
            customer_id: await self.proofs.read(line, customer_id, badge)
            for customer_id in list(tracked.awards)
        }
        async with self._matching:
            known = await self.proofs.known(badge, list(readings))
            entry, now = Entry(), utc_now()
            for customer_id, one in arrived(tracked, readings, known).items():
                self.rows.found(entry, tracked, customer_id, one, now)
                self._doubts.pop(badge, None)
            if not tracked.awards:
                self.rows.request(entry, tracked, RequestStatus.ANSWERED, now)
            if entry.rows:
                await self.recorder.write(entry)
        return readings, known

    async def _settle_doubted(
        self, tracked: Tracked, readings: Readings, known: pl.DataFrame, line: Line
    ) -> bool:
        """Believe a refusal beside a new id if the earn is not there all the same.

        Where the platform offers nothing to read, its code is all there is. True if
        nothing can be told now: somebody who has the badge does not show yet.
        """
        doubted = {c: o for c, o in tracked.doubted.items() if c in tracked.awards}
        if not doubted:
            return False
        missing = self.proofs.missing(tracked, readings, known, is_proof=False)
        missing = [customer_id for customer_id in missing if customer_id in doubted]
        control = self.proofs.is_control_visible
        if missing and await control(tracked, missing, line) is False:
            return True
        silent = [c for c in doubted if (r := readings[c]) is not None and r.is_silent]
        await self._believe(tracked, {c: doubted[c] for c in (*missing, *silent)})
        return False

    async def _believe(self, tracked: Tracked, refusals: dict[int, Outcome]) -> None:
        """Settle refusals that reading back did not contradict."""
        entry, now = Entry(), utc_now()
        believed = [o for c, o in refusals.items() if c in tracked.awards]
        self.rows.outcomes(entry, tracked, believed, now)
        if doubtful := sum(outcome.is_doubtful for outcome in believed):
            badge = tracked.request.badge_meta_id
            self._doubts[badge] = self._doubts.get(badge, 0) + doubtful
        if not tracked.awards:
            self.rows.request(entry, tracked, RequestStatus.ANSWERED, now)
        if entry.rows:
            await self.recorder.write(entry)

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
        readings: Readings,
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
            absent = await self.proofs.shown_absent(tracked, readings, known, line)
        else:
            absent = self.proofs.missing(tracked, readings, known, is_proof=False)
            if await self.proofs.is_control_visible(tracked, absent, line) is False:
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
        readings: Readings,
        known: pl.DataFrame,
        line: Line,
    ) -> list[Step]:
        """Absent in two reads, the second after the quiet time: a proof."""
        tracked.reads_absent += 1
        quiet_until = self.quiet_until(tracked)
        if tracked.reads_absent < 2 or utc_now() < quiet_until:
            return [Step(tracked, "read", quiet_until)]
        absent = await self.proofs.shown_absent(tracked, readings, known, line)
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
