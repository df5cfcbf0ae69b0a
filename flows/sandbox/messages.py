"""An HTTP request and a reply, as far as the platform looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Reply:
    """One reply. `payload` becomes JSON unless `text` is set, which goes as it is."""

    status: int
    payload: Any = None
    text: str | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Return the bytes of the body."""
        if self.text is not None:
            return self.text.encode()
        return orjson.dumps(self.payload)


def page(status: int, text: str) -> Reply:
    """Return a page of HTML."""
    return Reply(status, text=text, media_type="text/html; charset=utf-8")


class RefusalError(Exception):
    """The platform refuses a request as a whole."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
