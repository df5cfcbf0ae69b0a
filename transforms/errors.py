"""Every error that an operator may see, with its exit status.

RetrobadgeError
├── Refused              1  nothing was sent; change something first
│   ├── DefinitionRefused     the import definition
│   ├── FilesRefused          an activity file, or too many bad rows
│   ├── SettingsRefused       the environment
│   ├── PlanRefused           a guard, an approval, a plan that moved
│   ├── PlatformRefused       login, preflight, a badge that can't be awarded
│   ├── HomeRefused           lock, target, ledger or audit
│   └── NotBuilt              a key, option or command that does not exist yet
├── StoppedPartWay       4  run again
└── LooksWrong           5  a person must look
    ├── Unbalanced            the books
    └── NotRecorded           an outcome could not be written

Exit 3 (finished, with awards left open) is no error: it is a result of the run.
An error that is not in this tree is a defect and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong, where it is, and what to do about it.

    `code` is a stable word for programs. `column` names a column of a file or a key
    of the definition (`badges.regular.rule.at_least`). `row` counts as an editor does:
    the header of a CSV is row 1.
    """

    code: str
    message: str
    file: str | None = None
    row: int | None = None
    column: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints in `errors`."""
        return asdict(self)

    def __str__(self) -> str:
        """Return one line: place, then message."""
        place = ":".join(
            str(part) for part in (self.file, self.row) if part is not None
        )
        parts = [part for part in (place, self.column, self.message) if part]
        return ": ".join(parts)


class RetrobadgeError(Exception):
    """An error that an operator can act on; carries every fault that was found."""

    exit_status: ClassVar[int] = 1
    # What the run that it ended reports, if one had begun.
    report: Any = None

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))

    @classmethod
    def of(
        cls,
        code: str,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> Self:
        """Return an error with one fault."""
        return cls(Fault(code=code, message=message, file=file, row=row, column=column))


class Refused(RetrobadgeError):
    """Nothing was sent; something has to be changed first."""


class DefinitionRefused(Refused):
    """The import definition does not say what to do."""


class FilesRefused(Refused):
    """An activity file can't be read as declared, or too much of it is bad."""


class SettingsRefused(Refused):
    """A setting from the environment is missing or wrong."""


class PlanRefused(Refused):
    """A guard refuses the plan, or the plan is not the one that was approved."""


class PlatformRefused(Refused):
    """The platform refused the login, or a badge can't be awarded as it stands."""


class HomeRefused(Refused):
    """The home is locked, belongs to another platform, or its ledger is not right."""


class NotBuilt(Refused):
    """A key, option or command that this version does not have yet."""


class StoppedPartWay(RetrobadgeError):
    """The run stopped before its end and can be run again."""

    exit_status = 4


class LooksWrong(RetrobadgeError):
    """What was counted or recorded can't be right; a person must look."""

    exit_status = 5


class Unbalanced(LooksWrong):
    """The books of a run do not balance."""


class NotRecorded(LooksWrong):
    """Something that happened could not be written down."""


def near(word: str, known: Collection[str]) -> str:
    """Return ` (did you mean …?)` when a known word is close, else nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
