"""A flow run whose tasks go to a Dask cluster: a real server, real workers, S3.

The tests share one server, and go from the top.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from factories_cluster import BIG, SAME, cluster, listened_to
from factories_imports import DEFINITION, Brand, brand, visits
from factories_prefect import Orchestra, orchestra
from factories_storage import KEY_ID, SECRET_KEY, Storage, storage

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]
# No count, date or port has as many digits.
FIRST_CUSTOMER = 5531625630
PER_MINUTE = 60


@dataclass
class Stage:
    """What the tests of this file share."""

    prefect: Orchestra
    lake: Storage
    folder: Path
    # Its password is the one that the work pool gives to flow runs.
    deployed: Brand

    def brand(self, name: str, **environ: str) -> Any:
        """Give a brand whose activity is in object storage."""
        place = self.folder / name
        place.mkdir()
        paced = {"CAPILLARY_REQUESTS_PER_MINUTE": str(PER_MINUTE)}
        return brand(place, environ={**paced, **self.lake.environ, **environ})


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run a server and a storage, with three days of visits in it."""
    folder = tmp_path_factory.mktemp("cluster")
    everybody = range(FIRST_CUSTOMER, FIRST_CUSTOMER + 20)
    unpaced = {"CAPILLARY_REQUESTS_PER_MINUTE": "0"}
    with storage() as lake, brand(folder, environ=lake.environ | unpaced) as shop:
        first = visits(everybody[:12], each=3)
        lake.put("visits/1.csv", first)
        again = gzip.compress(visits(everybody[8:], each=2, day=3, bill="c").encode())
        lake.put("visits/2.csv.gz", again)
        lake.put("visits/3.csv", first)
        secret = shop.environ["CAPILLARY_PASSWORD"]
        with orchestra(folder / "prefect", secret=secret) as prefect:
            yield Stage(prefect, lake, folder, shop)


def define(shop: Brand) -> str:
    """Write the definition; return its path."""
    shop.define(DEFINITION.replace('"*.csv"', '"s3://lake/visits/*"') + BIG)
    return str(shop.definition)


def most_in(times: list[float], seconds: float) -> int:
    """Return the most calls that any stretch of so many seconds holds."""
    return max(sum(start <= one < start + seconds for one in times) for start in times)


def test_the_cluster_awards_what_one_machine_awards(stage: Stage) -> None:
    """Award by award the same, and the platform is called no faster."""
    with stage.brand("here", CAPILLARY_REQUESTS_PER_MINUTE="0") as shop:
        done = shop.command("run", define(shop), "--yes", "--json")
        assert done.returncode == 0, done.stderr
        here = shop.ask(SAME)
    ours = {
        "PREFECT_API_URL": stage.prefect.url,
        "PREFECT_HOME": str(stage.folder / "home"),
        "RETROBADGE_DASK": "local",
    }
    with stage.brand("there", **ours) as shop:
        done = shop.command("run", define(shop), "--yes", "--json")
        assert done.returncode == 0, done.stderr
        there = shop.ask(SAME)
        calls = [call.at.timestamp() for call in shop.sandbox.calls]

    assert here.height > 30
    assert there.equals(here)
    assert orjson.loads(done.stdout)["balanced"] is True
    assert len(calls) > 25
    assert most_in(calls, 60) <= PER_MINUTE
    # After a silence ten seconds of the pace may be made up for at once.
    assert most_in(calls, 10) <= PER_MINUTE / 3 + 1


def test_only_paths_and_small_values_travel(stage: Stage) -> None:
    """A deployed run sends its tasks to the scheduler with no login and no row."""
    shop, nightly = stage.deployed, "import-badges/nightly"
    columns = f"who,bill,at\n{FIRST_CUSTOMER},b,2017-05-01T12:00:00\n"
    bad = stage.lake.put("bad/1.csv", columns)
    with cluster() as address, listened_to(address) as wire:
        stage.prefect.worker(**shop.environ, RETROBADGE_DASK=wire.address)
        well = stage.prefect.ask(nightly, definition=define(shop))
        kind, message = stage.prefect.ended(well)
        assert (kind, message.endswith("issued, books balance")) == ("COMPLETED", True)
        shop.define(DEFINITION.replace("*.csv", bad))
        refused = stage.prefect.ask(nightly, definition=str(shop.definition))
        kind, message = stage.prefect.ended(refused)
    why = "refused: s3://lake/bad/1.csv: row 1: paid: column_missing"
    assert (kind, message.split(";")[0]) == ("FAILED", why)
    told = wire.told
    for task in (b"s3://lake/visits/1.csv", b"s3://lake/visits/2.csv.gz", b"qualify"):
        assert task in told
    assert len(told) < 2_000_000
    for secret in (shop.environ["CAPILLARY_PASSWORD"], SECRET_KEY, KEY_ID):
        assert secret.encode() not in told
    assert shop.environ["CAPILLARY_BASE_URL"].encode() not in told


def test_the_server_knows_the_tasks_and_nobody_in_them(stage: Stage) -> None:
    """Each file and each badge is a task run there; no customer and no login is."""
    names = stage.prefect.task_runs()
    assert {"accept s3://lake/visits/1.csv", "accept s3://lake/visits/2.csv.gz"} < names
    assert {"count activity", "qualify"} <= {name.split(" s3")[0] for name in names}
    told = stage.prefect.told()
    assert re.findall(rb"(?<!\d)55316\d{5}(?!\d)", told) == []
    for secret in (SECRET_KEY, KEY_ID):
        assert secret.encode() not in told
