"""Revoke and release: what is taken back, what is kept, and what may be made again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from factories_imports import BADGE, Brand, brand, visits
from rig_ledger import (
    awards,
    calls_of,
    interrupted,
    issue,
    killed,
    opened,
    reserved,
    revoked_in_sandbox,
    typed,
)

from flows.commands.undo import preview, release_awards, revoke_awards
from flows.pipeline import Work
from flows.runs.job import Job
from flows.runs.report import Report
from flows.settings import settings
from transforms.awards.selection import run_named
from transforms.errors import HomeRefused, Refused
from transforms.platform.outcomes import Answer, Failure
from transforms.platform.undo import UndoResult, revocable, revocation
from transforms.statuses import AwardStatus

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
OTHER = "653de334b3cda7078c7c6800"


def work(shop: Brand, **job: Any) -> Work:
    """Return the work of an undo in a brand's home."""
    return Work(Job(**job), settings(shop.environ, env_file=None), shop.home)


def revoke(shop: Brand, run: str = "latest", **job: Any) -> Report:
    """Take back what a run issued."""
    return asyncio.run(revoke_awards(work(shop, **job), run))


def answer(status: int | None = 200, body: Any = None, **fields: Any) -> Answer:
    """Return an answer with this JSON."""
    return Answer(
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=1),
        http_status=status,
        body=body if isinstance(body, bytes) else orjson.dumps(body),
        **fields,
    )


def errors(code: int, message: str = "no") -> dict[str, Any]:
    """Return the envelope of a refusal."""
    return {"data": None, "errors": [{"code": code, "message": message}]}


DONE = {"data": {"earnedBadgeId": "e1", "isActive": False}, "errors": []}


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (answer(200, DONE), UndoResult.REVOKED),
        (answer(200, {"data": {"isActive": False}}), UndoResult.REVOKED),
        (answer(200, {"data": {"isActive": True}}), UndoResult.AMBIGUOUS),
        (answer(200, {"data": {}}), UndoResult.AMBIGUOUS),
        (
            answer(200, {"data": {"earnedBadgeId": "e2", "isActive": False}}),
            UndoResult.AMBIGUOUS,
        ),
        (answer(409, errors(814)), UndoResult.NONE_ACTIVE),
        (answer(200, errors(814)), UndoResult.NONE_ACTIVE),
        (answer(409, errors(7777)), UndoResult.AMBIGUOUS),
        (answer(403, errors(4000)), UndoResult.NOT_REVOKED),
        (answer(404, errors(404)), UndoResult.NOT_REVOKED),
        (answer(500, errors(999999)), UndoResult.AMBIGUOUS),
        (answer(500, DONE), UndoResult.AMBIGUOUS),
        (answer(503, errors(4001)), UndoResult.NOT_PROCESSED),
        (answer(503, b"<html>"), UndoResult.AMBIGUOUS),
        (answer(429, b"slow down"), UndoResult.NOT_PROCESSED),
        (answer(401, b""), UndoResult.LOGIN_REFUSED),
        (answer(200, b"<html>"), UndoResult.AMBIGUOUS),
        (answer(200, [1]), UndoResult.AMBIGUOUS),
        (answer(None, b"", failure=Failure.TIMED_OUT), UndoResult.AMBIGUOUS),
        (answer(None, b"", failure=Failure.NOT_CONNECTED), UndoResult.NOT_PROCESSED),
    ],
)
def test_what_an_answer_decides(given: Answer, result: UndoResult) -> None:
    """Only an envelope decides; whatever else comes is asked again."""
    assert revocation(given, earned_badge_id="e1").result is result


def test_the_wait_that_is_asked_for_is_told() -> None:
    """A Retry-After is read, in seconds."""
    decided = revocation(answer(429, b"", retry_after="7"), earned_badge_id="e1")

    assert decided.wait_seconds == 7.0


def test_an_award_without_an_id_can_not_be_named() -> None:
    """Awards are split by whether their earn has an id."""
    issued = pl.DataFrame({"award_id": ["a", "b"], "earned_badge_id": ["e", None]})
    able, unable = revocable(issued)

    assert able["award_id"].to_list() == ["a"]
    assert unable["award_id"].to_list() == ["b"]


def test_runs_are_named_by_their_beginning() -> None:
    """An id, a unique beginning and `latest` name a run; nothing else does."""
    run_ids = ["20261124T2-b", "20261124T1-a"]

    assert run_named(run_ids, "latest") == "20261124T2-b"
    assert run_named(run_ids, "20261124T1") == "20261124T1-a"
    with pytest.raises(Refused, match="2 runs begin with"):
        run_named(run_ids, "2026")
    with pytest.raises(Refused, match="no run begins with"):
        run_named(run_ids, "2025")
    with pytest.raises(Refused, match="no run begins with"):
        run_named([], "latest")


