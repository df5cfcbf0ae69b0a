from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from factories_imports import BADGE, DEFINITION, Brand, brand, visits

from flows.commands.explaining import Answer, as_json, explain
from transforms.errors import PlanRefused

QUARTER = "[quality]\nmax_rejected_share = 0.5\n"


def answered(shop: Brand, customer_id: int, *, online: bool = False) -> Answer:
    """Explain the badge to a customer, in this process."""
    work = shop.work()
    return asyncio.run(explain(work, "regular", customer_id, is_online=online))


def test_an_award_is_explained_from_file_to_answer(tmp_path: Path) -> None:
    """What counted, the moment, the request that carried it and what was answered."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([4, 5], each=3))
        shop.run()
        told = as_json(answered(shop, 5))

    assert told["is_met"] is True
    assert told["distance"] == ["met 2017-05-02 12:00:00: 2 of 2 activities"]
    (part,) = told["parts"]
    assert [a["row_number"] for a in part["activity"]] == [5, 6, 7]
    assert [a["running"] for a in part["activity"]] == [1, 2, 3]
    assert [a["meets"] for a in part["activity"]] == [[], [1], []]
    assert [q["result"] for q in told["qualifications"]] == ["in_ledger"]
    (award,) = told["awards"]
    assert award["status"] == "issued"
    assert [e["to_status"] for e in told["events"]] == ["planned", "sent", "issued"]
    (request,) = told["requests"]
    assert request["request_id"] == award["request_id"]
    assert [a["http_status"] for a in told["attempts"]] == [200]
    assert told["platform"] is None


def test_rows_that_do_not_count_are_found_with_their_reason(tmp_path: Path) -> None:
    """Superseded, duplicate and rejected rows of the customer are all named."""
    with brand(tmp_path) as shop:
        shop.define(f"{DEFINITION}\n{QUARTER}")
        shop.write(
            may=(
                "who,bill,at,paid\n"
                "5,x1,2017-05-01T12:00:00,1.00\n"
                "5,x1,2017-05-01T12:00:00,1.00\n"
                "5,x2,yesterday,1.00\n"
                "6,x3,2017-05-01T12:00:00,1.00\n"
                "6,x4,2017-05-01T12:00:00,1.00\n"
            ),
            newer=(
                "who,bill,at,paid\n"
                "6,x1,2017-05-01T12:00:00,1.00\n"  # corrected: it was another's
                "7,x5,2017-05-01T12:00:00,1.00\n"
            ),
        )
        told = as_json(answered(shop, 5))

    (part,) = told["parts"]
    assert [a["reason"] for a in part["activity"]] == [
        "superseded: newer.csv has this activity again"
    ]
    assert part["distance"] == "0 of 2 activities: no activity counts"
    assert [
        (n["row_number"], n["reason"].split(":")[0]) for n in told["not_accepted"]
    ] == [
        (3, "duplicate"),
        (4, "rejected"),
    ]
    assert told["not_accepted"][1]["value"] == "yesterday"
    assert told["awards"] == []
    assert "never read" in told["notes"][0]


def test_a_refusal_is_told_in_words(tmp_path: Path) -> None:
    """What the platform's code means stands beside the call that it answered."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("customer_error", times=None, customers=(5,), code=1040)
        shop.write(may=visits([4, 5]))
        shop.run()
        told = as_json(answered(shop, 5))

    assert told["awards"][0]["status"] == "already_earned"
    assert told["events"][-1]["error_code"] == 1040


def test_online_shows_what_the_platform_has(tmp_path: Path) -> None:
    """The earns read back stand beside ours; the window is the platform's own."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([4, 5]))
        shop.run()
        answer = answered(shop, 5, online=True)

    assert answer.reading is not None
    assert answer.reading.earn_count == 1
    assert answer.facts is not None
    assert answer.facts.badge_meta_id == BADGE
    earned = answer.ledger["explain_awards"]["earned_badge_id"].item()
    assert as_json(answer)["platform"]["earns"][0]["earned_badge_id"] == earned


def test_an_unknown_badge_is_refused_with_those_there_are(tmp_path: Path) -> None:
    """A slip of the pen is answered with the names of the definition."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([4]))
        with pytest.raises(PlanRefused, match="the definition has regular"):
            asyncio.run(explain(shop.work(), "regulars", 4, is_online=False))


def test_the_command_explains_in_words_and_in_json(tmp_path: Path) -> None:
    """Whatever is found the command ends with 0; a mobile number is not built yet."""
    with brand(tmp_path) as shop:
        shop.environ = {"RETROBADGE_HOME": str(shop.home.root)}  # no platform at all
        shop.write(may=visits([4], each=1))
        asked = ("explain", str(shop.definition), "--badge", "regular", "--customer")
        words = shop.command(*asked, "4")
        found = shop.command(*asked, "4", "--json")
        mobile = shop.command(*asked, "mobile:4915112345678")

    assert words.returncode == 0, words.stderr
    assert "1 of 2 activities, last on 2017-05-01" in words.stdout
    assert orjson.loads(found.stdout)["is_met"] is False
    assert mobile.returncode == 1
    assert "no mobile is mapped here" in mobile.stderr
