"""Retry: what was refused goes out again under a new id, and only what may."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from factories_imports import BADGE, Brand, brand, visits
from rig_ledger import DAY, awards, calls_of, issue, typed

from flows.commands.retrying import RETRIED, retry_awards
from flows.pipeline import Work
from flows.runs.job import Job
from flows.runs.report import Report
from flows.settings import settings
from transforms.awards.retrying import following_requests

SENT = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = "653de334b3cda7078c7c6800"


def retry(shop: Brand, run: str = "latest", **asked: Any) -> Report:
    """Retry a run's refused awards."""
    statuses = asked.pop("statuses", RETRIED)
    codes = asked.pop("codes", ())
    work = Work(Job(**asked), settings(shop.environ, env_file=None), shop.home)
    return asyncio.run(retry_awards(work, run, statuses=statuses, codes=codes))


def refused(*rows: tuple[str, int, int, str, datetime | None]) -> pl.DataFrame:
    """Return refused awards: id, customer, occurrence, last request, its start."""
    frame = pl.DataFrame(
        rows,
        schema={
            "award_id": pl.String,
            "customer_id": pl.Int64,
            "occurrence": pl.Int64,
            "request_id": pl.String,
            "first_attempt_at": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )
    return frame.with_columns(
        badge=pl.lit("regular"),
        badge_meta_id=pl.lit(BADGE),
        reference_id=pl.lit("retro"),
        earn_event_date=pl.lit(DAY, pl.Datetime("us", "UTC")),
    )


def test_a_new_request_follows_the_one_that_was_sent_first() -> None:
    """Awards of several requests share a new one; it names the earliest of them."""
    frame = refused(
        ("a", 1, 1, "r2", SENT + timedelta(hours=1)),
        ("b", 2, 1, "r1", SENT),
        ("c", 3, 1, "r3", None),
    )
    requests, members = following_requests(frame, batch_size=100)

    assert requests["predecessor_request_id"].to_list() == ["r1"]
    assert members["award_id"].to_list() == ["a", "b", "c"]


def test_the_id_is_new_and_always_the_same() -> None:
    """The same refused awards give the same id in any order, pinned to a literal."""
    frame = refused(("a", 1, 1, "r1", SENT), ("b", 2, 1, "r1", SENT))
    once = following_requests(frame, batch_size=100)[0]["request_id"].item()
    again = following_requests(frame.reverse(), batch_size=100)[0]["request_id"].item()
    later = frame.with_columns(request_id=pl.lit(once))
    third = following_requests(later, batch_size=100)[0]["request_id"].item()

    assert once == again == "79d1394e55ba15c15bbca8694a746599"
    assert third != once


def test_requests_of_one_customer_stay_in_their_queue() -> None:
    """Two awards of one customer go one after the other, under the new ids."""
    frame = refused(("a", 1, 1, "r1", SENT), ("b", 1, 2, "r2", SENT))
    requests, _ = following_requests(frame, batch_size=100)

    assert requests["after_request_id"].to_list() == [None, requests["request_id"][0]]


def test_a_canary_is_cut_alone() -> None:
    """The award that is to be tried first gets a request of its own."""
    frame = refused(("a", 1, 1, "r1", SENT), ("b", 2, 1, "r1", SENT))
    requests, _ = following_requests(frame, batch_size=100, canaries=["b"])

    assert requests.select("is_canary", "customers").rows() == [(True, 1), (False, 1)]


def test_an_unclaimed_badge_is_claimed_and_tried_again(tmp_path: Path) -> None:
    """810 blocks the canary; claimed, retry sends it under a new id, then the rest."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("refusal", code=810, times=3)
        run = issue(shop, awards(range(1, 13)))
        assert shop.statuses() == {"blocked": 1, "planned": 11}
        shop.sandbox.clear_faults()
        report = retry(shop, run)

        assert report.exit_status == 0
        assert report.told["awards_retried"] == 1
        assert report.told["statuses"] == {"issued": 1}
        assert shop.statuses() == {"issued": 12}
        customers = sorted(earn.customer_id for earn in shop.sandbox.earns(BADGE))
        assert customers == list(range(1, 13))
        followed = shop.ask(
            "SELECT n.is_canary, n.customers, o.status FROM requests AS n "
            "JOIN requests AS o ON o.request_id = n.predecessor_request_id"
        )
        assert followed.rows() == [(True, 1, "answered")]


def test_what_is_said_of_it(tmp_path: Path) -> None:
    """The event names who retried what, and why it had been refused."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("unknown_code", nth=2, customers=(2,), code=7777)
        run = issue(shop, awards([1, 2, 3]))
        report = retry(shop, run)
        said = shop.ask(
            "SELECT from_status, to_status, actor, reason FROM award_events "
            f"WHERE run_id = '{report.run_id}' ORDER BY event_seq"
        ).rows()

        assert said[0][:2] == ("blocked", "planned")
        assert said[0][2] != "retrobadge"
        assert said[0][3] == "retried: was blocked by code 7777"
        assert said[-1][:2] == ("sent", "issued")
        kinds = "SELECT kind, status FROM latest_run"
        assert shop.ask(kinds).row(0) == ("retry", "finished")


def test_only_what_is_selected_is_retried(tmp_path: Path) -> None:
    """Codes and award ids narrow it; the rest stays blocked and counts as waiting."""
    with brand(tmp_path) as shop:
        shop.sandbox.add_badge(OTHER, "Other", reference_id="retro")
        for badge, customer, code in ((BADGE, 2, 7777), (OTHER, 8, 7778)):
            shop.sandbox.fault(
                "unknown_code",
                badge_meta_id=badge,
                nth=2,
                customers=(customer,),
                code=code,
            )
        other = awards([7, 8], badge="other", badge_meta_id=OTHER)
        run = issue(shop, awards([1, 2]), other)
        assert shop.statuses() == {"issued": 2, "blocked": 2}
        assert retry(shop, run, codes=(1,)).told["awards_retried"] == 0
        report = retry(shop, run, codes=(7778,))
        assert report.told["statuses"] == {"issued": 1}
        assert report.waiting == 1
        few = shop.folder / "few.txt"
        few.write_text("award_id\n" + awards([2])["award_id"].item() + "\n")

        assert retry(shop, run, awards_file=few).told["statuses"] == {"issued": 1}
        assert shop.statuses() == {"issued": 4}


def test_failed_awards_are_retried_only_when_named(tmp_path: Path) -> None:
    """`failed` is final until somebody asks for it by its name."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("refusal", nth=2, code=816, status=400)
        run = issue(shop, awards([1, 2, 3]))
        assert shop.statuses() == {"issued": 1, "failed": 2}
        assert retry(shop, run).told["awards_retried"] == 0
        named = typed(shop, "retry", run, "--status", "failed", "--json")

        assert named.exit_code == 0, named.output
        assert orjson.loads(named.stdout)["statuses"] == {"issued": 2}
        assert shop.statuses() == {"issued": 3}


def test_unknown_is_for_settling_and_nothing_else(tmp_path: Path) -> None:
    """An award that may have been issued is never sent again by name."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        unknown = typed(shop, "retry", "latest", "--status", "unknown")
        issued = typed(shop, "retry", "latest", "--status", "issued")

        assert unknown.exit_code == issued.exit_code == 2
        assert "resume" in unknown.stderr
        assert "blocked or failed" in issued.stderr


def test_nothing_to_retry_calls_nobody(tmp_path: Path) -> None:
    """Where nothing is refused, nothing is sent, and all is well."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        calls = len(shop.sandbox.calls)
        done = typed(shop, "retry", run)

        assert done.exit_code == 0
        assert "nothing to be retried" in done.stdout
        assert len(shop.sandbox.calls) == calls


def test_refused_again_and_retried_again(tmp_path: Path) -> None:
    """Every retry has an id of its own, so no refused id is ever sent twice."""
    with brand(tmp_path, switches={"failed_calls_burn_id": True}) as shop:
        shop.sandbox.fault("refusal", nth=2, code=815, times=2)
        run = issue(shop, awards([1, 2, 3]))
        refused_again = retry(shop, run)
        assert refused_again.exit_status == 3
        assert refused_again.told["statuses"] == {"blocked": 2}
        assert retry(shop, run).told["statuses"] == {"issued": 2}

        ids = [c.request_id for c in shop.sandbox.calls if c.endpoint == "earnBulk"]
        assert len(ids) == len(set(ids)) == 4
        assert len(shop.sandbox.earns(BADGE)) == 3


def test_a_lost_answer_is_settled_and_nobody_earns_twice(tmp_path: Path) -> None:
    """A retry whose answer is lost is settled as any other request is."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("unknown_code", nth=2, customers=(2, 3))
        run = issue(shop, awards(range(1, 6)))
        shop.sandbox.fault("drop_after")
        report = retry(shop, run)

        assert report.told["statuses"] == {"issued": 2}
        customers = sorted(earn.customer_id for earn in shop.sandbox.earns(BADGE))
        assert customers == [1, 2, 3, 4, 5]


def test_a_retry_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    """What a retry reserved and did not get to send is never planned anew."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("refusal", nth=2, code=815)
        shop.write(may=visits([1, 2, 3]))
        run = shop.run().run_id
        shop.sandbox.fault("token_expired")
        stopped = retry(shop, run)
        assert stopped.exit_status == 4
        assert shop.statuses() == {"issued": 1, "planned": 2}
        resumed = shop.run()

        assert resumed.counts["awards_planned"] == 0
        assert shop.statuses() == {"issued": 3}
        assert calls_of(shop, "earnBulk") == 4


def test_a_run_is_found_by_what_it_touched_last(tmp_path: Path) -> None:
    """Awards that a later run was refused are that run's, and still the first one's."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("refusal", nth=2, code=815, times=2)
        issue(shop, awards([1, 2, 3]))
        retry(shop)
        second = retry(shop)

        assert second.told["awards_retried"] == 2
        assert second.told["of_run"] != second.run_id
