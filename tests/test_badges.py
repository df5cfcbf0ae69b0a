"""Badges of the platform: read, checked before sending, and held against guards."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from factories_awards import (
    AS_OF,
    BADGE_META_ID,
    NEW_YORK,
    at,
    badge,
    classified,
    facts,
    hold,
)

from transforms.awards.guards import (
    PlanFigures,
    guard_faults,
    plan_figures,
    rule_digest,
    take_over_faults,
)
from transforms.definition.definition import Guards, Rule
from transforms.platform.badges import BadgeFacts, Claim, badge_facts
from transforms.platform.preflight import preflight_faults, warnings


def badge_meta(**fields: Any) -> dict[str, Any]:
    """Return badgeMeta's data as the platform gives it (contract 2.4)."""
    return {
        "id": BADGE_META_ID,
        "badgeNumericId": 12,
        "orgId": 100,
        "name": "First",
        "startOn": 1483246800.0,
        "startOnISO": "2017-01-01T05:00:00Z",
        "expiresOn": 1514782800.192,
        "earnType": "EARN",
        "status": "EXPIRED",
        "active": True,
        "earnedBadgeExpiry": {"expiryType": "NEVER"},
        "issuedBadgeExpiry": None,
        "ownership": {
            "restrictedToOwners": ["Loyalty", "Historical_Import"],
            "claims": [
                {
                    "ownerType": "Historical_Import",
                    "referenceId": "retro-2017",
                    "isActive": True,
                }
            ],
        },
        "customerConstraints": [],
        "badgeConstraints": None,
        "benefits": [],
        "earnedCount": 5,
        **fields,
    }


# --- reading


def test_a_badge_is_read_as_documented():
    """ISO dates first, else epoch seconds with a fraction."""
    read = badge_facts(badge_meta())
    assert read == BadgeFacts(
        badge_meta_id=BADGE_META_ID,
        name="First",
        earn_type="EARN",
        starts_at=at("2017-01-01T05:00"),
        expires_at=at("2018-01-01T05:00:00.192"),
        owners=("Loyalty", "Historical_Import"),
        claims=(Claim("Historical_Import", "retro-2017", is_active=True),),
        earned_expiry="NEVER",
        expiry_text="never, which is a hundred years",
    )
    assert read.status == "EXPIRED"
    assert read.raw.startswith("{")


def test_names_of_the_customer_reads_are_understood():
    """Other pages say startsOn, badgeType, owner, claimedBy and action."""
    read = badge_facts(
        {
            "id": BADGE_META_ID,
            "startsOnISO": "2017-01-01T05:00:00+05:30",
            "expiresOn": 1514782800,
            "badgeType": "ISSUE_EARN",
            "badgeStatus": "LIVE",
            "action": "DE_ACTIVATED",
            "owner": ["Historical_Import"],
            "claimedBy": [{"ownerType": "Historical_Import", "referenceId": 7}],
            "earnExpiry": {"expiryType": "RELATIVE", "relativeExpirytype": "WEEKS"},
        }
    )
    assert read.starts_at == at("2016-12-31T23:30")
    assert (read.earn_type, read.status, read.is_active) == (
        "ISSUE_EARN",
        "LIVE",
        False,
    )
    assert read.owners == ("Historical_Import",)
    assert read.claims == (Claim("Historical_Import", "7", is_active=True),)
    assert read.is_expiry_relative


@pytest.mark.parametrize("nothing", [{}, {"ownership": [], "claims": 3, "owner": "x"}])
def test_a_badge_of_which_nothing_is_told_is_still_read(nothing):
    """Missing and strange fields are blanks: preflight says what is wanting."""
    read = badge_facts(nothing)
    assert read.owners == ()
    assert (read.starts_at, read.expires_at) == (None, None)
    assert {fault.code for fault in preflight_faults(read, badge(), as_of=AS_OF)} == {
        "badge_not_ours",
        "badge_not_claimed",
    }


def test_a_date_in_milliseconds_is_no_open_window():
    """The platform stores such a date as the year 57906; it must not look open."""
    for given in (
        {"startOn": 1765178896000.0, "startOnISO": "+57906-04-18T07:06:40Z"},
        {"startOn": 1765178896000, "startOnISO": None},
    ):
        read = badge_facts(badge_meta(**given))
        assert read.starts_at is None
        (fault,) = preflight_faults(read, badge(), as_of=AS_OF)
        assert fault.code == "badge_dates"
        assert "startOn" in fault.message
        assert "milliseconds" in fault.message


