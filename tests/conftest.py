"""What holds for all tests: which are left out, and what none leaves behind.

The plain run takes a share of the fault suite; `-m faults` takes all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes says nothing on a machine that is busy with other things.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what is marked `faults` and no `share`, unless marks were asked for."""
    if config.option.markexpr or config.option.keyword:
        return
    if any("::" in argument for argument in config.args):
        return
    left_out = [item for item in items if _is_long(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _is_long(item)]


def _is_long(item: pytest.Item) -> bool:
    marked = item.get_closest_marker("faults")
    return marked is not None and not marked.kwargs.get("share", False)


@pytest.fixture(autouse=True, scope="module")
def no_console_of_prefect() -> Iterator[None]:
    """Take Prefect's handler away again: it writes to a stream that pytest closes."""
    yield
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler).__module__.startswith("prefect"):
            root.removeHandler(handler)
