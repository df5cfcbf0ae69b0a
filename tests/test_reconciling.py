from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from factories_imports import BADGE, Brand, brand, visits
from factories_sandbox import BADGES, logged_in

from flows.commands.reconciling import Wanted, reconcile_badges
from flows.runs.report import Report
from transforms.errors import FilesRefused

COUNTED = ("matched", "ours_only", "theirs_only", "date_differs", "unread", "too_new")


def reconcile(shop: Brand, **wanted: Any) -> Report:
    """Reconcile in this process."""
    return asyncio.run(reconcile_badges(shop.work(), Wanted(**wanted)))


def counts(report: Report) -> dict[str, int]:
    """Return the findings that there were."""
    return {name: report.told[name] for name in COUNTED if report.told[name]}


def take_back(shop: Brand, customer_id: int) -> None:
    """Revoke a customer's earn behind our back."""
    (earn,) = shop.sandbox.earns(BADGE, customer_id)
    body = {
        "badgeMetaId": BADGE,
        "customerId": customer_id,
        "earnedBadgeId": earn.earned_badge_id,
    }
    with logged_in(shop.sandbox) as http:
        assert http.post(f"{BADGES}/customer/revokeEarn", json=body).status_code == 200


def give_away(shop: Brand, customer_id: int) -> None:
    """Let somebody else issue the badge."""
    body = {
        "badgeMetaId": BADGE,
        "customerIds": [customer_id],
        "requestId": f"theirs-{customer_id}",
        "earnEventDateISO": "2017-03-04T12:00:00-05:00",
        "triggeredBy": {"ownerType": "Historical_Import", "referenceId": "retro"},
    }
    with logged_in(shop.sandbox) as http:
        assert http.post(f"{BADGES}/customer/earnBulk", json=body).status_code == 200


def test_what_was_issued_is_there(tmp_path: Path) -> None:
    """Right after a run everything matches, and a match is on record for each."""
    with brand(tmp_path) as shop:
        shop.write(may=visits(range(1, 8)))
        run_id = shop.run().run_id
        report = reconcile(shop)
        of_run = reconcile(shop, run=run_id, sample=3)

        assert report.exit_status == 0
        assert counts(report) == {"matched": 7}
        assert counts(of_run) == {"matched": 3}
        kinds = shop.ask("SELECT kind, status FROM runs ORDER BY started_at")
        assert kinds.rows()[1:] == [("reconcile", "finished")] * 2
        rows = shop.ask(
            "SELECT way, finding, count(*) FROM reconciliations GROUP BY ALL"
        )
        assert rows.rows() == [("read_back", "matched", 10)]


def test_every_kind_of_difference_is_found(tmp_path: Path) -> None:
    """What was taken back or added behind our back is listed, and the exit is 3."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        shop.run()
        take_back(shop, 1)
        give_away(shop, 2)
        report = reconcile(shop)
        rows = shop.ask(
            "SELECT customer_id, finding FROM reconciliations "
            "WHERE finding <> 'matched' ORDER BY customer_id"
        )

        assert report.exit_status == 3
        assert report.status == "finished_open"
        assert rows.rows() == [(1, "ours_only"), (2, "theirs_only")]
        assert shop.statuses() == {"issued": 3}


def test_a_list_without_earns_is_compared_by_its_count(tmp_path: Path) -> None:
    """Where the platform shows a number alone, the number has to be right."""
    with brand(tmp_path, switches={"earns_listed": "empty"}) as shop:
        shop.write(may=visits([1, 2]))
        shop.run()
        take_back(shop, 1)
        report = reconcile(shop)

        assert counts(report) == {"matched": 1, "ours_only": 1}


def test_customers_who_can_not_be_read_are_differences(tmp_path: Path) -> None:
    """No answer is no match."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        shop.sandbox.fault("unavailable", on="customerBadge", times=None)
        report = reconcile(shop)

        assert counts(report) == {"unread": 1}
        assert report.exit_status == 3