def test_a_preview_changes_nothing(tmp_path: Path) -> None:
    """Without --yes awards, calls and minutes are told, and nothing is called."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 13)))
        calls = len(shop.sandbox.calls)
        shop.environ["CAPILLARY_REQUESTS_PER_MINUTE"] = "6"
        done = typed(shop, "revoke", run[:-2], "--json")
        told = orjson.loads(done.stdout)

        assert done.exit_code == 0
        assert told["of_run"] == run
        assert (told["awards"], told["calls"], told["minutes"]) == (12, 12, 2.0)
        assert told["badges"] == {"regular": 12}
        assert len(shop.sandbox.calls) == calls
        assert shop.statuses() == {"issued": 12}
        assert shop.ask("SELECT kind FROM runs").rows() == [("import",)]


def test_what_a_run_issued_is_taken_back(tmp_path: Path) -> None:
    """Every issued award is revoked by its own earn, once; it stays known."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 13)))
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.status == "finished"
        assert report.told["revoked"] == 12
        assert (report.told["kept"], report.told["failed"]) == (0, 0)
        assert report.counts["calls"] == calls_of(shop, "revokeEarn") == 12
        assert report.counts["earn_calls"] == 0
        assert revoked_in_sandbox(shop) == list(range(1, 13))
        assert shop.statuses() == {"revoked": 12}
        kept = "SELECT kind, status, message FROM latest_run"
        told = f"of run {run}: revoked 12, kept 0, failed 0, left 0"
        assert shop.ask(kept).row(0) == ("revoke", "finished", told)
        assert len(list(shop.home.backups.iterdir())) == 2


def test_the_intent_comes_first_and_names_a_person(tmp_path: Path) -> None:
    """An award's events say who asked, before what was done."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1]))
        report = revoke(shop, run)
        events = shop.ask(
            "SELECT from_status, to_status, actor, reason FROM award_events "
            f"WHERE run_id = '{report.run_id}' ORDER BY event_seq"
        ).rows()
        settled = shop.ask("SELECT settled_run_id, request_id FROM audit").row(0)

        assert [event[:2] for event in events] == [
            ("issued", "issued"),
            ("issued", "revoked"),
        ]
        assert events[0][2] != "retrobadge"
        assert events[0][3] == "revocation asked for"
        assert settled[0] == report.run_id
        assert settled[1] is not None


def test_only_what_is_selected_is_taken(tmp_path: Path) -> None:
    """Badges, awards and customers narrow it; standard input is a file too."""
    with brand(tmp_path) as shop:
        shop.sandbox.add_badge(OTHER, "Other", reference_id="retro")
        other = awards(range(1, 5), badge="other", badge_meta_id=OTHER)
        run = issue(shop, awards(range(1, 7)), other)
        few = shop.folder / "few.txt"
        few.write_text("customer_id\n1\n2\n77\n")
        revoke(shop, run, badges=("other",), customers_file=few)
        assert revoked_in_sandbox(shop, OTHER) == [1, 2]
        assert revoked_in_sandbox(shop) == []

        ids = awards([5])["award_id"].to_list()
        told = typed(
            shop, "revoke", run, "--yes", "--awards", "-", stdin=f"award_id\n{ids[0]}\n"
        )
        assert told.exit_code == 0, told.stderr
        assert revoked_in_sandbox(shop) == [5]

        with pytest.raises(Refused, match=r"no award of nobody; .* other, regular"):
            revoke(shop, run, badges=("nobody",))


def test_only_issued_awards_are_taken(tmp_path: Path) -> None:
    """What others gave, and what was refused, is left alone."""
    with brand(tmp_path) as shop:
        held = awards([9], result="held")
        shop.sandbox.fault("unknown_code", nth=2, customers=(2,))
        run = issue(shop, awards([1, 2]), held)
        assert shop.statuses() == {"issued": 1, "blocked": 1, "already_earned": 1}
        report = revoke(shop, run)

        assert report.told["revoked"] == 1
        assert shop.statuses() == {"revoked": 1, "blocked": 1, "already_earned": 1}


def test_an_award_without_an_earned_badge_id_is_kept(tmp_path: Path) -> None:
    """What can't be named is kept, and the report says why."""
    with brand(tmp_path, switches={"earns_listed": "absent"}) as shop:
        shop.sandbox.fault("drop_after", nth=2)
        run = issue(shop, awards(range(1, 4)))
        unnamed = shop.ask("SELECT count(*) FROM audit WHERE earned_badge_id IS NULL")
        assert shop.statuses() == {"issued": 3}
        assert unnamed.item() == 2
        report = revoke(shop, run)

        assert report.exit_status == 3
        assert (report.told["revoked"], report.told["kept"]) == (1, 2)
        assert "no earned_badge_id" in next(iter(report.told["kept_because"]))
        assert shop.statuses() == {"revoked": 1, "issued": 2}


