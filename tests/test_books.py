"""The books: they balance, and each term broken on purpose is seen."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from factories_awards import badge, classified, facts, held, known

from transforms.awards.awards import PlanResult
from transforms.books import (
    AnswerCounts,
    BadgeCounts,
    Books,
    FileCounts,
    LedgerCounts,
    balance,
)

FILE = FileCounts(
    source="activity",
    path="activity/may.csv.gz",
    read=100,
    accepted=80,
    anonymous=5,
    unmapped=4,
    excluded=3,
    rejected=6,
    duplicate=2,
    current=70,
    superseded=10,
)
BADGE = BadgeCounts(
    badge="first",
    qualified=36,
    outside_bounds=1,
    not_selected=2,
    out_of_window=3,
    not_yet_due=4,
    held_back=5,
    held=6,
    in_ledger=7,
    planned=8,
)
LEDGER = LedgerCounts(
    statuses={"issued": 5, "already_earned": 6, "blocked": 2}, withdrawn=1
)
ANSWER = AnswerCounts(
    request_id="r1", customers=8, listed_well=5, listed_failed=2, missing=1
)
BOOKS = Books(files=(FILE,), badges=(BADGE,), ledger=LEDGER, answers=(ANSWER,))

NUMBERS = [
    (name, field.name)
    for name, counts in (("files", FILE), ("badges", BADGE), ("answers", ANSWER))
    for field in fields(counts)
    if isinstance(getattr(counts, field.name), int)
]


def with_changed(name: str, field: str, by: int) -> Books:
    """Return the books with one number of one wall moved."""
    (counts,) = getattr(BOOKS, name)
    changed: Any = replace(counts, **{field: getattr(counts, field) + by})
    return replace(BOOKS, **{name: (changed,)})


def test_true_books_balance():
    """Counts that agree at every wall have no fault."""
    assert balance(BOOKS) == []
    assert balance(Books()) == []


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize(("name", "field"), NUMBERS)
def test_every_number_of_every_wall_is_held(name, field, by):
    """One too many or too few anywhere is seen, and the place is named."""
    faults = balance(with_changed(name, field, by))
    assert faults
    place = {"files": FILE.path, "badges": "badges.first", "answers": "request r1"}
    for fault in faults:
        assert fault.code.startswith("books_")
    assert place[name] in str(faults[0])


@pytest.mark.parametrize("status", list(LEDGER.statuses))
def test_every_status_of_the_ledger_is_held(status):
    """An award lost from one status must turn up somewhere."""
    fewer = {**LEDGER.statuses, status: LEDGER.statuses[status] - 1}
    (fault,) = balance(replace(BOOKS, ledger=LedgerCounts(statuses=fewer, withdrawn=1)))
    assert fault.code == "books_awards"
    assert "planned 8 + held 6" in fault.message


def test_withdrawn_awards_are_held():
    """An award that is withdrawn and still in the ledger is counted twice."""
    (fault,) = balance(replace(BOOKS, ledger=replace(LEDGER, withdrawn=2)))
    assert fault.code == "books_awards"


def test_a_status_nobody_knows_is_seen():
    """Balanced sums don't excuse a word that is no status."""
    odd = LedgerCounts(
        statuses={"issued": 5, "already_earned": 6, "blocked": 2, "lost": 1}
    )
    (fault,) = balance(replace(BOOKS, ledger=odd))
    assert fault.code == "books_status"
    assert "'lost'" in fault.message


def test_negative_counts_never_balance():
    """Two wrongs that cancel out are two wrongs."""
    odd = replace(FILE, current=81, superseded=-1)
    (fault,) = balance(replace(BOOKS, files=(odd,)))
    assert "superseded -1" in fault.message
    cancelled = LedgerCounts(statuses={"issued": 15}, withdrawn=-1)
    (fault,) = balance(replace(BOOKS, ledger=cancelled))
    assert fault.code == "books_awards"


def test_an_earned_badge_id_stands_for_one_award():
    """Two awards with one id mean that one of them did not arrive."""
    (fault,) = balance(replace(BOOKS, doubled_earned_ids=("earn-1",)))
    assert fault.code == "books_earned_badge_id"
    assert "earn-1" in fault.message


def test_a_plan_has_no_ledger_to_agree_with():
    """Nothing is reserved before apply; an empty ledger is another thing."""
    assert balance(replace(BOOKS, ledger=None)) == []
    (fault,) = balance(replace(BOOKS, ledger=LedgerCounts(statuses={})))
    assert "nothing in the ledger" in fault.message


def test_several_files_and_badges_are_checked_one_by_one():
    """One file's surplus does not make up for another's loss."""
    files = (replace(FILE, path="a", read=101), replace(FILE, path="b", read=99))
    faults = balance(replace(BOOKS, files=files))
    assert [fault.file for fault in faults] == ["a", "b"]


def test_totals_are_named_as_in_the_command():
    """The command prints these very keys."""
    twice = replace(BOOKS, files=(FILE, FILE))
    assert twice.totals() == {
        "rows_read": 200,
        "rows_accepted": 160,
        "rows_rejected": 12,
        "rows_duplicate": 4,
        "rows_anonymous": 10,
        "rows_unmapped": 8,
        "rows_excluded": 6,
        "rows_superseded": 20,
        "awards_qualified": 36,
        "awards_in_ledger": 7,
        "awards_planned": 8,
    }


def test_the_results_of_a_plan_are_the_terms_of_its_equation():
    """A result that the books don't know would be lost without a trace."""
    terms = {field.name for field in fields(BadgeCounts)} - {"badge", "qualified"}
    assert terms == {str(result) for result in PlanResult}
    frame = classified(
        [(c, 1, "2017-05-03T12:00") for c in (1, 2, 3)],
        badge=badge(),
        facts=facts(),
        known=known({"award_id": "a1", "customer_id": 1}),
        held=held((2, "2015-01-01", "earn-2")),
    )
    counted = dict.fromkeys(terms, 0)
    for result, count in frame["result"].value_counts().rows():
        counted[result] = count
    counts = BadgeCounts(badge="first", qualified=3, **counted)
    assert balance(Books(badges=(counts,))) == []
    assert (counts.in_ledger, counts.held, counts.planned) == (1, 1, 1)