@pytest.mark.parametrize(
    ("expiry", "text", "is_relative"),
    [
        (
            {"expiryType": "RELATIVE", "relativeExpirytype": "WEEKS", "value": 2},
            "2 weeks after it is processed",
            True,
        ),
        (
            {"expiryType": "relative", "relativeExpiryType": "DAYS", "value": 3},
            "3 days after it is processed",
            True,
        ),
        (
            {"expiryType": "ABSOLUTE", "type": "WITH_BADGE_META", "expiresOn": None},
            "with the badge",
            False,
        ),
        (
            {
                "expiryType": "ABSOLUTE",
                "type": "FIXED_DATE",
                "expiresOnISO": "2020-01-01T00:00:00Z",
            },
            "on 2020-01-01T00:00:00+00:00",
            False,
        ),
        (None, "", False),
    ],
)
def test_the_expiry_of_an_earned_badge_is_put_into_words(expiry, text, is_relative):
    """Relative expiry counts from the processing (contract 7)."""
    read = badge_facts(badge_meta(earnedBadgeExpiry=expiry))
    assert (read.expiry_text, read.is_expiry_relative) == (text, is_relative)


@pytest.mark.parametrize(
    ("limit", "text", "is_rolling"),
    [
        (
            {"constraintType": "OVERALL", "maxEarnLimit": 100, "rollValue": None},
            "100 in all per customer",
            False,
        ),
        (
            {
                "constraintType": "CUSTOMER_BADGE_FIXED_WINDOW",
                "durationType": "DAYS",
                "refreshRate": 3,
                "maxEarnLimit": 1,
            },
            "1 in each 3 days per customer",
            False,
        ),
        (
            {
                "constraintType": "ROLLING_WINDOW",
                "rollType": "WEEKS",
                "rollValue": 1,
                "maxEarnLimit": 3000,
            },
            "3000 in any 1 weeks per customer",
            True,
        ),
        (
            {"rollingWindowLimits": [{"limit": 3}]},
            "an unread number in any window per customer",
            True,
        ),
    ],
)
def test_limits_are_read_and_rolling_ones_are_seen(limit, text, is_rolling):
    """A limit of a kind with another name rolls if it has a field that does."""
    read = badge_facts(badge_meta(customerConstraints=[limit]))
    assert read.limits == (text,)
    assert read.has_rolling_limit is is_rolling
    of_badge = badge_facts(badge_meta(badgeConstraints=[limit]))
    assert of_badge.has_rolling_limit is is_rolling


def test_only_what_matters_to_an_award_makes_a_badge_another():
    """Counters and status move by themselves; windows and claims don't."""
    read = badge_facts(badge_meta())
    later = badge_facts(badge_meta(earnedCount=9, status="LIVE"))
    assert (later, later.digest) == (read, read.digest)
    for changed in (
        {"active": False},
        {"expiresOn": 1514782801},
        {"ownership": {"restrictedToOwners": ["Historical_Import"], "claims": []}},
        {"earnedBadgeExpiry": {"expiryType": "RELATIVE"}},
        {"customerConstraints": [{"constraintType": "OVERALL", "maxEarnLimit": 1}]},
    ):
        other = badge_facts(badge_meta(**changed))
        assert other != read
        assert other.digest != read.digest


# --- preflight


def test_a_badge_that_can_be_awarded_has_no_faults():
    """An expired badge is no obstacle."""
    assert preflight_faults(badge_facts(badge_meta()), badge(), as_of=AS_OF) == []


@pytest.mark.parametrize(
    ("changed", "code", "remedy"),
    [
        ({"badge_meta_id": "other"}, "badge_other", "CAPILLARY_BASE_URL"),
        ({"is_active": False}, "badge_inactive", "activate it"),
        (
            {"starts_at": at("2018-06-01T00:00:01")},
            "badge_upcoming",
            "move its start into the past",
        ),
        ({"status": "UPCOMING"}, "badge_upcoming", "or wait"),
        ({"owners": ("Loyalty",)}, "badge_not_ours", "add Historical_Import"),
        ({"claims": ()}, "badge_not_claimed", "retrobadge claim"),
        (
            {"claims": (Claim("Historical_Import", "retro-2017", is_active=False),)},
            "badge_not_claimed",
            "no longer active",
        ),
        (
            {"claims": (Claim("Historical_Import", "retro-2016", is_active=True),)},
            "badge_not_claimed",
            "'retro-2016'",
        ),
        (
            {"claims": (Claim("Loyalty", "retro-2017", is_active=True),)},
            "badge_not_claimed",
            "correct reference_id",
        ),
        ({"earn_type": "ISSUE_EARN"}, "badge_wants_enrolment", "enrolled = true"),
        ({"earn_type": "EARN_LATER"}, "badge_earn_type", "leave the badge out"),
    ],
)
def test_preflight_names_what_is_wrong_and_what_to_do(changed, code, remedy):
    """One fault per obstacle, at the badge's place in the definition."""
    (fault,) = preflight_faults(replace(facts(), **changed), badge(), as_of=AS_OF)
    assert fault.code == code
    assert remedy in fault.message
    assert fault.column == "badges.first"


