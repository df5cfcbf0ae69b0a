"""Accepting and qualifying on a Dask cluster, beside the same on one machine."""

from __future__ import annotations

import asyncio
import gzip
import os
import pickle
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime

import dask
import orjson
import pytest
from factories_cluster import BIG, SAME, cluster, listened_to
from factories_imports import DEFINITION, brand, visits
from factories_storage import KEY_ID, SECRET_KEY, Storage, closed_port, storage

from flows.cluster import Look, fit_client, on_cluster, versions
from flows.commands.checking import checked
from flows.commands.comparing import compared
from flows.files.activity_files import accept_files
from flows.files.finding import find_files, read_definition
from flows.partitions import together
from flows.pipeline import plan_badges
from flows.planning import qualified_here
from flows.qualifying import accept_there, count, qualified_on
from flows.sandbox.login import Account
from flows.settings import settings
from transforms.errors import FilesRefused, SettingsRefused

NOW = datetime(2024, 1, 1, tzinfo=UTC)
BOOKS = """
SELECT rows_read, rows_read_now, rows_accepted, rows_rejected, rows_duplicate,
    rows_superseded, awards_qualified, awards_planned, requests, earn_calls, balanced
FROM runs
"""


@dataclass
class Machines:
    """A storage, and a cluster whose workers read from it."""

    lake: Storage
    address: str


@pytest.fixture(scope="module")
def machines():
    """Run a storage, a scheduler and two workers, which have its environment."""
    with storage() as lake, cluster() as address:
        yield Machines(lake, address)


@pytest.fixture
def lake(machines):
    """Return the storage, with three days of visits, one of them exported again."""
    machines.lake.clear()
    first = visits(range(1, 9), each=3)
    machines.lake.put("visits/1.csv", first)
    machines.lake.put("visits/2.csv.gz", gzip.compress(visits(range(5, 20)).encode()))
    machines.lake.put("visits/3.csv", first.replace("2,b2-1,", "x,b2-1,"))
    machines.lake.put("visits/4.csv", first)
    return machines.lake


def over_the_lake(text=DEFINITION):
    """Return a definition whose activity is in object storage, with two badges."""
    quality = "\n[quality]\nmax_rejected_share = 0.5\n"
    return text.replace('"*.csv"', '"s3://lake/visits/*"') + BIG + quality


def run(folder, **environ):
    """Import over the storage in a home of its own; return awards and books."""
    folder.mkdir()
    with brand(folder, environ=environ) as shop:
        shop.define(over_the_lake())
        report = shop.run()
        assert report.exit_status == 0
        return shop.ask(SAME), shop.ask(BOOKS), shop.sandbox.calls


@pytest.mark.usefixtures("lake")
def test_a_cluster_gives_the_same_awards(tmp_path, machines):
    """Award by award, and in every count, the cluster's run is that of one machine."""
    here, books_here, calls_here = run(tmp_path / "here")
    with listened_to(machines.address) as wire:
        there, books_there, calls_there = run(
            tmp_path / "there", RETROBADGE_DASK=wire.address
        )
    assert here.height > 30
    assert there.equals(here)
    assert books_there.rows() == books_here.rows()
    assert len(calls_there) == len(calls_here)
    assert b"s3://lake/visits/1.csv" in wire.told
    for secret in (SECRET_KEY, KEY_ID, Account().password):
        assert secret.encode() not in wire.told


@pytest.mark.usefixtures("lake")
def test_a_plan_on_a_cluster_is_the_plan_of_one_machine(tmp_path, machines):
    """`plan`, `check` and `compare` read on the cluster, with the same outcome."""
    with brand(tmp_path) as shop:
        shop.define(over_the_lake())
        other = shop.folder / "other.toml"
        other.write_text(over_the_lake().replace("at_least = 2", "at_least = 3"))
        told = []
        for address in (None, machines.address):
            if address:
                shop.environ["RETROBADGE_DASK"] = address
            shutil.rmtree(shop.home.accepted)
            shop.home.accepted.mkdir()
            plan, _ = asyncio.run(plan_badges(shop.work(as_of=NOW)))
            found = asyncio.run(checked(shop.work(), is_online=False))
            differing = asyncio.run(compared(shop.work(as_of=NOW), other, None))
            told.append(
                (
                    plan.digest,
                    found.as_json(),
                    differing.differences.rows(),
                    differing.badges.rows(),
                )
            )
        assert told[0] == told[1]
        assert len(told[0][2]) > 3
        assert {path.suffix for path in shop.home.accepted.iterdir()} == {
            *(".json", ".parquet")
        }


