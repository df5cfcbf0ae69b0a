"""Turns plots into SVG, in a process of its own beside the one that works.

Belongs here: that process, and what is said between the two: a line of JSON for each
plot, and one for each answer. Does not belong here: what a plot shows
(`transforms.reports.plots`) and where it stands (`pages`).

The library takes half a second to start and lets nothing else in its process run
meanwhile. So a command that will want plots starts the process first of all, before it
imports what is heavy itself: this module is light. Where there is no such process, or
it came to an end, plots are drawn here.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from transforms.reports.plots import Spec


class Drawing:
    """A process that draws, started when it is first wanted."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._is_told = Lock()
        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="drawing")

    @property
    def pid(self) -> int | None:
        """Return the process's id, if there is one."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the process, if there is none yet; it is gone when this one ends."""
        if self._child is not None:
            return
        # It has no use for what opens the platform.
        environ = {k: v for k, v in os.environ.items() if "CAPILLARY" not in k}
        with suppress(OSError):
            self._child = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-P",
                    "-m",
                    __name__,
                ],  # never what lies in this folder
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,  # Ctrl-C is for the one that works
            )
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the process, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            atexit.unregister(self.stop)
            child.kill()
            child.communicate()

    def svg(self, spec: Spec) -> str:
        """Return a plot as SVG."""
        with self._is_told:
            self.start()
            drawn = self._asked(orjson.dumps(spec) + b"\n")
        return _drawn(spec) if drawn is None else drawn

    def begun(self, spec: Spec) -> Future[str]:
        """Have a plot drawn beside what goes on here; the SVG comes by and by."""
        return self._waiting.submit(self.svg, spec)

    def _asked(self, line: bytes) -> str | None:
        if self._child is None or not (self._child.stdin and self._child.stdout):
            return None
        try:
            self._child.stdin.write(line)
            self._child.stdin.flush()
            return str(orjson.loads(self._child.stdout.readline()))
        except (OSError, orjson.JSONDecodeError):
            self.stop()
            return None


def _drawn(spec: Spec) -> str:
    import vl_convert  # noqa: PLC0415  half a second, in which all else stands still

    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])


def main() -> None:
    """Draw what is asked for until nothing more is."""
    _drawn({"data": {"values": []}, "mark": "bar"})
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(_drawn(orjson.loads(line))) + b"\n")
        sys.stdout.buffer.flush()


# The one that a command's pages share.
DRAWING = Drawing()

if __name__ == "__main__":
    main()