def test_nothing_to_take_back_on_a_first_try_is_kept(tmp_path: Path) -> None:
    """814 on a first try says that somebody else did it, or that it expired."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        shop.sandbox.fault("refusal", on="revokeEarn", code=814, times=None)
        for report in (revoke(shop, run), revoke(shop, run)):
            assert report.exit_status == 3
            assert report.status == "finished_open"
            assert (report.told["revoked"], report.told["kept"]) == (0, 2)
            assert "expired, or taken back" in str(report.told["kept_because"])
        state = "SELECT DISTINCT status, error_code, planned_run_id = settled_run_id"

        assert shop.ask(f"{state} FROM audit").rows() == [("issued", 814, True)]


@pytest.mark.parametrize("kind", ["drop_after", "slow"])
def test_a_lost_answer_is_asked_for_again(tmp_path: Path, kind: str) -> None:
    """814 on a repeat says that the first call did it."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2, 3]))
        shop.sandbox.fault(kind, on="revokeEarn", nth=2, seconds=0.7)
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.told["revoked"] == 3
        assert revoked_in_sandbox(shop) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["too_many", "internal"])
def test_what_was_not_done_is_asked_again(tmp_path: Path, kind: str) -> None:
    """A platform that is busy or broken is asked again, within bounds."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2, 3]))
        shop.sandbox.fault(kind, on="revokeEarn", nth=1, times=2)
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.told["revoked"] == 3


def test_what_is_never_decided_is_left_for_the_next_try(tmp_path: Path) -> None:
    """An award whose every answer is lost has failed; the next revoke finishes it."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        shop.sandbox.fault("drop_after", on="revokeEarn", times=5)
        shop.environ["CAPILLARY_MAX_IN_FLIGHT"] = "1"
        first = revoke(shop, run)
        assert first.exit_status == 3
        assert (first.told["revoked"], first.told["failed"]) == (1, 1)
        assert "not decided after 5 tries" in str(first.told["failed_because"])
        assert shop.statuses() == {"revoked": 1, "issued": 1}
        again = revoke(shop, run)

        assert again.exit_status == 0
        assert (again.told["revoked"], again.told["kept"]) == (1, 0)
        assert shop.statuses() == {"revoked": 2}


def test_a_refusal_fails_and_says_so(tmp_path: Path) -> None:
    """A code that refuses leaves the award issued, with the code in the audit."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        shop.sandbox.fault("refusal", on="revokeEarn", code=400, status=400)
        report = revoke(shop, run)

        assert report.exit_status == 3
        assert (report.told["revoked"], report.told["failed"]) == (1, 1)
        seen = shop.ask("SELECT error_code FROM audit WHERE status = 'issued'")
        assert seen.item() == 400


def test_a_refused_login_stops_and_leaves_the_rest(tmp_path: Path) -> None:
    """Without a login nothing more is asked; the rest is as it was."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 7)))
        shop.environ["CAPILLARY_MAX_IN_FLIGHT"] = "1"
        shop.sandbox.fault("token_expired", on="revokeEarn", nth=3)
        stopped = revoke(shop, run)
        assert stopped.exit_status == 4
        assert stopped.status == "stopped"
        assert (stopped.told["revoked"], stopped.told["left"]) == (2, 4)
        again = revoke(shop, run)

        assert again.exit_status == 0
        assert again.told["revoked"] == 4


def test_an_expired_token_is_renewed(tmp_path: Path) -> None:
    """One token that is worth nothing any more costs one call."""
    with brand(tmp_path) as shop:
        del shop.environ["CAPILLARY_USERNAME"], shop.environ["CAPILLARY_PASSWORD"]
        shop.environ["CAPILLARY_CLIENT_KEY"] = shop.sandbox.client_key
        shop.environ["CAPILLARY_CLIENT_SECRET"] = shop.sandbox.client_secret
        run = issue(shop, awards([1, 2, 3]))
        shop.sandbox.fault("token_expired", on="revokeEarn", nth=2)
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.told["revoked"] == 3