def test_preflight_says_everything_at_once():
    """A badge that is wrong in three ways has three faults."""
    wrong = replace(facts(), is_active=False, owners=(), claims=())
    assert len(preflight_faults(wrong, badge(), as_of=AS_OF)) == 3


def test_a_badge_that_starts_now_can_be_awarded():
    """Upcoming means after as_of."""
    assert preflight_faults(facts(starts_at=AS_OF), badge(), as_of=AS_OF) == []


def test_enrolled_customers_may_earn():
    """The definition answers for the enrolment; the plan still warns."""
    enrolled = facts(earn_type="ISSUE_EARN")
    assert preflight_faults(enrolled, badge(enrolled=True), as_of=AS_OF) == []


# --- warnings


def warned(changed: BadgeFacts, planned: pl.DataFrame | None = None, **keys) -> str:
    """Return all warnings of a badge as one text."""
    found = warnings(
        changed, badge(**keys), as_of=AS_OF, timezone=NEW_YORK, planned=planned
    )
    return "\n".join(found)


def test_a_harmless_badge_has_no_warnings():
    """Silence means that there is nothing to know."""
    planned = classified([(1, 1, "2017-05-03T12:00")])
    assert warned(facts(), planned) == ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (
            facts(earned_expiry="RELATIVE", expiry_text="2 weeks after"),
            "become active now",
        ),
        (facts(earned_expires_at=at("2018-01-01")), "arrive expired"),
        (facts(has_benefits=True), "Benefits"),
        (facts(earn_type="ISSUE_EARN"), "enrolment"),
        (facts(earn_type=""), "taken for EARN"),
        (facts(has_rolling_limit=True), "day of sending"),
        (facts(limits=("1 in all per customer",)), "1 in all per customer"),
        (facts(expires_at=at("2018-01-01")), "815"),
    ],
)
def test_warnings_say_what_a_person_should_know(changed, word):
    """Each kind of trap has a sentence of its own."""
    assert word in warned(changed)


def test_awards_at_the_edges_of_the_window_are_counted():
    """The zone of a badge's dates is a conflict of the documentation."""
    planned = classified(
        [(1, 1, "2017-05-03T12:00"), (2, 1, "2017-05-09T12:00")],
    )
    edges = facts(
        starts_at=at("2017-05-03T00:00-04:00"), expires_at=at("2017-05-10T00:00-04:00")
    )
    assert "2 awards lie on the first or last day" in warned(edges, planned)
    wide = facts(starts_at=at("2017-01-01"), expires_at=at("2019-01-01"))
    assert "first or last day" not in warned(wide, planned)


def test_dating_to_the_window_start_is_said():
    """A person should know that dates are not those of the activity."""
    opens = facts(starts_at=at("2017-01-01"))
    assert "first day" in warned(opens, before_window="window_start")


# --- guards

FIGURES = PlanFigures(
    awards=100,
    most_awards_of_a_customer=4,
    calls=12,
    asked_for=150,
    out_of_window=15,
)


def test_guards_that_are_unset_hold_nothing_back():
    """Only the guards of doubtful badges are on by default."""
    verdict = guard_faults(Guards(), FIGURES, {"first": facts()})
    assert verdict == ((), False)


@pytest.mark.parametrize(
    ("name", "limit", "too_small"),
    [
        ("max_awards", 100, 99),
        ("max_awards_per_customer", 4, 3),
        ("max_calls", 12, 11),
        ("max_out_of_window_share", Decimal("0.1"), Decimal("0.0999")),
    ],
)
def test_a_bound_takes_its_limit_and_no_more(name, limit, too_small):
    """A guard refuses what goes beyond it, by its name and with the numbers."""
    assert guard_faults(Guards(**{name: limit}), FIGURES, {}).refused_by == ()
    (fault,) = guard_faults(Guards(**{name: too_small}), FIGURES, {}).refused_by
    assert fault.code == f"guard_{name}"
    assert fault.column == f"guards.{name}"
    assert str(too_small) in fault.message


def test_a_share_of_nothing_is_nothing():
    """A plan without qualifications has none outside a window."""
    empty = PlanFigures(
        awards=0, most_awards_of_a_customer=0, calls=0, asked_for=0, out_of_window=0
    )
    guards = Guards(max_out_of_window_share=Decimal(0), approve_above=0)
    assert guard_faults(guards, empty, {}) == ((), False)


def test_approval_is_wanted_above_the_limit():
    """approve_above asks a person; it refuses nothing."""
    assert guard_faults(Guards(approve_above=99), FIGURES, {}) == ((), True)
    assert guard_faults(Guards(approve_above=100), FIGURES, {}) == ((), False)


