"""Badges and claim: what the platform has, and claiming what a definition needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from factories_imports import BADGE, brand
from rig_ledger import calls_of, typed

from flows.sandbox.records import Claim
from transforms.platform.claims import claim_refusal
from transforms.platform.outcomes import Answer

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def answer(status: int, body: object) -> Answer:
    """Return an answer with this JSON."""
    return Answer(
        started_at=NOW, ended_at=NOW, http_status=status, body=orjson.dumps(body)
    )


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (200, {"data": {"isActive": True}, "errors": []}, None),
        (200, {"data": {"ownerType": "x"}, "warnings": [{"code": 900}]}, None),
        (
            200,
            {"data": {"isActive": False}},
            "the platform shows the claim as inactive",
        ),
        (400, {"data": None, "errors": [{"code": 717, "message": "m"}]}, "717: m"),
        (200, {"data": None, "errors": [{"code": 714, "message": "m"}]}, "714: m"),
        (502, [], "HTTP 502"),
    ],
)
def test_what_an_answer_to_a_claim_says(
    status: int, body: object, refusal: str | None
) -> None:
    """Only data without errors is a claim; claiming again is a success."""
    assert claim_refusal(answer(status, body)) == refusal


def test_all_badges_are_listed_by_name(tmp_path: Path) -> None:
    """Every page is read; the JSON has windows, owners and claims."""
    with brand(tmp_path) as shop:
        for number in range(150):
            shop.sandbox.add_badge(name=f"Badge {number:03}")
        told = orjson.loads(typed(shop, "badges", "--json").stdout)

        names = [badge["name"] for badge in told["badges"]]
        assert len(names) == 151
        assert names == sorted(names)
        assert told["is_cut"] is False
        (ours,) = [b for b in told["badges"] if b["badge_meta_id"] == BADGE]
        assert ours["earn_type"] == "EARN"
        assert ours["starts_at"] == "2000-01-01T00:00:00Z"
        assert ours["owners"] == ["Historical_Import"]
        assert ours["claims"] == [
            {
                "owner_type": "Historical_Import",
                "reference_id": "retro",
                "is_active": True,
            }
        ]


def test_badges_can_be_looked_for_by_name(tmp_path: Path) -> None:
    """A name narrows the list; ids are shown whole."""
    with brand(tmp_path) as shop:
        shop.sandbox.add_badge(name="Night owl")
        shown = typed(shop, "badges", "--name", "regu")

        assert shown.exit_code == 0
        assert BADGE in shown.stdout
        assert "Night owl" not in shown.stdout


def test_badges_that_can_not_be_read_are_refused(tmp_path: Path) -> None:
    """A login that may not read badges is told what it lacks."""
    with brand(tmp_path, switches={"forbidden": {"badgeMetaList"}}) as shop:
        refused = typed(shop, "badges")
        shop.environ["CAPILLARY_PASSWORD"] = "wrong"
        unknown = typed(shop, "badges", "--json")

        assert refused.exit_code == unknown.exit_code == 1
        assert "access group" in refused.stderr
        assert orjson.loads(unknown.stdout)["errors"][0]["code"] == "login_refused"
        assert shop.sandbox.password not in refused.output + unknown.output


def test_a_badge_is_claimed_once(tmp_path: Path) -> None:
    """The claim is made for our owner and the definition's reference, and then kept."""
    with brand(tmp_path) as shop:
        shop.define(retro="retro-2017")
        refused = typed(shop, "claim", str(shop.definition))
        assert refused.exit_code == 1
        assert "nobody said yes to 1 claims (regular)" in refused.stderr
        assert "to be claimed" in refused.stdout
        assert calls_of(shop, "claim") == 0

        done = typed(shop, "claim", str(shop.definition), "--yes", "--json")
        assert done.exit_code == 0
        told = orjson.loads(done.stdout)["claims"]
        assert [claim["state"] for claim in told] == ["claimed now"]
        (badge,) = shop.sandbox.badges
        assert badge.is_claimed_by("Historical_Import", "retro-2017")

        again = typed(shop, "claim", str(shop.definition))
        assert again.exit_code == 0
        assert "claimed before" in again.stdout
        assert calls_of(shop, "claim") == 1


def test_a_claim_whose_answer_is_lost_is_made_again(tmp_path: Path) -> None:
    """Warning 900 on the second try is a success."""
    with brand(tmp_path) as shop:
        shop.define(retro="retro-2017")
        shop.sandbox.fault("drop_after", on="claim")
        done = typed(shop, "claim", str(shop.definition), "--yes")

        assert done.exit_code == 0
        assert "claimed now" in done.stdout
        assert calls_of(shop, "claim") == 2


def test_a_badge_that_is_not_ours_is_not_claimed(tmp_path: Path) -> None:
    """What can't be claimed refuses the whole, before any claim."""
    other = "653de334b3cda7078c7c6801"
    with brand(tmp_path) as shop:
        shop.sandbox.add_badge(other, "Theirs", owners=("Loyalty",), claims=())
        text = shop.definition.read_text().replace("retro", "retro-2017")
        block = text[text.index("[badges.regular]") :]
        block = block.replace("regular", "theirs").replace(BADGE, other)
        shop.definition.write_text(text + block)
        refused = typed(shop, "claim", str(shop.definition), "--yes", "--json")

        assert refused.exit_code == 1
        (fault,) = orjson.loads(refused.stdout)["errors"]
        assert fault["code"] == "badge_not_ours"
        assert fault["column"] == "badges.theirs"
        assert calls_of(shop, "claim") == 0


def test_what_the_platform_refuses_is_told(tmp_path: Path) -> None:
    """A refused claim names the badge and the platform's code, and is not repeated."""
    with brand(tmp_path) as shop:
        shop.define(retro="retro-2017")
        shop.sandbox.fault("refusal", on="claim", code=717, status=400)
        done = typed(shop, "claim", str(shop.definition), "--yes")

        assert done.exit_code == 1
        assert "refused" in done.stdout
        assert "717" in done.stderr
        assert calls_of(shop, "claim") == 1


def test_an_ended_claim_is_made_again(tmp_path: Path) -> None:
    """A claim that is no longer active is none."""
    with brand(tmp_path) as shop:
        ended = Claim(reference_id="retro", is_active=False)
        shop.sandbox.add_badge(BADGE, "Regular", claims=(ended,))
        done = typed(shop, "claim", str(shop.definition), "--yes")

        assert done.exit_code == 0
        assert "claimed now" in done.stdout
