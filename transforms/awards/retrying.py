"""The requests by which refused awards are sent again.

Belongs here: cutting them, and the request that each of them follows. Does not belong
here: which awards are sent again, and when (`flows.commands.retrying`).

The ids of refused requests may be burnt (contract 6, code 810), so every new one names
a refused request as its predecessor and gets an id of its own by that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from transforms.awards.batches import cut_requests
from transforms.platform.request_frames import frames_of, requests_from_frames
from transforms.platform.requests import Request, new_request

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import polars as pl


def following_requests(
    refused: pl.DataFrame, *, batch_size: int, canaries: Collection[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return requests and their awards, as `batches.cut_requests` cuts them.

    `refused`: the columns of `cut_requests`, and for each award `request_id`, the last
    request it was in, and `first_attempt_at`, when that one or what it followed was
    first sent (null: never). The predecessor of a request is the one among those of its
    awards that was sent first: what reading back may take for ours reaches back to it.
    """
    requests, request_awards = cut_requests(
        refused, batch_size=batch_size, canaries=canaries
    )
    columns = refused.select("award_id", "request_id", "first_attempt_at")
    last = {
        award_id: (first_attempt_at, request_id)
        for award_id, request_id, first_attempt_at in columns.iter_rows()
    }
    ids: dict[str | None, str] = {}
    made = []
    for cut in requests_from_frames(requests, request_awards):
        follower = _follower(cut, [last[award.award_id] for award in cut.awards])
        ids[cut.request_id] = follower.request_id
        # Those that share a customer stay in their queue, under their new ids.
        made.append(replace(follower, after_request_id=ids.get(cut.after_request_id)))
    return frames_of(made)


def _follower(cut: Request, last: list[tuple[datetime | None, str]]) -> Request:
    sent = [(at, request_id) for at, request_id in last if at is not None]
    predecessor = min(sent)[1] if sent else min(request_id for _, request_id in last)
    return new_request(
        ((award.award_id, award.customer_id) for award in cut.awards),
        badge=cut.badge,
        badge_meta_id=cut.badge_meta_id,
        reference_id=cut.reference_id,
        earn_event_date=cut.earn_event_date,
        date_text=cut.date_text,
        is_canary=cut.is_canary,
        predecessor_request_id=predecessor,
    )