def test_returns_and_files_on_a_disk_go_to_a_cluster_too(tmp_path, machines):
    """What returns leave of activity, and the warnings, are as on one machine."""
    text = DEFINITION.replace('"paid" }', '"paid", kind = "kind", sale = "sale" }')
    returns = '[returns]\nwhere = "kind = \'RETURN\'"\nparent = "sale"\n'
    told = []
    with brand(tmp_path) as shop:
        shop.define(f"{text}\n{returns}\n{BIG}")
        shop.write(
            a="who,bill,at,paid,kind,sale\n"
            "5,b1,2017-05-01T12:00:00,30.00,SALE,\n"
            "5,b2,2017-05-02T12:00:00,20.00,SALE,\n"
            "6,b3,2017-05-01T12:00:00,30.00,SALE,\n"
            "6,b4,2017-05-02T12:00:00,20.00,SALE,\n",
            b="who,bill,at,paid,kind,sale\n"
            "5,r1,2017-06-01T12:00:00,-20.00,RETURN,b2\n"
            "6,r9,2017-06-01T12:00:00,-15.00,RETURN,b9\n",
        )
        for environ in ({}, {"RETROBADGE_DASK": machines.address}):
            shop.environ |= environ
            plan, _ = asyncio.run(plan_badges(shop.work(as_of=NOW)))
            told.append((plan.digest, plan.warnings, plan.awards.rows()))
    assert told[0] == told[1]
    assert {row[7] for row in told[0][2]} == {5, 6}
    assert "1 of 2 name no activity" in told[0][1][0]


def test_customers_are_mapped_as_on_one_machine(tmp_path, machines):
    """Activity by mobile number, and customer files in object storage, give the same.

    Each award names the number by which its proof was mapped.
    """
    lake = machines.lake
    lake.clear()
    lake.put(
        "customers/1.csv",
        "phone,id,into\n919812345601,1,\n919812345602,2,\n919812345603,3,1\n",
    )
    lake.put("no/1.csv", "phone\n919812345602\n")
    rows = visits([919812345601, 919812345602, 919812345603, 919812345699], each=3)
    lake.put("visits/1.csv", rows)
    lake.put("visits/2.csv", rows.replace(",9.99", ",19.99"))
    customers = (
        '[customers]\nidentifier = "mobile"\nfiles = ["s3://lake/customers/*.csv"]\n'
        'exclude = ["s3://lake/no/*.csv"]\ncolumns = { identifier = "phone", '
        'customer_id = "id", survivor_id = "into" }\n'
    )
    told = []
    with brand(tmp_path) as shop:
        quality = "max_rejected_share = 0.5\nmax_unmapped_share = 0.5\n"
        shop.define(
            over_the_lake().replace("max_rejected_share = 0.5\n", quality) + customers
        )
        for environ in ({}, {"RETROBADGE_DASK": machines.address}):
            shop.environ |= environ
            shutil.rmtree(shop.home.accepted)
            shop.home.accepted.mkdir()
            plan, _ = asyncio.run(plan_badges(shop.work(as_of=NOW)))
            told.append((plan.digest, plan.rows_superseded, plan.awards))
    assert told[0][:2] == told[1][:2]
    assert told[1][2].equals(told[0][2])
    named = told[0][2].select("customer_id", "source_customer_id")
    assert set(named.rows()) == {(1, "919812345601"), (1, "919812345603")}


def on(address, folder, work):
    """Do some work on a cluster."""

    async def done():
        async with on_cluster(address, folder) as each:
            return await work(each)

    return asyncio.run(done())