@pytest.mark.parametrize(
    ("guard", "doubtful"),
    [
        (
            "allow_relative_expiry",
            facts(earned_expiry="RELATIVE", expiry_text="2 weeks after"),
        ),
        ("allow_rolling_limit", facts(has_rolling_limit=True)),
    ],
)
def test_doubtful_badges_are_awarded_only_if_allowed(guard, doubtful):
    """The fault names the badge and the key that allows it."""
    (fault,) = guard_faults(Guards(), FIGURES, {"first": doubtful}).refused_by
    assert fault.column == f"guards.{guard}"
    assert "badge first" in fault.message
    allowed = Guards(**{guard: True})
    assert guard_faults(allowed, FIGURES, {"first": doubtful}).refused_by == ()


def test_figures_are_taken_from_classified_awards():
    """What was not asked for counts nowhere; the ledger's awards were."""
    frame = classified(
        [
            (1, 1, "2017-05-03T12:00"),
            (1, 2, "2017-05-04T12:00"),
            (2, 1, "2017-05-03T12:00"),
            (3, 1, "2012-05-03T12:00"),
            (4, 1, "2017-09-03T12:00"),
        ],
        badge=badge(repeat=True),
        facts=facts(starts_at=at("2013-01-01")),
        earned_until=date(2017, 9, 1),
    )
    counts = Counter(frame["result"])
    planned = frame.filter(result="planned")
    assert plan_figures(planned, counts, calls=2) == PlanFigures(
        awards=3,
        most_awards_of_a_customer=2,
        calls=2,
        asked_for=4,
        out_of_window=1,
    )
    nothing = plan_figures(planned.clear(), {}, calls=0)
    assert nothing.most_awards_of_a_customer == nothing.asked_for == 0


def owned(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """Return awards of the ledger as (import_name, rule_digest, planned_at)."""
    return pl.DataFrame(
        {
            "import_name": [row[0] for row in rows],
            "rule_digest": [row[1] for row in rows],
            "planned_at": [at(row[2]) for row in rows],
        },
        schema={
            "import_name": pl.String,
            "rule_digest": pl.String,
            "planned_at": pl.Datetime("us", "UTC"),
        },
    )


def test_a_badge_of_another_import_or_rule_is_not_taken_over_unasked():
    """The fault says whose it is and both ways out."""
    ours = rule_digest(badge())

    def faults(known: pl.DataFrame, guards: Guards) -> list[str]:
        found = take_over_faults(guards, badge(), known, import_name="grocery")
        return [fault.message for fault in found]

    assert faults(owned(), Guards()) == []
    assert faults(owned(("grocery", ours, "2018-01-01")), Guards()) == []
    (other,) = faults(owned(("pharmacy", ours, "2018-01-01")), Guards())
    assert "import 'pharmacy'" in other
    assert "series" in other
    assert "take_over = true" in other
    older = owned(("grocery", "old", "2018-01-01"))
    (rule,) = faults(older, Guards())
    assert "another rule" in rule
    assert faults(older, Guards(take_over=True)) == []


def test_who_planned_last_owns_the_badge():
    """After a take-over the guard is quiet for the new owner and holds the old one."""
    ours = rule_digest(badge())
    known = owned(("old", "old", "2018-01-01"), ("new", ours, "2018-02-01"))
    assert take_over_faults(Guards(), badge(), known, import_name="new") == []
    assert take_over_faults(Guards(), badge(), known, import_name="old") != []
    without = known.drop("planned_at")
    assert take_over_faults(Guards(), badge(), without, import_name="new") != []


def test_only_what_decides_who_earns_is_in_the_digest():
    """Dates, names and holds may change; thresholds and conditions may not."""
    ours = badge(rule=Rule(kind="total_amount", at_least=Decimal(50)))
    same = [
        {"rule": Rule(kind="total_amount", at_least=Decimal("50.00"))},
        {"rule": Rule(kind="total_amount", at_least=50)},
        {"name": "x"},
        {"precision": "exact"},
        {"hold": hold(1, "d")},
        {"earned_from": date(2017, 1, 1)},
        {"reference_id": "x"},
    ]
    for keys in same:
        told = badge(**{"rule": ours.rule, **keys})
        assert rule_digest(told) == rule_digest(ours), keys
    other = [
        {"rule": Rule(kind="total_amount", at_least=Decimal("50.01"))},
        {"rule": Rule(kind="total_amount", at_least=50, where="amount > 1")},
        {"where": "amount > 1"},
        {"repeat": True},
        {"counted_from": date(2017, 1, 1)},
    ]
    digests = {rule_digest(badge(**{"rule": ours.rule, **keys})) for keys in other}
    assert len(digests) == len(other)
    assert rule_digest(ours) not in digests
    assert rule_digest(ours) == (
        "724154e3f920180cce66d6c92e8e565207f5004f6f1cb2d509a6a365982ca0e6"
    )
