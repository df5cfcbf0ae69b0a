"""The states of an award and of a request, and nothing that moves them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AwardStatus(StrEnum):
    """Where an award stands. An award has exactly one of these at any time."""

    PLANNED = "planned"  # reserved; never sent, or every attempt surely not processed
    SENT = "sent"  # a request is out and no answer is recorded
    UNKNOWN = "unknown"  # an answer was lost or incomplete, nothing is proved yet
    ISSUED = "issued"  # listed without error, or shown by reading back
    ALREADY_EARNED = "already_earned"  # an earn that is not ours covers it
    FAILED = "failed"  # refused for a reason that a retry can't mend
    BLOCKED = "blocked"  # refused for a reason that someone can mend
    REVOKED = "revoked"  # taken back by us; stays known until released

    @property
    def is_final(self) -> bool:
        """Whether nothing but a person's command moves the award from here."""
        return self in FINAL

    @property
    def is_open(self) -> bool:
        """Whether a request may be out there whose effect is not known."""
        return self in {AwardStatus.SENT, AwardStatus.UNKNOWN}


FINAL = frozenset(
    {
        AwardStatus.ISSUED,
        AwardStatus.ALREADY_EARNED,
        AwardStatus.FAILED,
        AwardStatus.REVOKED,
    }
)

# Events that take an award out of the ledger's present: the award is planned anew, or
# under its next generation.
WITHDRAWN = "withdrawn"
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Transition:
    """A move that an award may make, and when it does; None is where it begins."""

    source: str | None
    target: str
    why: str


# Every event of every award is one of these: `tests/test_statuses.py`.
TRANSITIONS = (
    Transition(None, "planned", "reserved, before anything is sent"),
    Transition(None, "already_earned", "held before, by the brand's own list"),
    Transition("planned", "sent", "written down before the first byte leaves"),
    Transition("planned", "planned", "put into a smaller request, or the next canary"),
    Transition("planned", "unknown", "the ledger was rebuilt: it may have been sent"),
    Transition("planned", "withdrawn", "never sent; a later run plans it anew"),
    Transition("sent", "issued", "listed without error and with an id, or read back"),
    Transition("sent", "already_earned", "1040, or an older earn was read back"),
    Transition("sent", "failed", "refused by a code that a retry can't mend"),
    Transition("sent", "blocked", "refused by a code that someone can mend"),
    Transition("sent", "unknown", "no answer, or none that decides"),
    Transition("sent", "planned", "surely not processed, too large, or proved absent"),
    Transition("sent", "sent", "its run died; it was missing and goes out again"),
    Transition("unknown", "issued", "read back, or listed by a further answer"),
    Transition("unknown", "already_earned", "a refusal that reading bears out"),
    Transition("unknown", "failed", "a refusal that reading bears out"),
    Transition("unknown", "blocked", "a refusal that reading bears out"),
    Transition("unknown", "sent", "missing when read back: the same id again"),
    Transition("unknown", "planned", "proved absent: a new request takes over"),
    Transition("unknown", "unknown", "nothing more can be proved; the reason says why"),
    Transition("blocked", "planned", "`retry`"),
    Transition("failed", "planned", "`retry`, where the status is named"),
    Transition("issued", "issued", "a note on its revocation"),
    Transition("issued", "revoked", "`revoke`"),
    Transition("revoked", "released", "`release`: planned as its next generation"),
)


class Proof(StrEnum):
    """Why an award is taken to be where it is."""

    ANSWER = "answer"  # the platform's answer listed the customer
    READ_BACK = "read_back"  # reading the customer's badges showed the earn
    HELD = "held"  # the brand's own list of earned badges
    CODE = "code"  # a platform code said so


class RequestStatus(StrEnum):
    """Where a request stands."""

    PLANNED = "planned"  # not sent, or surely not processed
    SENT = "sent"  # out, no answer recorded
    UNKNOWN = "unknown"  # answered ambiguously; being settled, or left for a person
    ANSWERED = "answered"  # every customer in it has come to a known end
    SPLIT = "split"  # replaced by two smaller ones
    SUCCEEDED = "succeeded"  # its id is burnt; what it lacked went to a successor
    WITHDRAWN = "withdrawn"  # never sent and no longer wanted