@pytest.mark.usefixtures("lake")
def test_any_number_of_partitions_gives_the_same(tmp_path, machines):
    """However few rows a partition has, the same customers meet the same rules."""
    (tmp_path / "import.toml").write_text(over_the_lake())
    definition = read_definition(tmp_path / "import.toml")
    accepted = tmp_path / "accepted"
    files = accept_files(definition, accepted)
    here = qualified_here(files, definition, NOW)
    told = []
    there = on(
        machines.address,
        accepted,
        lambda each: qualified_on(
            *(each, files, definition, NOW),
            folder=accepted,
            told=told.append,
            rows_a_partition=7,
        ),
    )
    assert there.rows_current == here.rows_current
    assert there.rows_superseded == here.rows_superseded
    assert sum(here.rows_superseded.values()) > 20
    met_there, met_here = together(there.parts), together(here.parts)
    for badge in definition.badges:
        assert met_there[badge.name].equals(met_here[badge.name])
    assert told[-1] == 2
    assert not [path for path in accepted.iterdir() if path.is_dir()]


def test_a_bad_file_is_refused_as_on_one_machine(tmp_path, machines, lake):
    """The first bad file is named with its URL and what to do, in the same words."""
    lake.put("visits/2.csv", "who,bill,at\n1,b,2017-05-01T12:00:00\n")
    told = []
    for environ in ({}, {"RETROBADGE_DASK": machines.address}):
        folder = tmp_path / str(len(told))
        folder.mkdir()
        with brand(folder, environ=environ) as shop:
            shop.define(over_the_lake())
            with pytest.raises(FilesRefused) as caught:
                shop.run()
        told.append([str(fault) for fault in caught.value.faults])
    assert told[0] == told[1]
    assert told[0][0].startswith("s3://lake/visits/2.csv:1: paid: no such column")


def test_a_file_that_a_worker_does_not_see_is_named(tmp_path):
    """A worker without the file system says so, instead of finding nothing."""
    (tmp_path / "import.toml").write_text(DEFINITION)
    file = tmp_path / "a.csv"
    file.write_text(visits([1]))
    definition = read_definition(tmp_path / "import.toml")
    (found,) = find_files(definition)
    file.unlink()
    with pytest.raises(FilesRefused, match="doesn't see it: all machines") as caught:
        accept_there(found, definition, tmp_path / "accepted")
    assert caught.value.faults[0].file == "a.csv"


def test_accepted_rows_that_a_machine_does_not_see_are_named(tmp_path):
    """Rows that a late worker wrote to its own disk are missed before they count."""
    (tmp_path / "import.toml").write_text(DEFINITION)
    (tmp_path / "a.csv").write_text(visits([1]))
    definition = read_definition(tmp_path / "import.toml")
    (file,) = accept_files(definition, tmp_path / "accepted")
    listed = tmp_path / "files"
    listed.write_bytes(pickle.dumps([file]))
    assert count(listed, definition, NOW, tmp_path / "current").path is None
    for gone in (file.accepted_path, listed):
        gone.unlink()
        with pytest.raises(FilesRefused, match="doesn't see it") as caught:
            count(listed, definition, NOW, tmp_path / "current")
        (fault,) = caught.value.faults
        assert (fault.code, fault.file) == ("not_shared", str(gone))


def test_a_cluster_of_this_machine_comes_and_goes(tmp_path, lake):
    """With `local` the command starts a cluster, and leaves no process."""
    with brand(tmp_path, environ={"RETROBADGE_DASK": "local"}) as shop:
        shop.define(over_the_lake())
        shop.environ |= lake.environ
        done = shop.command("run", str(shop.definition), "--yes", "--json")
        assert done.returncode == 0, done.stderr
        told = orjson.loads(done.stdout)
        assert told["statuses"] == {"issued": told["awards_planned"]}
        assert told["balanced"] is True
        secrets = [shop.environ["CAPILLARY_PASSWORD"], SECRET_KEY, KEY_ID]
        kept = b"".join(
            path.read_bytes() for path in shop.home.root.rglob("*") if path.is_file()
        )
    for secret in secrets:
        assert secret not in done.stdout + done.stderr
        assert secret.encode() not in kept


# -- clusters that are not fit --------------------------------------------------


