from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest
from factories_imports import BADGE, DEFINITION, Brand, brand, visits

from flows.pipeline import import_badges, plan_badges
from flows.plans.approving import approve, job_of
from flows.plans.folder import SavedPlan, found_plan
from flows.platform.capillary import utc_now
from flows.runs.job import Job
from flows.runs.report import Report
from transforms.errors import FilesRefused, PlanRefused

GUARDED = f"{DEFINITION}\n[guards]\napprove_above = 2\n"


def planned(shop: Brand, **job: object) -> SavedPlan:
    """Make a plan and find it again."""
    _, folder = asyncio.run(plan_badges(shop.work(**job)))
    return found_plan(shop.home, folder.name)


def applied(shop: Brand, saved: SavedPlan) -> Report:
    """Carry a plan out in this process."""
    work = shop.work()
    work.job, work.wanted = job_of(saved, Job()), saved
    return asyncio.run(import_badges(work))


def approved(shop: Brand, saved: SavedPlan) -> None:
    """Approve a plan."""
    approve(shop.home, saved, by_name="Ada", note="seen", now=utc_now())


def test_a_run_above_the_guard_is_told_the_way(tmp_path: Path) -> None:
    """`run` refuses what wants an approval, and names plan, approve and apply."""
    with brand(tmp_path) as shop:
        shop.define(GUARDED)
        shop.write(may=visits([1, 2, 3]))
        with pytest.raises(PlanRefused, match="retrobadge approve PLAN") as refused:
            shop.run()

        assert refused.value.faults[0].code == "approval_wanted"
        assert shop.sandbox.earns() == []


def test_an_approved_plan_is_carried_out(tmp_path: Path) -> None:
    """With an approval on record the plan is sent; without it, it is not."""
    with brand(tmp_path) as shop:
        shop.define(GUARDED)
        shop.write(may=visits([1, 2, 3]))
        saved = planned(shop)
        assert saved.wants_approval
        with pytest.raises(PlanRefused, match=saved.plan_id):
            applied(shop, saved)
        approved(shop, saved)
        report = applied(shop, saved)

        assert report.as_json()["statuses"] == {"issued": 3}
        kinds = shop.ask("SELECT kind, status FROM runs ORDER BY started_at")
        assert kinds.rows() == [("apply", "refused"), ("apply", "finished")]
        row = shop.ask("SELECT plan_digest, decision, by_name, note FROM approvals")
        assert row.rows() == [(saved.digest, "approved", "Ada", "seen")]


def test_an_approval_stands_for_its_plan_alone(tmp_path: Path) -> None:
    """What was approved for three customers does not let a fourth through."""
    with brand(tmp_path) as shop:
        shop.define(GUARDED)
        shop.write(may=visits([1, 2, 3]))
        approved(shop, planned(shop))
        shop.write(may=visits([1, 2, 3, 4]))
        other = planned(shop)
        with pytest.raises(PlanRefused, match="nobody has approved"):
            applied(shop, other)

        assert shop.sandbox.earns() == []


def test_a_plan_below_the_guard_needs_nobody(tmp_path: Path) -> None:
    """Naming a plan is the yes: it is sent as it was planned, selection and all."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        wanted = shop.folder / "some.txt"
        wanted.write_text("customer_id\n2\n3\n")
        saved = planned(shop, customers_file=wanted)
        wanted.unlink()
        report = applied(shop, saved)

        assert report.as_json()["statuses"] == {"issued": 2}
        assert {earn.customer_id for earn in shop.sandbox.earns(BADGE)} == {2, 3}


def change_file(shop: Brand) -> None:
    """Add a visit to an activity file."""
    shop.write(may=visits([1, 2, 3]) + "9,b9,2017-05-09T12:00:00,1.00\n")


def add_file(shop: Brand) -> None:
    """Put a new file beside the others."""
    shop.write(june=visits([8], day=20, bill="c"))


def edit_definition(shop: Brand) -> None:
    """Change nothing but a comment of the definition."""
    shop.define(f"# another look\n{DEFINITION}")


def move_window(shop: Brand) -> None:
    """Move the end of the badge on the platform."""
    end = datetime(2090, 1, 1, tzinfo=UTC)
    shop.sandbox.add_badge(BADGE, "Regular", reference_id="retro", expires_at=end)


def award_meanwhile(shop: Brand) -> None:
    """Run an import that awards one customer of the plan."""
    wanted = shop.folder / "one.txt"
    wanted.write_text("customer_id\n2\n")
    shop.run(customers_file=wanted)
    wanted.unlink()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (change_file, "activity file activity: may.csv has another content"),
        (add_file, "activity file activity: june.csv is new"),
        (edit_definition, "the definition was edited"),
        (move_window, "badge regular is another on the platform.*2100.*now.*2090"),
        (award_meanwhile, "1 awards of the plan are in the ledger by now.*customers 2"),
    ],
)
def test_a_plan_that_moved_is_refused_and_says_what_moved(tmp_path, change, word):
    """Files, definition, badge and ledger: each refusal names what is different."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        saved = planned(shop)
        change(shop)
        sent = len(shop.sandbox.earns())
        with pytest.raises(PlanRefused) as refused:
            applied(shop, saved)

        assert re.search(word, str(refused.value)), str(refused.value)
        assert len(shop.sandbox.earns()) == sent


