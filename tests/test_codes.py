"""The table of platform codes: complete, in words, and as settlement decides."""

from __future__ import annotations

import pytest

from transforms.platform.codes import (
    CODES,
    RequestEffect,
    WholeRequest,
    customer_status,
    platform_code,
    request_effect,
)
from transforms.statuses import AwardStatus

# Every code of the contract's table of badge errors, and those of access and size.
DOCUMENTED = [400, 404, 714, 716, 717, 720, 722, 723, 724, 725, 728, 732, 733, 737]
DOCUMENTED += [750, 804, 809, 810, 811, 812, 814, 815, 816, 826, 900, 1026, 1028, 1040]
DOCUMENTED += [1051, 1054, 1060, 4000, 4001, 999999]

FAILED, BLOCKED = RequestEffect.FAILED, RequestEffect.BLOCKED
AMBIGUOUS = RequestEffect.AMBIGUOUS


@pytest.mark.parametrize("code", DOCUMENTED)
def test_every_documented_code_says_what_it_means_and_what_to_do(code):
    """A person who reads the audit needs both sentences."""
    entry = platform_code(code)
    assert entry in CODES
    for sentence in (entry.meaning, entry.what_to_do):
        assert len(sentence.split()) >= 4
        assert sentence.endswith(".")


def test_a_code_stands_in_the_table_once():
    """Two rows for a code would let the last one win unseen."""
    codes = [entry.code for entry in CODES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("code", [None, 31337])
def test_an_unknown_code_says_so_and_waits_for_a_person(code):
    """Nobody knows what it stands for: blocked for a customer, ambiguous for all."""
    assert customer_status(code) is AwardStatus.BLOCKED
    assert platform_code(code) not in CODES
    assert "without a code" in platform_code(None).meaning
    assert "31337" in platform_code(31337).meaning
    assert request_effect(400, code) == WholeRequest(AMBIGUOUS)
    assert request_effect(409, code) == WholeRequest(AMBIGUOUS)
    assert request_effect(200, code) == WholeRequest(AMBIGUOUS)


@pytest.mark.parametrize(
    ("http_status", "code", "effect", "stops_badge"),
    [
        (409, 810, BLOCKED, True),
        (409, 811, BLOCKED, True),
        (400, 815, BLOCKED, True),
        (403, 4000, BLOCKED, True),
        (400, 400, FAILED, False),
        (404, 404, FAILED, True),
        (400, 714, FAILED, False),
        (400, 716, FAILED, False),
        (400, 717, FAILED, False),
        (400, 750, FAILED, False),
        (400, 804, FAILED, False),
        (400, 812, FAILED, False),
        (400, 816, FAILED, False),
        (400, 1054, FAILED, True),
        (200, 810, BLOCKED, True),  # a 2xx is not a success
        (413, None, RequestEffect.TOO_LARGE, False),
        (400, 1060, RequestEffect.TOO_LARGE, False),
        (200, 1060, RequestEffect.TOO_LARGE, False),
        (400, 809, RequestEffect.REPEATED, False),
        (401, None, RequestEffect.LOGIN_REFUSED, False),
        (401, 4000, RequestEffect.LOGIN_REFUSED, False),
        (429, None, RequestEffect.NOT_PROCESSED, False),
        (429, 810, RequestEffect.NOT_PROCESSED, False),
        (503, 4001, RequestEffect.NOT_PROCESSED, False),
        (503, 31337, RequestEffect.NOT_PROCESSED, False),
        (503, None, AMBIGUOUS, False),
        (500, 999999, AMBIGUOUS, False),
        (400, 999999, AMBIGUOUS, False),
        (500, 810, AMBIGUOUS, False),
        (502, None, AMBIGUOUS, False),
        (504, 809, AMBIGUOUS, False),
        (521, None, AMBIGUOUS, False),
        (302, None, AMBIGUOUS, False),
        (408, 810, AMBIGUOUS, False),
        (425, None, AMBIGUOUS, False),
        (461, 461, AMBIGUOUS, False),
        (499, None, AMBIGUOUS, False),
        (403, None, AMBIGUOUS, False),
        (400, 4000, AMBIGUOUS, False),
        (400, 4001, AMBIGUOUS, False),
        (404, None, AMBIGUOUS, False),
        (200, 1040, AMBIGUOUS, False),
        (400, 1026, AMBIGUOUS, False),
        (200, None, AMBIGUOUS, False),
    ],
)
def test_a_whole_request_is_decided_as_settlement_says(
    http_status, code, effect, stops_badge
):
    """One row per line of the table; what is named nowhere is ambiguous."""
    decided = request_effect(http_status, code)
    assert decided == WholeRequest(effect, stops_badge=stops_badge)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1040, AwardStatus.ALREADY_EARNED),
        (810, AwardStatus.BLOCKED),
        (811, AwardStatus.BLOCKED),
        (815, AwardStatus.BLOCKED),
        (4000, AwardStatus.BLOCKED),
        (404, AwardStatus.FAILED),
        (750, AwardStatus.FAILED),
        (816, AwardStatus.FAILED),
        (1026, AwardStatus.BLOCKED),
        (91009, AwardStatus.BLOCKED),
        (809, AwardStatus.UNKNOWN),
        (999999, AwardStatus.UNKNOWN),
    ],
)
def test_a_listed_customer_ends_by_their_code(code, status):
    """Codes that prove nothing leave the customer to be settled."""
    assert customer_status(code) is status


@pytest.mark.parametrize(
    ("code", "message", "is_size"),
    [
        (400, "customerIds: size must be between 1 and 50", True),
        (400, "Too many customers in one call", True),
        (31337, "Maximum batch size exceeded", True),
        (31337, "Payload too large", True),
        (400, "ownerType must be one of [Loyalty]", False),
        (31337, "Customer earn limit exceeded", False),
        (400, "earnEventDate exceeds the badge's end", False),
        (810, "batch size exceeded", False),
        (999999, "batch size exceeded", False),
        (None, "batch size exceeded", False),
    ],
)
def test_a_complaint_about_size_is_told_from_other_complaints(code, message, is_size):
    """Only an envelope complains, and only where the code does not say otherwise."""
    result = request_effect(400, code, message).result
    assert (result is RequestEffect.TOO_LARGE) == is_size
