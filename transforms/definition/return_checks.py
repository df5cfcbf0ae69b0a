"""Checks what a definition says about returns.

Belongs here: that returns can name an activity, and that what they do to it is known.
Does not belong here: the condition that tells them (`definition.checks`), matching them
(`activity.returned`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from transforms.definition.source_checks import Faulty
from transforms.errors import near

if TYPE_CHECKING:
    from transforms.definition.definition import Returns, Source

_NO_PARENTS = ("customer_id", "activity_id", "occurred_at", "amount")
_KINDS_OF_ID = ("text", "integer")


def check_returns(
    returns: Returns, sources: tuple[Source, ...], faulty: Faulty
) -> None:
    """Report returns that could name nothing, and what can't be reduced."""
    for message, code in _wrong_parents(returns, sources):
        faulty(code, message, ("returns", "parent"))
        break  # what follows from the first is no news
    lines = [source.name for source in sources if source.grain == "line_item"]
    if lines and returns.partial == "reduce":
        message = (
            f"which lines of an activity a partial return takes back is not built yet, "
            f"and source '{lines[0]}' has lines: write partial = \"keep\""
        )
        faulty("not_built", message, ("returns", "partial"))


def _wrong_parents(
    returns: Returns, sources: tuple[Source, ...]
) -> Iterator[tuple[str, str]]:
    """Return what is wrong with the column that names what was returned."""
    parent = returns.parent
    if parent in _NO_PARENTS:
        message = f"'{parent}' is the row's own: map the column that names the sale"
        yield message, "wrong_value"
    having = [source for source in sources if parent in source.columns]
    if not having:
        known = {name for source in sources for name in source.columns}
        message = f"'{parent}' is no column{near(parent, known)}: map it in columns"
        yield message, "unknown_column"
    for source in having:
        kind = source.types.get(parent, "text")
        if kind not in _KINDS_OF_ID:
            yield f"'{parent}' is {kind}: an id is text or integer", "wrong_value"
    named = [s for s in sources if "activity_id" in s.columns]
    if not named:
        message = "no source has an activity_id that a return could name: map one"
        yield message, "unknown_column"
    for source in having:
        if _width(source, parent) not in {_width(s, "activity_id") for s in named}:
            message = (
                f"'{parent}' must be as many columns as an activity_id is: "
                "one column, or a list as long"
            )
            yield message, "wrong_value"


def _width(source: Source, name: str) -> int:
    """Return how many columns one of ours is joined of; 0 is one by itself."""
    theirs = source.columns[name]
    return 0 if isinstance(theirs, str) else len(theirs)
