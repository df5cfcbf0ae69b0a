"""What reading back proves, by what it has shown of a badge so far.

Belongs here: verdicts, controls, and which customers of a request have arrived, are
missing, or are proved absent (settlement 2, 4). Does not belong here: the rules of
proof themselves (`transforms.platform.evidence`), reading (`flows.platform.reading`),
and what follows from a proof (`flows.sending.settle`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from flows.platform.capillary import Line, utc_now
from flows.platform.reading import read_customer, read_offered
from flows.records.ledger import Entry, Ledger
from flows.sending.recorder import Recorder
from flows.sending.tracking import Tracked
from transforms.platform.evidence import (
    Found,
    Reading,
    Sought,
    Verdict,
    found_earns,
    has_unexplained,
    is_absence_shown,
    is_missing,
)

Readings = Mapping[int, Reading | None]
_IS_SETTLED = pl.col("status").is_in(["issued", "already_earned", "revoked"])


@dataclass
class Proofs:
    """The proofs of one run; its verdicts are of canaries, and of controls."""

    ledger: Ledger
    recorder: Recorder
    run_id: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # Without canaries absence is never proved.
    may_prove: bool = True

    def is_shown(self, badge_meta_id: str) -> bool:
        """Tell whether it was shown how earns of a badge are read back."""
        verdict = self.verdicts.get(badge_meta_id)
        return verdict is not None and verdict.holds_at(utc_now())

    def lag(self, badge_meta_id: str) -> timedelta:
        """Return how long reads may take to show what was made."""
        verdict = self.verdicts.get(badge_meta_id)
        return timedelta(seconds=2 * verdict.lag_seconds if verdict else 0.0)

    async def store(self, verdict: Verdict) -> None:
        """Keep what reading back showed of a badge."""
        entry = Entry().add(
            "verdicts",
            badge_meta_id=verdict.badge_meta_id,
            run_id=self.run_id,
            customer_id=verdict.customer_id,
            lists_earns=verdict.lists_earns,
            moves_count=verdict.moves_count,
            lag_seconds=verdict.lag_seconds,
            decided_at=verdict.decided_at,
        )
        await self.recorder.write(entry)
        self.verdicts[verdict.badge_meta_id] = verdict

    async def look_at_controls(self, badge: str, line: Line) -> None:
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

    async def read(self, line: Line, customer_id: int, badge: str) -> Reading | None:
        """Read a customer by every way, unless the list alone was shown to do."""
        verdict = self.verdicts.get(badge)
        is_shown = verdict is not None and verdict.lists_earns
        return await read_offered(line, customer_id, badge, is_thorough=not is_shown)

    async def known(self, badge: str, customer_ids: Sequence[int]) -> pl.DataFrame:
        """Return all that the ledger has of a badge for these customers."""
        wanted = pl.DataFrame({"customer_id": customer_ids}, {"customer_id": pl.Int64})

        def asked() -> pl.DataFrame:
            name = "awards_of_customers"
            return self.ledger.read_with(name, wanted, badge_meta_id=badge)

        return await asyncio.to_thread(asked)

    async def shown_absent(
        self,
        tracked: Tracked,
        readings: Readings,
        known: pl.DataFrame,
        line: Line,
    ) -> list[int] | None:
        """Return the open customers whose absence is a proof.

        None if that can't be told now: nobody who has the badge shows.
        """
        absent = self.missing(tracked, readings, known, is_proof=True)
        if absent and not await self.is_control_visible(tracked, absent, line):
            return None
        return absent

    def missing(
        self,
        tracked: Tracked,
        readings: Readings,
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
            if is_proof or self.is_shown(tracked.request.badge_meta_id):
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

    async def is_control_visible(
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
            reading = await self.read(line, customer_id, badge)
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

    async def _controls(
        self, badge: str, near: datetime
    ) -> list[tuple[int, str, datetime]]:
        """Return who was issued by answer, so long ago that it shows, nearest first."""
        controls = await asyncio.to_thread(
            self.ledger.read,
            "control_customers",
            badge_meta_id=badge,
            issued_until=utc_now() - self.lag(badge),
            near=near,
        )
        return list(controls.iter_rows())


def arrived(
    tracked: Tracked, readings: Readings, known: pl.DataFrame
) -> dict[int, Found]:
    """Return what the readings of a request's customers prove, by customer.

    `known` is what the ledger has of the badge for these customers.
    """
    proved = {}
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
                proved[customer_id] = one
    return proved


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
