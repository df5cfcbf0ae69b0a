"""Every fault alone: nothing is lost, doubled, misreported or left unexplained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults_known import Case, known_cases
from rig_faults import Playing, Seen, played, playing

# Of so many cases the plain run plays one; `-m faults` plays them all.
SHARE = 9
CASES = [
    pytest.param(case, id=str(case), marks=pytest.mark.faults(share=n % SHARE == 0))
    for n, case in enumerate(known_cases())
]


def as_expected(case: Case, came: Seen) -> bool:
    """Tell whether a case leaves open what it must, and in the end nothing."""
    open_at_first = {"unknown": case.unknown_at_first, "planned": case.planned_at_first}
    return (
        all(
            bool(came.first.statuses[status]) == bool(reason)
            for status, reason in open_at_first.items()
        )
        and set(came.first.statuses) <= {"issued", *case.ends, *open_at_first}
        and set(came.last.statuses) <= {"issued", *case.ends}
        and sum(came.last.statuses.values()) == 26
    )


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest) -> Iterator[Playing[Case]]:
    """Play the cases that were asked for, side by side."""

    def play(case: Case) -> Seen:
        return played(
            faults=case.faults, switches=case.switches, is_oauth=case.is_oauth
        )

    with playing(request, "case", play, as_expected) as made:
        yield made


@pytest.mark.parametrize("case", CASES)
def test_a_fault_loses_doubles_misreports_nothing(
    case: Case, seen: Playing[Case]
) -> None:
    """The four scores are nought after the run, and when all is done."""
    came = seen[case]

    assert not came.is_wrong, came.told
    assert as_expected(case, came), (came.first.statuses, came.last.statuses)
