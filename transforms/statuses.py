"""The states of an award and of a request, and nothing that moves them."""

from __future__ import annotations

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