def test_a_silent_platform_stops_the_run(tmp_path: Path) -> None:
    """Many calls in a row that decide nothing stop it, for the next try."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 21)))
        with shop.sandbox.refusing_connections():
            report = revoke(shop, run)

        assert report.exit_status == 4
        assert report.told["revoked"] == 0
        assert "without an answer" in report.stopped_by
        assert revoke(shop, run).told["revoked"] == 20


@pytest.mark.parametrize(
    ("environ", "switches"),
    [
        ({"CAPILLARY_REQUESTS_PER_MINUTE": "60"}, {}),
        ({"CAPILLARY_MAX_IN_FLIGHT": "2"}, {"latency_seconds": 0.15}),
    ],
    ids=["paced", "in flight"],
)
def test_calls_are_paced_and_few_at_once(
    tmp_path: Path, environ: dict[str, str], switches: dict[str, Any]
) -> None:
    """Twelve calls take their time, by the limit and by what may be in flight."""
    with brand(tmp_path, switches=switches) as shop:
        run = issue(shop, awards(range(1, 13)))
        shop.environ |= environ
        revoke(shop, run)
        at = [call.at for call in shop.sandbox.calls if call.endpoint == "revokeEarn"]

        assert len(at) == 12
        assert (at[-1] - at[0]).total_seconds() > 0.4


def test_killed_and_resumed(tmp_path: Path) -> None:
    """Killed while an answer is out, the same command takes back the rest, once."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 21)))
        shop.sandbox.fault("slow", on="revokeEarn", nth=7, seconds=4)
        shop.environ |= {
            "CAPILLARY_MAX_IN_FLIGHT": "2",
            "CAPILLARY_TIMEOUT_SECONDS": "30",
            "CAPILLARY_RESEND_AFTER_SECONDS": "60",
        }
        killed(
            shop,
            *("revoke", run, "--yes"),
            when=lambda: len(revoked_in_sandbox(shop)) >= 10,
        )
        shop.sandbox.clear_faults()
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.told["kept"] == 0
        assert shop.statuses() == {"revoked": 20}
        assert revoked_in_sandbox(shop) == list(range(1, 21))
        assert calls_of(shop, "revokeEarn") <= 20 + 2
        unended = "SELECT count(*) FROM runs WHERE ended_at IS NULL"
        assert shop.ask(unended).item() == 1


def test_interrupted_it_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """Ctrl-C records what was asked, leaves the rest, and says to run it again."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards(range(1, 9)))
        shop.environ["CAPILLARY_MAX_IN_FLIGHT"] = "1"
        shop.sandbox.fault("slow", on="revokeEarn", nth=3, seconds=0.4)
        status = interrupted(
            shop,
            *("revoke", run, "--yes"),
            when=lambda: len(revoked_in_sandbox(shop)) == 3,
        )

        assert status == 4
        assert shop.statuses() == {"revoked": 3, "issued": 5}
        assert shop.ask("SELECT status FROM latest_run").item() == "stopped"
        assert revoke(shop, run).told["revoked"] == 5


def test_a_killed_revoke_is_found_under_its_own_name(tmp_path: Path) -> None:
    """What a killed run had meant to take back is selected by that run."""
    with brand(tmp_path) as shop:
        issue(shop, awards(range(1, 9)))
        shop.sandbox.fault("slow", on="revokeEarn", nth=3, seconds=4)
        shop.environ |= {
            "CAPILLARY_MAX_IN_FLIGHT": "1",
            "CAPILLARY_TIMEOUT_SECONDS": "30",
            "CAPILLARY_RESEND_AFTER_SECONDS": "60",
        }
        killed(
            shop,
            *("revoke", "latest", "--yes"),
            when=lambda: len(revoked_in_sandbox(shop)) == 3,
        )
        shop.sandbox.clear_faults()
        report = revoke(shop, "latest")

        assert report.told["of_run"] != report.run_id
        assert report.told["revoked"] == 6
        assert shop.statuses() == {"revoked": 8}


def test_revoked_released_and_made_again(tmp_path: Path) -> None:
    """Released awards come back as the next generation, under new ids and requests."""
    with brand(tmp_path) as shop:
        shop.write(may=visits(range(1, 8)))
        first = shop.run()
        before = shop.ask("SELECT award_id, request_id FROM audit").rows()
        revoke(shop, first.run_id)
        held = shop.run()
        assert held.counts["awards_in_ledger"] == 7
        assert held.counts["awards_planned"] == 0

        released = release_awards(work(shop), first.run_id)
        assert released.told["released"] == 7
        assert released.exit_status == 0
        again = shop.run()

        assert again.as_json()["statuses"] == {"issued": 7}
        now = shop.ask("SELECT award_id, request_id FROM audit WHERE generation = 2")
        assert len(now.rows()) == 7
        assert {row[0] for row in before}.isdisjoint(now["award_id"])
        assert {row[1] for row in before}.isdisjoint(now["request_id"])
        active = [e for e in shop.sandbox.earns(BADGE) if e.is_active]
        assert sorted(earn.customer_id for earn in active) == list(range(1, 8))
        assert shop.run().counts["awards_planned"] == 0
        states = (
            "SELECT generation, status, is_released, count(*) FROM audit GROUP BY ALL"
        )
        assert sorted(shop.ask(states).rows()) == [
            (1, "revoked", True, 7),
            (2, "issued", False, 7),
        ]


def test_what_is_released_once_is_not_released_again(tmp_path: Path) -> None:
    """Only revoked awards are released; a second release finds none."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        assert release_awards(work(shop), run).told["released"] == 0
        revoke(shop, run)

        assert release_awards(work(shop), run).told["released"] == 2
        assert release_awards(work(shop), run).told["released"] == 0
        assert revoke(shop, run).told["revoked"] == 0


