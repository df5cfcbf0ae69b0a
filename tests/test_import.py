from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pytest
from factories_imports import BADGE, DEFINITION, brand, visits

from transforms.errors import FilesRefused, HomeRefused, PlanRefused, PlatformRefused


def test_files_become_badges_and_an_audit(tmp_path: Path) -> None:
    """Every customer with two visits gets the badge on the day of the second."""
    with brand(tmp_path) as shop:
        shop.write(may=visits(range(1, 13)) + "99,b99,2017-05-01T08:00:00,1.00\n")
        report = shop.run()

        earns = shop.sandbox.earns(BADGE)
        assert {earn.customer_id for earn in earns} == set(range(1, 13))
        assert {earn.earn_event_date for earn in earns} == {
            datetime(2017, 5, 2, 16, tzinfo=UTC)
        }
        assert report.exit_status == 0
        assert report.as_json()["statuses"] == {"issued": 12}
        assert shop.statuses() == {"issued": 12}


def test_the_report_names_everything_the_contract_names(tmp_path: Path) -> None:
    """Programs find every key, and the counts are those of the files."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2, 3]) + ",b9,2017-05-01T08:00:00,1.00\n")
        told = shop.run().as_json()

    assert told["rows_read"] == 7
    assert told["rows_anonymous"] == 1
    assert told["awards_planned"] == 3
    assert told["requests"] == 2
    assert told["earn_calls"] == 2
    assert told["balanced"] is True
    assert told["status"] == "finished"
    names = "rows_accepted rows_rejected rows_duplicate rows_unmapped rows_excluded"
    more = "rows_superseded awards_qualified awards_in_ledger calls waiting run_id"
    assert set(f"{names} {more}".split()) <= set(told)


def test_a_second_run_calls_earn_bulk_no_more(tmp_path: Path) -> None:
    """What is in the ledger is never planned again."""
    with brand(tmp_path) as shop:
        shop.write(may=visits(range(1, 8)))
        shop.run()
        again = shop.run()

        assert again.counts["earn_calls"] == 0
        assert again.counts["awards_in_ledger"] == 7
        assert len(shop.sandbox.earns(BADGE)) == 7


def test_a_new_file_awards_only_what_is_new(tmp_path: Path) -> None:
    """Files that arrive later add their customers and repeat nobody."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        shop.run()
        shop.write(june=visits([2, 3], day=10, bill="c"))
        report = shop.run()

        assert report.as_json()["statuses"] == {"issued": 1}
        customers = sorted(earn.customer_id for earn in shop.sandbox.earns(BADGE))
        assert customers == [1, 2, 3]


def test_bounds_choose_awards_and_the_rest_stays_for_later(tmp_path: Path) -> None:
    """A bounded run sends its days; the next unbounded one sends the others."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]), june=visits([3], day=20))
        bounded = shop.run(earned_until=date(2017, 5, 10))
        unbounded = shop.run()

        assert bounded.as_json()["statuses"] == {"issued": 2}
        assert unbounded.as_json()["statuses"] == {"issued": 1}


def test_nobody_said_yes(tmp_path: Path) -> None:
    """Without a yes nothing is sent, and the refused run is on record."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        with pytest.raises(PlanRefused, match="nobody said yes"):
            shop.run(is_confirmed=False)

        assert shop.sandbox.earns() == []
        assert shop.ask("SELECT status FROM latest_run").item() == "refused"


def test_nothing_is_sent_after_the_hour_to_stop(tmp_path: Path) -> None:
    """With --stop-at in the past everything is reserved, nothing goes out: exit 4."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        report = shop.run(stop_at=datetime(2020, 1, 1, tzinfo=UTC))

        assert report.exit_status == 4
        assert report.as_json()["statuses"] == {"planned": 2}
        assert shop.sandbox.earns() == []


def test_a_badge_that_is_not_claimed_refuses_the_run(tmp_path: Path) -> None:
    """Preflight says what to do before anything is sent."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.define(retro="other")
        with pytest.raises(PlatformRefused, match="claim"):
            shop.run()

        assert not [call for call in shop.sandbox.calls if call.endpoint == "earnBulk"]


def test_a_home_belongs_to_one_platform(tmp_path: Path) -> None:
    """Another address is refused, naming both."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        first = shop.sandbox.base_url
        with brand(tmp_path / "brand") as other:
            other.write(may=visits([1]))
            other.home = shop.home
            with pytest.raises(HomeRefused) as refused:
                other.run()
            assert first in str(refused.value)
            assert other.sandbox.base_url in str(refused.value)
            assert other.sandbox.earns() == []


def test_a_ledger_that_forgot_is_not_written_to(tmp_path: Path) -> None:
    """A deleted ledger beside its audit is refused with advice."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        shop.home.ledger.unlink()
        with pytest.raises(HomeRefused, match="restore"):
            shop.run()


