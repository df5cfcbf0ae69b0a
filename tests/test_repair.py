"""Restore and recover: a ledger that comes back never knows less than was issued."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
from factories_imports import BADGE, Brand, brand, visits
from rig_ledger import (
    awards,
    calls_of,
    issue,
    opened,
    reserve_only,
    reserved,
    rows_of,
    typed,
)

from flows.commands.undo import revoke_awards
from flows.home import Home, open_home
from flows.pipeline import Work, resume_badges
from flows.records.backups import backups
from flows.repair.rebuilt import Repaired
from flows.repair.repair import recover, restore
from flows.runs.job import Job
from flows.runs.report import Report
from flows.sending.sending import send_reserved
from flows.settings import settings
from transforms.errors import HomeRefused


def restored(shop: Brand, asked: str = "latest") -> Repaired:
    """Bring a backup back."""
    return restore(shop.home, asked, settings(shop.environ, env_file=None))


def recovered(shop: Brand, *, is_online: bool = False) -> Repaired:
    """Rebuild the ledger from the audit."""
    chosen = settings(shop.environ, env_file=None)
    return asyncio.run(recover(shop.home, chosen, is_online=is_online))


def resumed(shop: Brand) -> Report:
    """Settle what is open, and send what is reserved."""
    chosen = settings(shop.environ, env_file=None)
    return asyncio.run(resume_badges(Work(Job(), chosen, shop.home)))


def lose(shop: Brand, *paths: Path) -> None:
    """Lose files of a home; without any, the ledger."""
    for path in paths or (shop.home.ledger,):
        path.unlink()


def customers(shop: Brand) -> list[int]:
    """Return whom the platform has issued to, as often as it did."""
    return sorted(earn.customer_id for earn in shop.sandbox.earns(BADGE))


def lost_in_mid_run(shop: Brand, count: int) -> None:
    """Lose the ledger of a run that reserved, published, sent, and then died.

    The audit that is left shows what was reserved and nothing of what was sent.
    """
    frame = awards(range(1, count + 1))

    async def died() -> None:
        with opened(shop) as run:
            reserved(run, frame)
            shutil.copy(shop.home.audit, shop.folder / "left.duckdb")
            await send_reserved(run)

    asyncio.run(died())
    assert shop.statuses() == {"issued": count}
    shop.home.ledger.replace(shop.folder / "lost.duckdb")
    shop.home.audit.unlink()
    shutil.copy(shop.folder / "left.duckdb", shop.home.audit)
    for folder in backups(shop.home.backups):
        shutil.rmtree(folder)
    rest_from_calls(shop.home)


def rest_from_calls(home: Home) -> None:
    """Let the platform's last call lie an hour back."""
    then = home.pace.stat().st_mtime - 3600
    os.utime(home.pace, (then, then))


def test_the_newest_backup_brings_everything_back(tmp_path: Path) -> None:
    """Every row of every table is as it was, and nobody is issued again."""
    with brand(tmp_path) as shop:
        shop.write(may=visits(range(1, 8)))
        shop.run()
        before = rows_of(shop.home.ledger)
        lose(shop)
        with pytest.raises(HomeRefused, match="the ledger of this home is gone"):
            shop.run()
        repaired = restored(shop)

        assert repaired.exit_status == 0
        assert (repaired.events_from_audit, repaired.maybe_sent) == (0, 0)
        assert rows_of(shop.home.ledger) == before
        again = shop.run()
        assert again.counts["awards_in_ledger"] == 7
        assert again.counts["earn_calls"] == 0
        kinds = shop.ask("SELECT kind FROM runs ORDER BY started_at")["kind"].to_list()
        assert kinds == ["import", "restore", "import"]