def export_of(shop: Brand, path: Path, *rows: str) -> Path:
    """Write an export as the platform describes it, with rows of others behind."""
    lines = ["Earn id,Customer,Badgemeta,Date,Owner reference id,Is active,Createdon"]
    lines += [
        f"{earn.earned_badge_id},{earn.customer_id},{BADGE},"
        f"{earn.earn_event_date.isoformat()},retro,true,2099-01-01T00:00:00Z"
        for earn in shop.sandbox.earns(BADGE)
    ]
    path.write_text("\n".join([*lines, *rows, ""]))
    return path


def test_an_export_is_compared_without_reading_anybody(tmp_path: Path) -> None:
    """Its columns are found; others' earns are left out; differences are listed."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]))
        shop.run()
        export = export_of(
            shop,
            tmp_path / "export.csv",
            f"f1,9,{BADGE},2017-01-01T00:00:00Z,milestone-7,true,2099-01-01T00:00:00Z",
            f"f2,8,{BADGE},2017-01-01T00:00:00Z,retro,true,2099-01-01T00:00:00Z",
        )
        text = export.read_text().splitlines()
        export.write_text("\n".join(text[:1] + text[2:]))  # one of ours is missing
        calls = len(shop.sandbox.calls)
        report = reconcile(shop, export=export)

        assert counts(report) == {"matched": 2, "ours_only": 1, "theirs_only": 1}
        assert report.told["export_rows_of_others"] == 1
        assert report.told["columns"]["customer_id"] == "Customer"
        assert len(shop.sandbox.calls) == calls


def test_an_export_made_before_the_run_blames_nobody(tmp_path: Path) -> None:
    """What was issued after the newest earn in the export is no difference."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        export = tmp_path / "export.csv"
        export.write_text(
            "earn_id,customer_id,badge_meta_id,event_date,created_on\n"
            f"old,1,{'0' * 23}1,2017-05-02T16:00:00Z,2019-01-01T00:00:00Z\n"
            f"new,1,{BADGE},2016-05-02T16:00:00Z,2019-01-01T00:00:00Z\n"
        )
        report = reconcile(shop, export=export)

        assert counts(report) == {"theirs_only": 1, "too_new": 1}


def test_dates_without_offset_want_a_zone(tmp_path: Path) -> None:
    """A local time is read in the zone that is named, never in a guessed one."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        export = tmp_path / "export.csv"
        export.write_text(f"customer,badge,when\n1,{BADGE},2017-05-02 12:00:00\n")
        columns = {"earn_event_date": "when"}
        with pytest.raises(FilesRefused, match="--timezone"):
            reconcile(shop, export=export, columns=columns)
        report = reconcile(
            shop, export=export, columns=columns, timezone="America/New_York"
        )
        export.write_text(f"customer,badge,when\n1,{BADGE},2017-05-02\n")
        by_day = reconcile(shop, export=export, columns=columns)

        assert counts(report) == {"matched": 1}
        assert counts(by_day) == {"matched": 1}


def test_a_column_that_can_not_be_found_must_be_named(tmp_path: Path) -> None:
    """An export with other names says which option names them."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        export = tmp_path / "export.csv"
        export.write_text("kunde,abzeichen,tag\n1,2,3\n")
        with pytest.raises(FilesRefused) as refused:
            reconcile(shop, export=export)

        assert [f.column for f in refused.value.faults] == [
            "badge_meta_id",
            "customer_id",
            "earn_event_date",
        ]
        assert "--column customer_id=THEIRS" in str(refused.value)


def test_the_command_reconciles(tmp_path: Path) -> None:
    """Words and JSON say the same, and the exit status tells them apart."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        shop.run()
        good = shop.command("reconcile", "latest", "--json")
        take_back(shop, 1)
        bad = shop.command("reconcile")

        assert good.returncode == 0, good.stderr
        assert orjson.loads(good.stdout)["matched"] == 2
        assert bad.returncode == 3
        assert "ours only" in bad.stdout
