from __future__ import annotations

import re
from pathlib import Path

import pytest
from faults_known import CANARY, MIDDLE
from rig_faults import BADGE, audited, bench
from rig_scoring import broken_chains

from flows.sandbox import Fault
from transforms.statuses import FINAL, RELEASED, TRANSITIONS, WITHDRAWN, AwardStatus

CONTRIBUTING = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"
_ARROW = re.compile(r"^ +(\S+) --> (\S+): (.+)$", re.MULTILINE)
# Where the diagram begins and ends.
_EDGE = "[*]"


def test_every_status_can_be_come_to_and_those_not_final_be_left() -> None:
    """No award is caught in a state, and no state is without a way to it."""
    targets = {one.target for one in TRANSITIONS}
    left = {one.source for one in TRANSITIONS if one.source != one.target}

    assert targets == {*map(str, AwardStatus), WITHDRAWN, RELEASED}
    assert {str(one) for one in AwardStatus if one not in FINAL} <= left


def test_the_diagram_is_the_codes_own() -> None:
    """What people read of the states of an award is what the code allows."""
    text = CONTRIBUTING.read_text("utf-8")
    (_, _, section) = text.partition("## States of an award")
    drawn = [match.groups() for match in _ARROW.finditer(section)]

    assert drawn == [
        (
            one.source or _EDGE,
            _EDGE if one.target in {WITHDRAWN, RELEASED} else one.target,
            one.why,
        )
        for one in TRANSITIONS
    ]


# One of each: refused, lost, answered late, half done, too large.
FAULTS = (
    Fault("crash", nth=CANARY, badge_meta_id=BADGE),
    Fault("part", nth=MIDDLE, badge_meta_id=BADGE),
    Fault("too_large", nth=MIDDLE + 1, badge_meta_id=BADGE),
    Fault("unknown_code", nth=MIDDLE + 2, badge_meta_id=BADGE),
    Fault("too_many", nth=MIDDLE + 3, badge_meta_id=BADGE),
)


def test_every_event_of_a_run_is_one_of_the_transitions(tmp_path: Path) -> None:
    """Events go on from where their award stood, and only as the table allows."""
    with bench(tmp_path, faults=FAULTS) as made:
        made.send()
        events = audited(made.home).events

    assert broken_chains(events) == []
    moves = {(event["from_status"], event["to_status"]) for event in events}
    assert len(moves) >= 8


@pytest.mark.parametrize(
    ("was", "becomes"), [("issued", "sent"), (None, "sent"), ("failed", "issued")]
)
def test_a_move_that_is_not_in_the_table_is_found(
    was: str | None, becomes: str
) -> None:
    """The check that all fault tests make would see a wrong move."""
    begun = [{"award_id": "a", "from_status": None, "to_status": "planned"}]
    wrong = {"award_id": "b", "from_status": was, "to_status": becomes}

    assert broken_chains(begun) == []
    assert broken_chains([*begun, wrong]) != []