def test_a_damaged_ledger_is_kept_aside_with_its_log(tmp_path: Path) -> None:
    """What was there stays for a look; its log is not replayed into the new file."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1, 2]))
        before = rows_of(shop.home.ledger)
        write_and_die = (
            "import sys, os; from flows.records.ledger import connect\n"
            "connection = connect(sys.argv[1])\n"
            "connection.execute(\"UPDATE meta SET target = 'of the log'\")\n"
            "os._exit(0)"
        )
        subprocess.run(
            [sys.executable, "-c", write_and_die, str(shop.home.ledger)], check=True
        )
        log = shop.home.ledger.with_name("ledger.duckdb.wal")
        assert log.exists()
        shop.home.ledger.write_bytes(b"no database")
        repaired = restored(shop)

        assert not log.exists()
        assert rows_of(shop.home.ledger) == before
        aside = shop.home.root / str(repaired.kept_aside)
        assert aside.read_bytes() == b"no database"
        assert aside.with_name(f"{aside.name}.wal").exists()


def test_a_ledger_that_is_in_order_is_left_alone(tmp_path: Path) -> None:
    """Neither command replaces what knows the most."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        with pytest.raises(HomeRefused, match="the ledger is in order"):
            restored(shop)
        with pytest.raises(HomeRefused, match="the ledger is in order"):
            recovered(shop)


def test_a_home_that_is_worked_in_is_not_repaired(tmp_path: Path) -> None:
    """The lock is respected."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        with opened(shop) as run:
            reserved(run, awards([2]))
            with pytest.raises(HomeRefused, match="is working in this home"):
                restored(shop)
            with pytest.raises(HomeRefused, match="is working in this home"):
                recovered(shop)


def test_an_older_backup_is_completed_from_the_audit(tmp_path: Path) -> None:
    """What was issued since the backup is known again, and is not issued again."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        shop.run()
        (older,) = backups(shop.home.backups)
        shop.write(june=visits([3, 4, 5], day=10, bill="c"))
        shop.run()
        before = rows_of(shop.home.ledger)
        lose(shop)
        repaired = restored(shop, older.name)

        assert repaired.events_from_audit > 0
        assert "taken from the audit" in repaired.notes[0]
        assert rows_of(shop.home.ledger) == before
        assert shop.run().counts["earn_calls"] == 0
        assert customers(shop) == [1, 2, 3, 4, 5]


def test_an_old_ledger_put_back_by_hand_is_refused_and_mended(tmp_path: Path) -> None:
    """A copy from last week is behind; restore makes it whole."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1, 2]))
        shutil.copy(shop.home.ledger, shop.folder / "old.duckdb")
        issue(shop, awards([3, 4]))
        before = rows_of(shop.home.ledger)
        lose(shop)
        shutil.copy(shop.folder / "old.duckdb", shop.home.ledger)
        with pytest.raises(HomeRefused, match=r"older .* \(event \d+ against \d+\)"):
            issue(shop, awards([5]))
        shop.home.audit.unlink()
        with pytest.raises(HomeRefused, match="backed up"):
            issue(shop, awards([5]))
        repaired = restored(shop)

        assert repaired.kept_aside is not None
        after = rows_of(shop.home.ledger)
        assert after["award_events"] == before["award_events"]
        assert shop.statuses() == {"issued": 4}


def test_without_an_audit_only_the_newest_backup_will_do(tmp_path: Path) -> None:
    """An older one would forget; the newest is taken, and what is not known is said."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1, 2]))
        issue(shop, awards([3]))
        older, newest = backups(shop.home.backups)
        lose(shop, shop.home.ledger, shop.home.audit)
        rest_from_calls(shop.home)
        with pytest.raises(HomeRefused, match="the newest backup at"):
            restored(shop, older.name)
        repaired = restored(shop, newest.name)

        assert repaired.exit_status == 0
        assert "this home has no audit" in repaired.notes[0]
        assert shop.statuses() == {"issued": 3}
        issue(shop, awards([4]))
        assert customers(shop) == [1, 2, 3, 4]


