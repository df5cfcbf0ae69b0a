"""The platform's client: one call in, one undecided answer out.

Belongs here: addresses, logins, timeouts, pacing. Does not belong here: what an answer
means (`transforms.platform.outcomes`, `transforms.platform.evidence`), and trying again
(`flows.sending.dispatch`): a call is made exactly once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from flows.platform.pacing import Pace
from flows.settings import Settings
from transforms.platform.outcomes import Answer, Failure, whole_number

BADGES = "/api_gateway/v1/badges"
PAGE_SIZE = 100
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Connection": "keep-alive",
    "User-Agent": f"python-httpx/{httpx.__version__}",
}
# A token is renewed ahead of time, when this much of its life is over.
TOKEN_SHARE = 0.8


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(tz=UTC)


class Halted(Exception):
    """The run was stopped while a call waited for its turn: nothing went out."""


@dataclass
class CallCount:
    """Every HTTP call counts, whatever came of it."""

    calls: int = 0
    earn_calls: int = 0


class Login:
    """Makes the login headers; one renewal of a token serves all senders."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renewing = asyncio.Lock()
        self._token: str | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    @property
    def is_oauth(self) -> bool:
        """Whether a token is used, which can be renewed."""
        return self._settings.capillary_client_key is not None

    @property
    def token(self) -> str | None:
        """Return the token in use, to be named when it was refused."""
        return self._token

    def basic(self) -> dict[str, str]:
        """Return Basic headers: the password goes as its MD5 in hex (contract 3)."""
        username = self._settings.capillary_username
        password = self._settings.capillary_password
        if username is None or password is None:
            return {}
        secret = password.get_secret_value().encode()
        digest = hashlib.md5(secret, usedforsecurity=False).hexdigest()
        pair = f"{_plain(username)}:{digest}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    async def headers(self, ask: Callable[[], Awaitable[Answer]]) -> dict[str, str]:
        """Return the headers of the next call, asking for a token if one is due."""
        if not self.is_oauth:
            return self.basic()
        async with self._renewing:
            if self._token is None or utc_now() >= self._renew_at:
                self._take(await ask())
        headers = {self._settings.capillary_token_header: self._token or ""}
        return headers | self._attribution()

    def discard(self, token: str | None) -> None:
        """Drop a token that was refused, unless it has been renewed meanwhile."""
        if token == self._token:
            self._token = None

    def _take(self, answer: Answer) -> None:
        """Keep a new token (contract 3, `/v3/oauth/token/generate`)."""
        self._token = None
        try:
            data = orjson.loads(answer.body).get("data") or {}
        except (orjson.JSONDecodeError, AttributeError):
            data = {}
        token, ttl = data.get("accessToken"), whole_number(data.get("ttlSeconds"))
        if token:
            self._token = str(token)
            life = timedelta(seconds=(ttl or 300) * TOKEN_SHARE)
            self._renew_at = answer.started_at + life

    def _attribution(self) -> dict[str, str]:
        settings = self._settings
        kind, code = (
            settings.capillary_attribution_type,
            settings.capillary_attribution_code,
        )
        headers = {}
        if kind:
            headers["X-CAP-API-ATTRIBUTION-ENTITY-TYPE"] = kind
        if code:
            headers["X-CAP-API-ATTRIBUTION-ENTITY-CODE"] = code
        return headers


def _plain(value: Any) -> str:
    secret = getattr(value, "get_secret_value", None)
    return str(secret()) if secret else str(value)


@dataclass
class Platform:
    """The platform as one run sees it: a login, a pace and a count of calls.

    A connection pool shared by many senders collapses, so every sender takes a line
    of its own; all lines share one TLS context.
    """

    settings: Settings
    pace: Pace
    count: CallCount = field(default_factory=CallCount)

    def __post_init__(self) -> None:
        self.login = Login(self.settings)
        # For loopback too: left to httpx, every line would make one of its own.
        self._tls = httpx.create_ssl_context()
        self._halted = asyncio.Event()

    def halt(self) -> None:
        """Let no further call out: whoever waits for a turn gets `Halted` at once."""
        self._halted.set()

    async def turn(self) -> None:
        """Return when the pace allows a call; raises `Halted` when the run is stopped.

        A pause that the platform asked for may last long: a stop does not wait for it.
        """
        if self._halted.is_set():
            raise Halted
        if self.pace.turn_at_once():
            return
        halted = asyncio.ensure_future(self._halted.wait())
        turn = asyncio.ensure_future(self.pace.turn())
        try:
            await asyncio.wait((halted, turn), return_when=asyncio.FIRST_COMPLETED)
            if self._halted.is_set():
                raise Halted
            await turn  # it has come, or the pace could not be kept
        finally:
            for waiting in (halted, turn):
                waiting.cancel()
            await asyncio.gather(halted, turn, return_exceptions=True)

    def line(self) -> Line:
        """Return a new line to the platform, to be used as a context manager."""
        return Line(self, self._tls)