def test_a_file_that_is_gone_refuses_the_plan(tmp_path: Path) -> None:
    """Without its only file nothing can be planned anew."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        saved = planned(shop)
        (shop.folder / "may.csv").unlink()
        with pytest.raises(FilesRefused, match="matches no file"):
            applied(shop, saved)


def test_a_plan_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    """Awards added to a plan's folder by hand are noticed."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        saved = planned(shop)
        said = orjson.loads((saved.folder / "plan.json").read_bytes())
        said["digest"] = "0" * 64
        (saved.folder / "plan.json").write_bytes(orjson.dumps(said))
        with pytest.raises(PlanRefused, match="does not come out the same"):
            applied(shop, found_plan(shop.home, saved.plan_id))


def test_a_refused_plan_can_not_be_approved(tmp_path: Path) -> None:
    """An approval passes `approve_above` and no other guard."""
    with brand(tmp_path) as shop:
        shop.define(f"{DEFINITION}\n[guards]\nmax_awards = 1\n")
        shop.write(may=visits([1, 2, 3]))
        with pytest.raises(PlanRefused, match="an approval passes none"):
            approved(shop, planned(shop))


def test_plans_are_found_by_what_people_type(tmp_path: Path) -> None:
    """An id, its beginning, a folder, `latest`; several and none are refused."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        first = planned(shop)
        shop.write(may=visits([1, 2]))
        second = planned(shop)
        home = shop.home

        assert found_plan(home, "latest").plan_id == second.plan_id
        assert found_plan(home, first.plan_id[:-2]).plan_id == first.plan_id
        assert found_plan(home, str(first.folder)).plan_id == first.plan_id
        with pytest.raises(PlanRefused, match="write more of the id"):
            found_plan(home, "20")
        with pytest.raises(PlanRefused, match="retrobadge plan"):
            found_plan(home, "nothing")


def test_a_plan_folder_holds_what_a_colleague_needs(tmp_path: Path) -> None:
    """Its page names badge, window, canary and calls; formulas in it are inert."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([21, 22]) + "=1+1,x,2017-05-09T12:00:00,1.00\n")
        shop.define(f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n")
        saved = planned(shop)
        page = (saved.folder / "plan.html").read_text("utf-8")
        told = orjson.loads((saved.folder / "plan.json").read_bytes())

        assert "the 2nd activity" in page
        assert "2099-12-31" in page
        assert "customer_id: " in page
        assert told["canaries"] == {"regular": 21}
        assert told["calls"] == 1
        assert told["calls_if_exact"] == 1
        rejected = pl.read_csv(saved.folder / "rejected_rows.csv")
        assert rejected["value"].to_list() == ["'=1+1"]
        assert (saved.folder / "plan.json").stat().st_mode & 0o077 == 0


def test_the_commands_plan_approve_apply(tmp_path: Path) -> None:
    """The three commands go hand in hand, and print what programs read."""
    with brand(tmp_path) as shop:
        shop.define(GUARDED)
        shop.write(may=visits([1, 2, 3]))
        made = shop.command("plan", str(shop.definition), "--json")
        plan_id = orjson.loads(made.stdout)["plan_id"]
        early = shop.command("apply", plan_id, "--json")
        said = shop.command("approve", "latest", "--by", "Ada", "--json")
        done = shop.command("apply", plan_id, "--json")

        assert orjson.loads(made.stdout)["wants_approval"] is True
        assert early.returncode == 1
        assert orjson.loads(early.stdout)["errors"][0]["code"] == "not_approved"
        assert orjson.loads(said.stdout)["decision"] == "approved"
        assert done.returncode == 0, done.stderr
        assert orjson.loads(done.stdout)["statuses"] == {"issued": 3}


def test_a_plan_takes_up_what_was_reserved_and_never_sent(tmp_path: Path) -> None:
    """What a stopped run left unsent is in the next plan, as it will be in its run."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        stopped = shop.run(stop_at=utc_now())
        assert stopped.left_planned > 0
        saved = planned(shop)
        report = applied(shop, saved)

        assert saved.awards_planned == stopped.left_planned
        assert report.as_json()["statuses"] == {"issued": stopped.left_planned}
