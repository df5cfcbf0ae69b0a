from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from factories_imports import Brand, brand, visits

# Everything of an award but what differs from one run to the next.
SAME = """
SELECT * EXCLUDE (award_id, request_id, earned_badge_id, planned_run_id,
    settled_run_id, planned_at, sent_at, settled_at, expires_on, target)
FROM audit ORDER BY customer_id, occurrence
"""
FLOW = """
import asyncio, sys
import orjson
from flows.import_badges import ImportParameters, import_badges
asked = ImportParameters(definition=sys.argv[1])
report = asyncio.run(import_badges(asked))
print(orjson.dumps(report).decode())
"""


def as_flow(shop: Brand, prefect_home: Path) -> subprocess.CompletedProcess[str]:
    """Run the flow in a process of its own, with a Prefect server that it starts."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
        "HOME": str(prefect_home),
    }
    return subprocess.run(
        [sys.executable, "-c", FLOW, str(shop.definition)],
        env={**environ, **shop.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.prefect
def test_a_flow_run_gives_the_same_rows_as_a_plain_one(tmp_path: Path) -> None:
    """With Prefect and without it, the audit differs only in run ids and times."""
    plain, flow = tmp_path / "plain", tmp_path / "flow"
    plain.mkdir()
    flow.mkdir()
    with brand(plain) as shop:
        shop.write(may=visits(range(1, 8)))
        shop.run()
        expected = shop.ask(SAME)
    with brand(flow) as shop:
        shop.write(may=visits(range(1, 8)))
        done = as_flow(shop, tmp_path / "prefect")
        assert done.returncode == 0, done.stderr
        actual = shop.ask(SAME)
        told = orjson.loads(done.stdout.splitlines()[-1])

    assert told["statuses"] == {"issued": 7}
    assert expected.equals(actual)
    assert shop.environ["CAPILLARY_PASSWORD"] not in done.stdout + done.stderr