class Line:
    """One sender's connection: at most one call at a time."""

    def __init__(self, platform: Platform, tls: ssl.SSLContext) -> None:
        self._platform = platform
        self._tls = tls
        self._stack = AsyncExitStack()
        self._token_used: str | None = None

    async def __aenter__(self) -> Self:
        settings = self._platform.settings
        seconds = settings.capillary_timeout_seconds
        self._base_url = str(settings.capillary_base_url).rstrip("/")
        timeout = httpx.Timeout(seconds, connect=min(seconds, 10.0), pool=None)
        self._extensions = {"timeout": timeout.as_dict()}
        # A whole client would merge, look for redirects and keep cookies: a third more
        # CPU for each call, and nothing that this API knows of.
        self._transport = await self._stack.enter_async_context(
            httpx.AsyncHTTPTransport(
                verify=self._tls,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                trust_env=False,
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def is_oauth(self) -> bool:
        """Whether the login is a token, which can be renewed."""
        return self._platform.login.is_oauth

    def discard_token(self) -> None:
        """Drop the token of the last call, which was refused; not one that is newer."""
        self._platform.login.discard(self._token_used)

    def pause(self, seconds: float) -> None:
        """Hold every sender: the platform asked for it."""
        self._platform.pace.pause(seconds)

    async def earn_bulk(
        self, body: bytes, mark: Callable[[], Awaitable[Any]]
    ) -> Answer:
        """Issue one badge to many customers (contract 1).

        `mark` writes down that the request goes out; it is awaited when the pace
        allows the call and before its first byte leaves.
        """

        async def marked() -> None:
            await mark()
            self._platform.count.earn_calls += 1

        return await self._post(f"{BADGES}/customer/earnBulk", body, mark=marked)

    async def badge(self, badge_meta_id: str) -> Answer:
        """Read one badge (contract 2.4)."""
        return await self._get(f"{BADGES}/badgeMeta/{badge_meta_id}")

    async def badges(self, page: int, name: str | None) -> Answer:
        """Read a page of the platform's badges (contract 2.4)."""
        params = {"limit": str(PAGE_SIZE), "page": str(page)}
        return await self._get(
            f"{BADGES}/badgeMeta", params | ({"name": name} if name else {})
        )

    async def customer_badge(self, customer_id: int, badge_meta_id: str) -> Answer:
        """Read one customer's earns of one badge (contract 2.5)."""
        path = f"{BADGES}/management/{customer_id}/badge/{badge_meta_id}"
        return await self._get(path, {"includeStatistics": "true"})

    async def earned_list(self, customer_id: int, page: int) -> Answer:
        """Read a page of what one customer earned, expired ones included."""
        params = {
            "badgeType": "EARNED",
            "includeExpired": "true",
            "Limit": str(PAGE_SIZE),
            "page": str(page),
        }
        return await self._get(f"{BADGES}/customer/{customer_id}", params)

    async def customer_lookup(self, identifier: str, value: str) -> Answer:
        """Ask whose an identifier is (contract 9)."""
        params = {
            "source": "INSTORE",
            "identifierName": identifier,
            "identifierValue": value,
        }
        return await self._get("/v2/customers/lookup", params)

    async def revoke_earn(
        self, body: bytes, mark: Callable[[], Awaitable[Any]]
    ) -> Answer:
        """Take one earned badge back (contract 2.7); `mark` as for `earn_bulk`."""
        return await self._post(f"{BADGES}/customer/revokeEarn", body, mark=mark)

    async def claim(self, badge_meta_id: str, body: bytes) -> Answer:
        """Claim a badge for an owner and its reference (contract 2.3)."""
        return await self._post(f"{BADGES}/badgeMeta/{badge_meta_id}/claim", body)

    async def _token(self) -> Answer:
        settings = self._platform.settings
        key, secret = settings.capillary_client_key, settings.capillary_client_secret
        body = orjson.dumps(
            {"key": _plain(key), "secret": _plain(secret)} if secret else {}
        )
        return await self._call("POST", "/v3/oauth/token/generate", {}, body=body)

    async def _post(
        self,
        path: str,
        body: bytes,
        *,
        mark: Callable[[], Awaitable[Any]] | None = None,
    ) -> Answer:
        headers = await self._headers()
        return await self._call("POST", path, headers, body=body, mark=mark)

    async def _get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        headers = await self._headers()
        return await self._call("GET", path, headers, params=params)

    async def _headers(self) -> dict[str, str]:
        headers = await self._platform.login.headers(self._token)
        self._token_used = self._platform.login.token
        return headers

    async def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        mark: Callable[[], Awaitable[Any]] | None = None,
    ) -> Answer:
        """Make exactly one call, when the pace allows it; never raises for its end."""
        await self._platform.turn()
        if mark is not None:
            await mark()
        self._platform.count.calls += 1
        sent = {**_HEADERS, **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        request = httpx.Request(
            method,
            f"{self._base_url}{path}",
            content=body,
            params=params,
            headers=sent,
            extensions=self._extensions,
        )
        started_at = utc_now()
        failure, response = None, None
        try:
            # The timeout of httpx bounds each read; this bounds the whole call.
            async with asyncio.timeout(
                self._platform.settings.capillary_timeout_seconds
            ):
                response = await self._answered(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            failure = Failure.NOT_CONNECTED
        except (httpx.TimeoutException, TimeoutError):
            failure = Failure.TIMED_OUT
        except httpx.HTTPError:
            failure = Failure.CUT
        if response is None:
            return Answer(started_at=started_at, ended_at=utc_now(), failure=failure)
        return Answer(
            started_at=started_at,
            ended_at=utc_now(),
            http_status=response.status_code,
            body=response.content,
            retry_after=response.headers.get("Retry-After"),
        )

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        """Return a response that was read to its end."""
        response = await self._transport.handle_async_request(request)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response