def test_readers_and_a_run_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Another process queries the audit all through a run without one error."""
    with brand(tmp_path, switches={"latency_seconds": 0.02}) as shop:
        shop.write(may=visits([1]))
        shop.run()
        shop.write(may=visits(range(1, 300)))
        with subprocess.Popen(
            [sys.executable, "-c", _reader(shop.home.audit)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline().strip() == "1"
            report = shop.run()
            reader.terminate()
            asked, told = reader.communicate()

        assert told == ""
        assert len(asked.splitlines()) > 5
        assert report.exit_status == 0


def _reader(path: Path) -> str:
    """Return a program that asks the audit over and over until it is ended."""
    return f"""
import signal, duckdb
ended = []  # an exception would break off a query that is under way
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
asked = 0
while not ended:
    with duckdb.connect({str(path)!r}, read_only=True) as audit:
        audit.execute("SELECT count(*), max(earned_badge_id) FROM audit").fetchall()
    asked += 1
    print(asked, flush=True)
"""


def test_the_command_prints_one_json_object(tmp_path: Path) -> None:
    """`run --json` gives the report on stdout, and its exit status."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        done = shop.command("run", str(shop.definition), "--yes", "--json")

    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["statuses"] == {"issued": 2}


def test_a_refused_command_prints_the_same_object_with_errors(tmp_path: Path) -> None:
    """Programs read a refusal as they read a report."""
    with brand(tmp_path) as shop:
        done = shop.command("run", str(shop.folder / "no.toml"), "--yes", "--json")
        told = orjson.loads(done.stdout)

    assert done.returncode == 1
    assert told["status"] == "refused"
    assert told["errors"][0]["file"].endswith("no.toml")
    assert told["earn_calls"] == 0


def test_a_file_that_vanished_is_not_forgotten_quietly(tmp_path: Path) -> None:
    """Awards stand on it: the next run is refused and names the file."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]), june=visits([2], bill="c"))
        shop.run()
        (shop.folder / "june.csv").unlink()
        with pytest.raises(FilesRefused, match=r"june\.csv"):
            shop.run()


def test_a_kept_file_goes_on_counting(tmp_path: Path) -> None:
    """With missing_files = "keep" its rows stay in the books and in the rules."""
    with brand(tmp_path) as shop:
        shop.define(files='missing_files = "keep"\nfiles')
        shop.write(may=visits([1], each=1), june=visits([2], bill="c"))
        shop.run()
        (shop.folder / "may.csv").unlink()
        shop.write(july=visits([1], each=1, day=20, bill="d"))
        report = shop.run()

        assert report.as_json()["statuses"] == {"issued": 1}
        assert report.counts["rows_read"] == 4


HELD = """
[held]
files = ["held/*.csv"]
columns = { badge_meta_id = "badge", customer_id = "who", earn_event_date = "at", \
earned_badge_id = "id" }
"""


def test_what_customers_hold_already_is_not_issued_again(tmp_path: Path) -> None:
    """The brand's own list covers an award: it is known, final and in no request."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        shop.define(DEFINITION + HELD)
        (shop.folder / "held").mkdir()
        row = f"{BADGE},2,2017-04-30T10:00:00,65980000aaaaaaaaaaaaaaaa"
        (shop.folder / "held" / "list.csv").write_text(f"badge,who,at,id\n{row}\n")
        report = shop.run()

        assert [earn.customer_id for earn in shop.sandbox.earns(BADGE)] == [1]
        assert report.as_json()["statuses"] == {"already_earned": 1, "issued": 1}
        held = shop.ask("SELECT proof, request_id FROM audit WHERE customer_id = 2")
        assert held.rows() == [("held", None)]


def test_a_held_row_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    """It may be the very badge that would be issued twice."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.define(DEFINITION + HELD)
        (shop.folder / "held").mkdir()
        (shop.folder / "held" / "list.csv").write_text(
            f"badge,who,at,id\n{BADGE},1,soon,x\n"
        )
        with pytest.raises(FilesRefused, match=r"list\.csv:2: at"):
            shop.run()

        assert shop.sandbox.earns() == []


@pytest.mark.parametrize("name", ["check", "plan", "run"])
def test_every_command_refuses_in_json_when_it_is_asked_to(
    tmp_path: Path, name: str
) -> None:
    """With --json a refusal is one JSON object too, whatever the command."""
    with brand(tmp_path) as shop:
        done = shop.command(name, str(shop.folder / "no.toml"), "--json")

    assert done.returncode == 1
    assert orjson.loads(done.stdout)["errors"][0]["code"] == "no_definition"