def test_nobody_said_yes_to_a_release(tmp_path: Path) -> None:
    """Without --yes and a terminal it is refused, and nothing is released."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        revoke(shop, run)
        done = typed(shop, "release", run)

        assert done.exit_code == 1
        assert "nobody said yes to releasing 2 awards" in done.stderr
        assert preview(
            shop.home,
            settings(shop.environ, env_file=None),
            Job(),
            run,
            taken=AwardStatus.REVOKED,
        ).badges == {"regular": 2}


def test_the_command_tells_the_buckets(tmp_path: Path) -> None:
    """The JSON of revoke and release has counts and no customer."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([555111, 555222]))
        done = typed(shop, "revoke", run, "--yes", "--json")
        told = orjson.loads(done.stdout)
        assert done.exit_code == 0
        assert (told["revoked"], told["kept"], told["failed"]) == (2, 0, 0)
        assert told["status"] == "finished"
        assert told["balanced"] is True

        shown = typed(shop, "release", run, "--yes")
        assert shown.exit_code == 0
        assert "released" in shown.stdout
        for output in (done.stdout, done.stderr, shown.stdout, shown.stderr):
            assert "555111" not in output
            assert shop.sandbox.password not in output


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    """A run that is not there is refused in one line, as JSON too."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        lines = typed(shop, "revoke", "1999")
        told = typed(shop, "revoke", "1999", "--yes", "--json")

        assert lines.exit_code == told.exit_code == 1
        assert lines.stderr.count("\n") == 1
        assert orjson.loads(told.stdout)["errors"][0]["code"] == "run_unknown"
        assert calls_of(shop, "revokeEarn") == 0


def test_two_selections_can_not_both_be_standard_input(tmp_path: Path) -> None:
    """Standard input can be read once."""
    with brand(tmp_path) as shop:
        done = typed(shop, "revoke", "latest", "--awards", "-", "--customers", "-")

        assert done.exit_code == 2
        assert "only one of them can be standard input" in done.stderr


def test_another_platform_is_refused(tmp_path: Path) -> None:
    """Awards of one platform are never taken back on another."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1]))
        shop.environ["CAPILLARY_USERNAME"] = "somebody.else"
        with pytest.raises(HomeRefused, match="belongs to"):
            revoke(shop, run)

        assert calls_of(shop, "revokeEarn") == 0


def test_it_waits_for_nobody_who_works_in_the_home(tmp_path: Path) -> None:
    """A home that is being worked in is not touched."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1]))
        with opened(shop) as other:
            reserved(other, awards([2]))
            with pytest.raises(HomeRefused, match="is working in this home"):
                revoke(shop, run)

        assert calls_of(shop, "revokeEarn") == 0


def test_awards_left_by_others_do_not_stop_a_revoke(tmp_path: Path) -> None:
    """What another run left planned is not a revoke's work."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1]))
        with opened(shop) as other:
            reserved(other, awards([2]))
        report = revoke(shop, run)

        assert report.exit_status == 0
        assert report.status == "finished"
        assert shop.statuses() == {"revoked": 1, "planned": 1}
