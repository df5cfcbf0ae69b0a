"""The hardest faults on every platform that the documents leave possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from faults_known import AFTER_READING, AFTER_TIMEOUT
from rig_faults import BADGE, TWICE, Playing, Seen, played, playing

from flows.sandbox import Fault

# Of so many scenes the plain run plays one; `-m faults` plays them all.
SHARE = 19
EVERYBODY = frozenset(range(1, 17))


@dataclass(frozen=True)
class Platform:
    """A platform as the documents leave it possible.

    `blind`: customers whose absence it can't show. `ends`: statuses besides issued in
    which it makes awards end. `stops`: its canary stops the badge. `skips`: faults that
    nobody can tell from a success on it.
    """

    name: str
    switches: dict[str, Any]
    blind: frozenset[int] = frozenset()
    ends: frozenset[str] = frozenset()
    stops: bool = False
    skips: frozenset[str] = frozenset()


def platforms() -> list[Platform]:
    """Return the platforms, one difference from the documents' samples at a time."""
    return [*_identities(), *_shapes(), *_readings(), *_refusals()]


def _identities() -> Iterator[Platform]:
    yield Platform("as the documents show it", {})
    burns = {"failed_calls_burn_id": True}
    at_end = {"ids_registered_at": "end"}
    # What is committed after its repeat was accepted is there twice: nobody can know.
    late = frozenset({"late"})
    yield Platform("failed calls burn ids", burns)
    yield Platform("ids registered at the end", at_end, skips=late)
    yield Platform("ids registered at the end, burnt", burns | at_end, skips=late)
    forgotten = {"ids_forgotten_after_seconds": 0.5}
    yield Platform("ids forgotten at once", forgotten, skips=late)
    yield Platform("ids per badge", {"request_id_scope": "badge"})


def _shapes() -> Iterator[Platform]:
    new = {"response_shape": "new"}
    yield Platform("new shape", new)
    for element in ("prefixed", "nested"):
        yield Platform(f"{element} failures", new | {"failed_element": element})
    yield Platform(
        "request id in the new shape", new | {"new_shape_has_request_id": True}
    )
    yield Platform("null errors beside ids", {"null_error_beside_id": True})
    yield Platform("no ids beside errors", {"id_beside_error": False})
    yield Platform("empty lists", {"empty_as": "list"})
    yield Platform("nulls for nothing", {"empty_as": "null"})
    yield Platform("customers in order", {"shuffles": False})
    yield Platform("a server in India", {"server_zone": "Asia/Kolkata"})


def _readings() -> Iterator[Platform]:
    for listed in ("newest", "empty", "absent"):
        name = f"earns {listed}"
        yield Platform(name, {"earns_listed": listed}, blind=TWICE)
        switches = {"earns_listed": listed, "earns_counted": "active"}
        yield Platform(f"{name}, active counted", switches, blind=TWICE)
        posted = {"earns_listed": listed, "last_earn_is": "newest_posted"}
        yield Platform(f"{name}, last posted", posted, blind=TWICE)
    for key in ("earnId", "issuedId", "id"):
        yield Platform(f"ids as {key}", {"earn_id_key": key})
    for how in ("text", "seconds"):
        yield Platform(f"dates as {how}", {"earn_date_as": how})
    yield Platform("no dates", {"earn_date_as": "none"}, blind=TWICE)
    yield Platform(
        "lists bare", {"list_container": "list", "earns_listed": "empty"}, blind=TWICE
    )
    yield Platform(
        "pages beside",
        {"pagination_inside": False, "earns_listed": "empty"},
        blind=TWICE,
    )
    at_once = {"earns_expire_at_once": True}
    yield Platform("expired at once", at_once)
    yield Platform(
        "expired at once, active counted",
        at_once | {"earns_counted": "active"},
        blind=TWICE,
    )
    yield Platform("dates cut to the day", {"dates_read_back": "day"}, stops=True)
    yield Platform("dates shifted", {"dates_shifted_seconds": 19_800}, stops=True)
    yield Platform("reads lag", {"reads_lag_seconds": 0.25})
    # A canary that does not show in time proves nothing; nor does anybody after it.
    # Where failed calls free their ids too, one that failed when committed would be
    # sent again: what rests must rest longer than reads lag.
    burns = {"failed_calls_burn_id": True}
    yield Platform(
        "reads lag long", burns | {"reads_lag_seconds": 2.0}, blind=EVERYBODY
    )


def _refusals() -> Iterator[Platform]:
    ends = frozenset({"blocked", "already_earned"})
    for refused in ("same_date", "any_date"):
        name = f"a second earn refused: {refused}"
        yield Platform(name, {"second_earn_refused": refused}, ends=ends)
    for how, most in (("413", 2), ("1060", 3)):
        switches = {"max_customers": most, "too_large": how}
        yield Platform(f"at most {most} customers, {how}", switches)
    yield Platform("207 for a part", {"partial_status": 207})
    yield Platform("tokens of a second", {"token_ttl_seconds": 1})


def _fault(kind: Any, nth: int, **fields: Any) -> Fault:
    return Fault(kind, nth=nth, badge_meta_id=BADGE, **fields)


HARDEST = {
    "canary dies": (_fault("crash", 1),),
    "canary fails when committed": (_fault("part", 1),),
    "half": (_fault("part_drop", 3), _fault("drop_after", 5, reset=True)),
    "fails": (
        _fault("part", 3),
        _fault("internal", 4),
        _fault("html", 6, status=504, commit=True),
    ),
    "late": (
        _fault("late", 3, seconds=AFTER_READING),
        _fault("slow", 5, seconds=AFTER_TIMEOUT),
    ),
    "odd": (_fault("missing", 3), _fault("in_both", 4), _fault("error_with_id", 5)),
}


@dataclass(frozen=True)
class Scene:
    """A platform and the faults that strike on it."""

    platform: Platform
    fault: str
    faults: tuple[Fault, ...] = field(repr=False, default=())

    def __str__(self) -> str:
        """Return the name of its test."""
        return f"{self.platform.name}: {self.fault}"


SCENES = [
    Scene(platform, name, HARDEST[name])
    for platform, name in product(platforms(), HARDEST)
    if name not in platform.skips
]


def as_expected(scene: Scene, came: Seen) -> bool:
    """Tell whether only whom the platform can't show is left unknown.

    A platform that shows other dates gets its canaries, and no more.
    """
    platform = scene.platform
    if platform.stops:
        told = came.stopped_badges.values()
        is_said = all("the platform shows" in one for one in told)
        return is_said and came.first.statuses["planned"] >= 20
    left = set(came.last.statuses) - {"issued", *platform.ends}
    return left <= {"unknown"} and came.last.unknown <= platform.blind


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest) -> Iterator[Playing[Scene]]:
    """Play the scenes that were asked for, side by side."""

    def play(scene: Scene) -> Seen:
        switches = scene.platform.switches
        is_oauth = "token_ttl_seconds" in switches
        return played(faults=scene.faults, switches=switches, is_oauth=is_oauth)

    with playing(request, "scene", play, as_expected) as made:
        yield made


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(
            scene,
            id=str(scene),
            marks=pytest.mark.faults(share=number % SHARE == 0),
        )
        for number, scene in enumerate(SCENES)
    ],
)
def test_no_platform_loses_doubles_misreports_anything(
    scene: Scene, seen: Playing[Scene]
) -> None:
    """The four scores are nought; unknown is only whom the platform can't show."""
    came = seen[scene]

    assert not came.is_wrong, came.told
    assert as_expected(scene, came), (came.last.statuses, came.last.unknown)