def test_backups_are_named_by_their_beginning(tmp_path: Path) -> None:
    """A beginning that several have, and one that none has, are refused with names."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        issue(shop, awards([2]))
        (older, newest) = backups(shop.home.backups)
        lose(shop)
        with pytest.raises(HomeRefused, match=f"2 backups .* {newest.name}"):
            restored(shop, older.name[:4])
        with pytest.raises(HomeRefused, match=f"no backup .* {newest.name}"):
            restored(shop, "1999")
        moved = shop.folder / "elsewhere"
        newest.replace(moved)

        assert restored(shop, str(moved)).source == "elsewhere"
        assert shop.statuses() == {"issued": 2}


@pytest.mark.parametrize("damage", ["missing", "torn", "cut", "strange", "older"])
def test_a_backup_that_is_not_whole_is_refused(tmp_path: Path, damage: str) -> None:
    """Nothing is put in place of a ledger that can't be made whole."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        (folder,) = backups(shop.home.backups)
        lose(shop, shop.home.ledger, shop.home.audit)
        if damage == "missing":
            (folder / "requests.parquet").unlink()
        elif damage == "torn":
            whole = (folder / "award_events.parquet").read_bytes()
            (folder / "award_events.parquet").write_bytes(whole[: len(whole) // 2])
        elif damage == "strange":
            rewrite(folder, "award_events", "WHERE false")
        elif damage == "cut":
            rewrite(folder, "award_events", "WHERE event_seq < 3")
            rewrite(folder, "request_events", "WHERE event_seq < 3")
        else:
            rewrite(folder, "meta", "", "* REPLACE (0 AS schema_version)")
        with pytest.raises(HomeRefused) as refused:
            restored(shop)

        told = {
            "missing": "has no requests.parquet",
            "torn": "is damaged",
            "cut": "some of it is missing",
            "strange": "don't belong together",
            "older": "is of version 0",
        }
        assert told[damage] in str(refused.value)
        assert not shop.home.ledger.exists()
        assert not list(shop.home.root.glob("ledger.duckdb*"))


def rewrite(folder: Path, table: str, where: str, columns: str = "*") -> None:
    """Write a table of a backup anew, with other rows."""
    file, new = folder / f"{table}.parquet", folder / "new"
    query = f"SELECT {columns} FROM read_parquet('{file}') {where}"
    duckdb.sql(f"COPY ({query}) TO '{new}' (FORMAT parquet)")
    new.replace(file)


def test_a_backup_of_another_home_is_refused(tmp_path: Path) -> None:
    """A backup whose events the audit does not know is of another ledger."""
    with brand(tmp_path) as shop, brand(tmp_path / "brand") as other:
        issue(other, awards([1]))
        issue(shop, awards(range(1, 4)))
        (theirs,) = backups(other.home.backups)
        lose(shop)
        with pytest.raises(HomeRefused, match="not of the ledger"):
            restored(shop, str(theirs))


def test_the_audit_rebuilds_the_ledger(tmp_path: Path) -> None:
    """Without any backup every row comes back from what was published."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault("unknown_code", nth=2, customers=(2,))
        shop.write(may=visits(range(1, 8)) + ",b8,2017-05-01T08:00:00,1.00\n")
        shop.run()
        before = rows_of(shop.home.ledger)
        shutil.rmtree(shop.home.backups)
        shop.home.backups.mkdir()
        lose(shop)
        repaired = recovered(shop)

        assert repaired.exit_status == 0
        assert repaired.maybe_sent == 0
        assert rows_of(shop.home.ledger) == before
        assert shop.run().counts["earn_calls"] == 0
        assert len(backups(shop.home.backups)) >= 1


def test_withdrawn_awards_do_not_come_back(tmp_path: Path) -> None:
    """What was taken back before it was sent stays taken back."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        reserve_only(shop, awards([7, 8]))
        shop.run()
        before = rows_of(shop.home.ledger)
        lose(shop)
        recovered(shop)

        assert rows_of(shop.home.ledger) == before
        assert shop.statuses() == {"issued": 2}


def test_what_may_have_been_sent_is_taken_for_sent(tmp_path: Path) -> None:
    """Of a run that died, all that seems planned is unknown until it is settled."""
    with brand(tmp_path) as shop:
        lost_in_mid_run(shop, 12)
        repaired = recovered(shop)

        assert repaired.exit_status == 3
        assert (repaired.maybe_sent, repaired.open_awards) == (12, 12)
        assert shop.statuses() == {"unknown": 12}
        report = resumed(shop)
        assert shop.statuses() == {"issued": 12}
        assert report.exit_status == 0
        assert customers(shop) == list(range(1, 13))
        proofs = shop.ask("SELECT DISTINCT proof FROM audit")["proof"].to_list()
        assert proofs == ["read_back"]


def test_what_was_never_sent_is_sent_once(tmp_path: Path) -> None:
    """An award that did not go out is proved absent first, then issued."""
    with brand(tmp_path) as shop:
        issue(shop, awards([100]))
        reserve_only(shop, awards(range(1, 4)))
        reopen_last_run(shop)
        rest_from_calls(shop.home)
        lose(shop)
        assert recovered(shop).maybe_sent == 3
        report = resumed(shop)

        assert shop.statuses() == {"issued": 4}
        assert report.exit_status == 0
        assert customers(shop) == [1, 2, 3, 100]


def reopen_last_run(shop: Brand) -> None:
    """Make the audit one that was published while its newest run went on."""
    shop.home.audit.chmod(0o600)
    connection = duckdb.connect(str(shop.home.audit))
    connection.execute(
        "UPDATE runs SET ended_at = NULL, status = 'running' WHERE run_id = "
        "(SELECT max(run_id) FROM runs)"
    )
    connection.close()
    shutil.rmtree(shop.home.backups)
    shop.home.backups.mkdir()


def test_a_revocation_that_was_lost_is_asked_for_again(tmp_path: Path) -> None:
    """What a revoke that died had been asked for may be gone, and counts as revoked."""
    with brand(tmp_path) as shop:
        run = issue(shop, awards([1, 2]))
        work = Work(Job(), settings(shop.environ, env_file=None), shop.home)
        asyncio.run(revoke_awards(work, run))
        forget_last_answers(shop)
        rest_from_calls(shop.home)
        lose(shop)
        assert recovered(shop).exit_status == 0
        assert shop.statuses() == {"issued": 2}
        report = asyncio.run(revoke_awards(work, run))

        assert (report.told["revoked"], report.told["kept"]) == (2, 0)


def forget_last_answers(shop: Brand) -> None:
    """Make the audit one that was published before its newest run called anybody."""
    reopen_last_run(shop)
    connection = duckdb.connect(str(shop.home.audit))
    newest = "(SELECT max(run_id) FROM runs)"
    connection.execute(f"DELETE FROM attempts WHERE run_id = {newest}")
    connection.execute("DELETE FROM award_events WHERE to_status = 'revoked'")
    connection.execute(
        "UPDATE ledger_state SET sequence = (SELECT max(event_seq) FROM award_events)"
    )
    connection.close()


def test_online_reads_back_what_is_open(tmp_path: Path) -> None:
    """What shows on the platform is settled at once, and nothing is sent."""
    with brand(tmp_path) as shop:
        lost_in_mid_run(shop, 7)
        sent = calls_of(shop, "earnBulk")
        done = typed(shop, "recover", "--online", "--json")
        told = orjson.loads(done.stdout)

        assert done.exit_code == 0
        assert (told["maybe_sent"], told["settled"], told["open_awards"]) == (7, 7, 0)
        assert told["calls"] >= 7
        assert calls_of(shop, "earnBulk") == sent
        assert shop.statuses() == {"issued": 7}
        row = shop.ask("SELECT kind, status, calls FROM latest_run").row(0)
        assert row == ("recover", "finished", told["calls"])


def test_online_on_another_platform_is_refused(tmp_path: Path) -> None:
    """Nothing is read of a platform that the ledger does not belong to."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        lose(shop)
        shop.environ["CAPILLARY_USERNAME"] = "somebody.else"
        with pytest.raises(HomeRefused, match="belongs to"):
            recovered(shop, is_online=True)


def test_a_call_that_may_still_be_on_its_way_is_waited_for(tmp_path: Path) -> None:
    """Right after a crash nothing is taken for settled."""
    with brand(tmp_path) as shop:
        lost_in_mid_run(shop, 2)
        shop.home.pace.touch()
        with pytest.raises(HomeRefused, match="may still be arriving"):
            recovered(shop)
        rest_from_calls(shop.home)

        assert recovered(shop).maybe_sent == 2


def test_the_lost_ledger_is_not_taken_for_the_recovered_one(tmp_path: Path) -> None:
    """Turning up again it is refused: it knows nothing of what was done since."""
    with brand(tmp_path) as shop:
        lost_in_mid_run(shop, 3)
        recovered(shop)
        resumed(shop)
        lose(shop)
        shutil.copy(shop.folder / "lost.duckdb", shop.home.ledger)
        with pytest.raises(HomeRefused, match="not the one that this home's audit"):
            issue(shop, awards([4]))
        repaired = restored(shop)

        assert repaired.kept_aside is not None
        issue(shop, awards([4]))
        assert customers(shop) == [1, 2, 3, 4]


def test_without_an_audit_there_is_nothing_to_recover_from(tmp_path: Path) -> None:
    """It says what can be done instead."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        lose(shop, shop.home.ledger, shop.home.audit)
        refused = typed(shop, "recover")

        assert refused.exit_code == 1
        assert "retrobadge restore" in refused.stderr


def test_all_traces_gone_is_not_a_new_beginning(tmp_path: Path) -> None:
    """A home whose ledger, audit and backups are gone begins anew only on purpose."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        lose(shop, shop.home.ledger, shop.home.audit)
        shutil.rmtree(shop.home.backups)
        shop.home.backups.mkdir()
        with pytest.raises(HomeRefused, match=r"remove home\.json"):
            issue(shop, awards([1]))
        lose(shop, shop.home.note)
        issue(shop, awards([2]))

        assert customers(shop) == [1, 2]


def test_a_home_moves_as_a_whole(tmp_path: Path) -> None:
    """A moved home goes on; a copied one is refused as long as the other is there."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        moved = tmp_path / "moved"
        shop.home.root.replace(moved)
        shop.home = open_home(moved)
        issue(shop, awards([2]))

        copied = tmp_path / "copied"
        shutil.copytree(moved, copied)
        shop.home = open_home(copied)
        with pytest.raises(HomeRefused, match="is a copy of") as refused:
            issue(shop, awards([3]))
        assert str(moved) in str(refused.value)
        with pytest.raises(HomeRefused, match="is a copy of"):
            restored(shop)
        shutil.rmtree(moved)
        issue(shop, awards([3]))

        assert customers(shop) == [1, 2, 3]


def test_a_ledger_alone_is_not_at_home_elsewhere(tmp_path: Path) -> None:
    """A ledger's file that was copied into another home is refused, naming its use."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1]))
        elsewhere = open_home(tmp_path / "elsewhere")
        shutil.copy(shop.home.ledger, elsewhere.ledger)
        shop.home = elsewhere
        with pytest.raises(HomeRefused, match="belongs to another home") as refused:
            issue(shop, awards([1]))

        assert shop.sandbox.base_url in str(refused.value)
        assert customers(shop) == [1]


def test_the_command_says_what_became_of_it(tmp_path: Path) -> None:
    """For people a few lines, for programs one object; no platform is needed."""
    with brand(tmp_path) as shop:
        issue(shop, awards([1, 2]))
        lose(shop)
        for name in list(shop.environ):
            if name.startswith("CAPILLARY_"):
                del shop.environ[name]
        shown = typed(shop, "restore", "latest")
        lose(shop)
        told: dict[str, Any] = orjson.loads(typed(shop, "recover", "--json").stdout)

        assert shown.exit_code == 0
        assert "the ledger is back" in shown.stdout
        assert told["source"] == "audit.duckdb"
        assert told["status"] == "finished"
        assert told["errors"] == []