def test_a_scheduler_that_is_not_there_is_named(tmp_path):
    """Without a scheduler nothing is sent, and the message says what to do."""
    address = f"tcp://127.0.0.1:{closed_port()}"
    soon = {"distributed.comm.timeouts.connect": "1s"}
    with (
        brand(tmp_path, environ={"RETROBADGE_DASK": address}) as shop,
        dask.config.set(soon),
    ):
        shop.write(a=visits([1]))
        with pytest.raises(SettingsRefused) as caught:
            shop.run()
    (fault,) = caught.value.faults
    assert (fault.code, fault.column) == ("dask_unreachable", "RETROBADGE_DASK")
    assert address in fault.message
    assert "remove RETROBADGE_DASK" in fault.message
    earns = [call for call in shop.sandbox.calls if call.endpoint == "earn"]
    assert earns == []


def worker(host, *, sees, **versions):
    """Return what a worker says of itself."""
    return Look(host=host, is_folder_seen=sees, versions=versions)


class Workers:
    """A client of workers that are as a test wants them."""

    def __init__(self, *looks):
        self.looks = looks
        self.is_closed = False

    def wait_for_workers(self, count, timeout):
        """Wait for nobody."""
        if len(self.looks) < count:
            raise TimeoutError(timeout)

    def run(self, function, token, on_error):
        """Return what each worker says, once it was asked properly."""
        assert function(token).is_folder_seen
        assert on_error == "return"
        return {f"tcp://10.0.0.{n}:1": look for n, look in enumerate(self.looks)}

    def close(self):
        """Remember that it was closed."""
        self.is_closed = True


GOOD = worker("a", sees=True, **versions())
BLIND = worker("a", sees=False, **versions())
OLD = worker("a", sees=True, **(versions() | {"code": "0"}))


@pytest.mark.parametrize(
    ("looks", "codes", "told"),
    [
        ((), ["dask_without_workers"], "start one with `dask worker`"),
        ((GOOD, BLIND), ["dask_unshared"], "mount the home's accepted/ there"),
        ((OLD, GOOD), ["dask_worker"], "tcp://10.0.0.0:1 on a has code 0, and this "),
        (
            (ModuleNotFoundError("flows"),),
            ["dask_worker"],
            "can't run this project (ModuleNotFoundError)",
        ),
    ],
)
def test_workers_that_are_not_fit_are_refused(tmp_path, looks, codes, told):
    """Each worker is named with what is wrong with it, before anything is read."""
    client = Workers(*looks)
    with pytest.raises(SettingsRefused) as caught:
        fit_client(lambda: client, "tcp://10.0.0.9:8786", tmp_path)
    assert [fault.code for fault in caught.value.faults] == codes
    assert told in str(caught.value)
    assert client.is_closed
    assert list(tmp_path.iterdir()) == []


def test_workers_that_are_fit_are_taken(tmp_path):
    """Nothing is refused where all see the folder and have the same code."""
    client = Workers(
        worker("a", sees=True, **versions()), worker("b", sees=True, **versions())
    )
    assert fit_client(lambda: client, "local", tmp_path) is client
    assert not client.is_closed


def test_a_worker_that_dies_is_told(tmp_path):
    """A task that kills its workers ends the run with what to look at."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(SettingsRefused) as caught,
    ):
        on(
            "local",
            tmp_path,
            lambda each: each("accept", os._exit, [(1,)], lambda _: None),
        )
    (fault,) = caught.value.faults
    assert fault.code == "dask_lost"
    assert "a task of 'accept' (KilledWorker)" in fault.message


def test_errors_travel_whole(tmp_path, machines):
    """An error of a task is raised as it was; what isn't ours says where it was."""

    def work(each):
        return each("read", int, [("1",), ("x",)], lambda _: None)

    with pytest.raises(ValueError, match="invalid literal") as caught:
        on(machines.address, tmp_path, work)
    assert "on a worker:" in caught.value.__notes__[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["10.0.0.5:8786", "yes", "tcp://u:p@h:1", "tcp://h"]
)
def test_the_setting_is_local_or_an_address(address):
    """What is no address is refused; it is not shown, for it may hold a login."""
    with pytest.raises(SettingsRefused) as caught:
        settings({"RETROBADGE_DASK": address}, env_file=None, needs_platform=False)
    (fault,) = caught.value.faults
    assert (fault.code, fault.column) == ("setting_wrong", "RETROBADGE_DASK")
    assert "must be local, or a Dask scheduler's address" in fault.message
    assert "u:p" not in fault.message
