"""Tests of the process that draws plots beside the one that works."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.pages.drawing import Drawing

SPEC = {
    "data": {"values": [{"a": "x", "b": 3}, {"a": "ü", "b": 5}]},
    "mark": "bar",
    "encoding": {
        "x": {"field": "a", "type": "nominal"},
        "y": {"field": "b", "type": "quantitative"},
    },
}
HOLDER = """
import time
from flows.pages.drawing import Drawing
drawing = Drawing()
drawing.start()
print(drawing.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def drawing():
    """Return a process that draws, and end it."""
    found = Drawing()
    yield found
    found.stop()


def test_plots_are_drawn_in_a_process_of_their_own(drawing: Drawing) -> None:
    """One process draws one plot after the other, and the same each time."""
    drawing.start()
    first = drawing.svg(SPEC)
    assert first.startswith("<svg ")
    assert "ü" in first
    assert drawing.svg(SPEC) == first
    assert drawing.pid


def test_a_process_that_ended_costs_no_plot(drawing: Drawing) -> None:
    """Killed by whatever, its plots are drawn here, and look the same."""
    first = drawing.svg(SPEC)
    os.kill(drawing.pid, signal.SIGKILL)
    assert drawing.svg(SPEC) == first


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_it_gets_no_secret_and_ends_with_who_started_it() -> None:
    """A run that is killed leaves no process behind, and hands on no password."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        env={**os.environ, "CAPILLARY_PASSWORD": "swordfish"},
    ) as holder:
        try:
            child = int(holder.stdout.readline())
            told = Path(f"/proc/{child}/environ").read_bytes()
            ends = os.pidfd_open(child)
        finally:
            holder.kill()
    assert b"PATH=" in told
    assert b"swordfish" not in told
    assert select.select([ends], [], [], 60)[0]
    os.close(ends)
