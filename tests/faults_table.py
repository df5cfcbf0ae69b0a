"""Prints what every fault comes to, as Markdown: `python tests/faults_table.py`.

Belongs here: the table of the README. Does not belong here: what must hold, which tests
hold (`test_faults`, `test_fault_sequences`, `test_platform_matrix`).

Every number is measured by playing the scenes; with `--quick` one in nine.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import test_fault_sequences
import test_faults
import test_platform_matrix
from faults_known import known_cases
from rig_faults import Playing, Seen, played
from test_fault_sequences import SEEDS, Dealt
from test_platform_matrix import SCENES

HEAD = """\
| what goes wrong | scenes | lost | doubled | misreported | unexplained \
| unknown after the run | unknown at last |
|---|---:|---:|---:|---:|---:|---:|---:|"""


def main() -> None:
    """Play the scenes and print a line for each group of them."""
    logging.disable(logging.CRITICAL)
    step = 9 if "--quick" in sys.argv else 1
    print(HEAD)  # noqa: T201  a command's output
    for group, seen in _groups(step):
        print(_line(group, seen), flush=True)  # noqa: T201


def _groups(step: int) -> Iterator[tuple[str, list[Seen]]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for case in known_cases()[::step]:
        grouped[case.group].append(case)
    for group, cases in grouped.items():
        yield group, _played(cases, _case_played, test_faults.as_expected)
    seeds = [Dealt(seed) for seed in range(0, SEEDS, step)]
    expected = test_fault_sequences.as_expected
    told = "five to eight of these at random, on changing platforms"
    yield told, _played(seeds, _dealt_played, expected)
    scenes = SCENES[::step]
    told = "the hardest of these, on every platform the documents allow"
    yield told, _played(scenes, _scene_played, test_platform_matrix.as_expected)


def _played(
    scenes: list[Any],
    play: Callable[[Any], Seen],
    as_expected: Callable[[Any, Seen], bool],
) -> list[Seen]:
    playing = Playing(play, scenes, as_expected)
    try:
        return [playing[scene] for scene in scenes]
    finally:
        playing.close()


def _case_played(case: Any) -> Seen:
    return played(faults=case.faults, switches=case.switches, is_oauth=case.is_oauth)


def _dealt_played(dealt: Dealt) -> Seen:
    is_oauth = dealt.seed % 2 == 0
    return played(faults=dealt.faults, switches=dealt.switches, is_oauth=is_oauth)


def _scene_played(scene: Any) -> Seen:
    switches = scene.platform.switches
    is_oauth = "token_ttl_seconds" in switches
    return played(faults=scene.faults, switches=switches, is_oauth=is_oauth)


def _line(group: str, seen: list[Seen]) -> str:
    """Return a line: the worst of the first and the last run, over all scenes."""
    four = [
        sum(max(one.first.four[n], one.last.four[n]) for one in seen) for n in range(4)
    ]
    unknown = [sum(one.first.statuses["unknown"] for one in seen)]
    unknown += [sum(one.last.statuses["unknown"] for one in seen)]
    return f"| {group} | {len(seen)} | " + " | ".join(map(str, four + unknown)) + " |"


if __name__ == "__main__":
    main()
