"""Who is calling: Basic, tokens, access groups and the pace of calls (contract 3, 5.1).

Belongs here: refusing a call before its endpoint sees it. Does not belong here: what
endpoints refuse.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
from collections import deque
from dataclasses import dataclass
from email.utils import format_datetime

import orjson

from flows.sandbox import bodies
from flows.sandbox.codes import refusal
from flows.sandbox.memory import Memory
from flows.sandbox.messages import Reply, Request, page
from flows.sandbox.moments import SECOND, instant
from flows.sandbox.switches import Switches

TOKEN_HEADERS = ("x-cap-api-oauth-token", "cap-api-access-token")
_MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Account:
    """The logins that the sandbox accepts; nothing here is secret."""

    username: str = "sandbox.till"
    password: str = "sandbox password"  # noqa: S105  the sandbox guards nothing
    client_key: str = "sandbox-client"
    client_secret: str = "sandbox secret"  # noqa: S105

    @property
    def basic(self) -> str:
        """Return the value of the Authorization header; the password goes as MD5."""
        digest = hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()
        pair = f"{self.username}:{digest}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Login:
    """Tokens that were given out, and when each login called."""

    def __init__(self, account: Account, switches: Switches, memory: Memory) -> None:
        self._account = account
        self._switches = switches
        self._memory = memory
        self._basic = account.basic
        self._expiries: dict[str, int] = {}
        self._calls: dict[str, deque[int]] = {}
        self._rolled = random.Random(f"tokens {switches.seed}")  # noqa: S311

    def token(self, request: Request) -> Reply:
        """Return a new token for a right key and secret; every call gives another."""
        body = bodies.object_of(request)
        pair = (body.get("key"), body.get("secret"))
        if pair != (self._account.client_key, self._account.client_secret):
            raise refusal(401, 401, "The token could not be generated.")
        ttl = self._switches.token_ttl_seconds
        token = self._new_token()
        self._expiries[token] = self._memory.now() + ttl * SECOND
        data = {"accessToken": token, "ttlSeconds": ttl}
        return Reply(200, {"data": data, "errors": None})

    def _new_token(self) -> str:
        parts = (
            orjson.dumps({"alg": "none", "typ": "sandbox"}),
            orjson.dumps({"key": self._account.client_key}),
            self._rolled.randbytes(24),
        )
        return ".".join(base64.urlsafe_b64encode(part).decode() for part in parts)

    def admit(self, request: Request, endpoint: str) -> None:
        """Refuse a call whose login or access group is not right."""
        name = self._name_of(request)
        if name is None:
            raise refusal(401, 401)
        if endpoint in self._switches.forbidden:
            raise refusal(4000, 403)

    def _name_of(self, request: Request) -> str | None:
        token = self.token_of(request)
        if token is not None:
            is_alive = self._expiries.get(token, 0) > self._memory.now()
            return self._account.client_key if is_alive else None
        if not self._switches.basic_allowed:
            return None
        given = request.headers.get("authorization", "")
        scheme, _, secret = given.partition(" ")
        is_right = f"{scheme.capitalize()} {secret.strip()}" == self._basic
        return self._account.username if is_right else None

    def token_of(self, request: Request) -> str | None:
        """Return the token that a request carries."""
        names = (
            TOKEN_HEADERS if self._switches.short_token_header else TOKEN_HEADERS[:1]
        )
        return next(
            (request.headers[name] for name in names if name in request.headers), None
        )

    def discard(self, request: Request) -> None:
        """Let the token of a request expire now."""
        token = self.token_of(request)
        if token is not None:
            self._expiries.pop(token, None)

    def seconds_to_wait(self, request: Request) -> float | None:
        """Count a call; return how long its login must wait, or None to go on."""
        most = self._switches.rate_limit_per_minute
        if not most:
            return None
        login = "token" if self.token_of(request) else "basic"
        calls = self._calls.setdefault(login, deque())
        now = self._memory.now()
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        if len(calls) >= most:
            return (calls[0] + _MINUTE - now) / SECOND
        calls.append(now)
        return None


def too_many(seconds: float, how: str, now: int) -> Reply:
    """Return a 429. `how` is what it says of the wait: none, seconds or date."""
    reply = page(429, "<html><body><h1>429 Too Many Requests</h1></body></html>")
    whole = math.ceil(seconds)
    if how == "seconds":
        reply.headers["Retry-After"] = str(whole)
    if how == "date":
        at = instant(now + whole * SECOND)
        reply.headers["Retry-After"] = format_datetime(at, usegmt=True)
    return reply
