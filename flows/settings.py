"""The settings: read once from the environment and `.env`, then passed down as values.

Belongs here: every variable with its bounds, and faults that say what to change. Does
not belong here: where `.env` is (`flows.cli.main`), the folders of a home
(`flows.home`) and what a login turns into on the wire (`flows.platform.capillary`).

The model is plain pydantic: pydantic-settings takes the process's environment by
itself, and a name that it doesn't know is no error to it. A setting that was mistyped
must never become a default. No fault shows what was set: a secret may have been put
behind any name.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from flows.env_file import Lines, env_lines
from transforms.errors import Fault, SettingsRefused

PROJECT: Final = Path(__file__).resolve().parent.parent
_BASIC = ("capillary_username", "capillary_password")
_OAUTH = ("capillary_client_key", "capillary_client_secret")


def _base_url(text: str) -> str:
    """Return scheme, host, port and path in one way of writing them."""
    parts, host, port = _split(text.strip())
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must be an address such as https://eu.api.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a login, which has settings of its own")
    if parts.query or parts.fragment or "/api_gateway" in parts.path:
        raise ValueError("must end where /api_gateway/… begins: calls add the rest")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must be https:// (plain http:// is for loopback only)")
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    end = "" if port in {None, usual} else f":{port}"
    return f"{parts.scheme}://{shown}{end}{parts.path.rstrip('/')}"


def _split(text: str) -> tuple[SplitResult, str | None, int | None]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return urlsplit(""), None, None
    is_plain = host is not None and re.fullmatch(r"[\w.:-]+", host, re.ASCII)
    return parts, (host if is_plain else None), port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _username(text: str) -> str:
    if ":" in text:
        raise ValueError("must not hold a colon, which ends the name in a Basic login")
    return _one_line(text)


def _one_line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line without blanks at its ends")
    return text


def _secret(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("must not hold line ends or other control characters")
    return secret


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError("must be the name of an HTTP header")
    return text


def _header_value(text: str) -> str:
    if not text.isascii():
        raise ValueError("must be plain ASCII")
    return _one_line(text)


def _in_project(path: Path) -> Path:
    # By the folder of the moment, one import would get a second ledger.
    return PROJECT / path.expanduser()


def _scheduler(text: str) -> str:
    if text != "local" and not re.fullmatch(r"(tcp|tls)://[\w.\[\]:-]+:\d+", text):
        raise ValueError(
            "must be local, or a Dask scheduler's address such as tcp://10.0.0.5:8786"
        )
    return text


def _rest_after(data: Mapping[str, Any]) -> float:
    timeout: float = data["capillary_timeout_seconds"]
    return max(240.0, 2 * timeout)


Secret = Annotated[SecretStr, AfterValidator(_secret)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """What the environment says. A field's name is its variable in lower case.

    Made by `settings`; what only a platform needs is None where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    capillary_base_url: Annotated[str, AfterValidator(_base_url)] | None = None
    capillary_username: Annotated[str, AfterValidator(_username)] | None = None
    capillary_password: Secret | None = None
    capillary_client_key: Secret | None = None
    capillary_client_secret: Secret | None = None
    capillary_token_header: Annotated[str, AfterValidator(_header_name)] = (
        "X-CAP-API-OAUTH-TOKEN"  # noqa: S105 - the name of a header
    )
    capillary_attribution_type: HeaderValue | None = None
    capillary_attribution_code: HeaderValue | None = None
    capillary_batch_size: int = Field(100, ge=1)
    capillary_requests_per_minute: int = Field(90, ge=0)
    capillary_max_in_flight: int = Field(8, ge=1)
    capillary_timeout_seconds: Seconds = 120.0
    # Follows a longer timeout where it isn't set.
    capillary_resend_after_seconds: Seconds = Field(default_factory=_rest_after)
    capillary_settle_after_seconds: Seconds = 900.0
    capillary_canary: bool = True
    retrobadge_dask: Annotated[str, AfterValidator(_scheduler)] | None = None
    retrobadge_home: Annotated[Path, AfterValidator(_in_project)] = (
        PROJECT / "data" / "state"
    )

    @field_validator("capillary_resend_after_seconds")
    @classmethod
    def _never_races(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds < 2 * info.data.get("capillary_timeout_seconds", 0.0):
            raise ValueError(
                "must be at least twice CAPILLARY_TIMEOUT_SECONDS, or left out: a "
                "request must not be raced by its own resend"
            )
        return seconds

    @property
    def target(self) -> str:
        """The platform that a home belongs to: address and account, nothing secret.

        Raises `SettingsRefused` where the settings name no platform.
        """
        faults = list(_platform_faults(self.model_dump(exclude_none=True)))
        if faults:
            raise SettingsRefused(*faults)
        account = self.capillary_username
        if self.capillary_client_key is not None:
            key = self.capillary_client_key.get_secret_value()
            account = f"client {hashlib.sha256(key.encode()).hexdigest()[:12]}"
        return f"{self.capillary_base_url} as {account}"


def settings(
    environ: Mapping[str, str],
    *,
    env_file: Path | None,
    needs_platform: bool = True,
) -> Settings:
    """Return the settings of an environment, which goes before the lines of `.env`.

    An empty value counts as not set. Without `needs_platform` the address and the
    login may be missing; what is set is checked all the same. Raises
    `SettingsRefused` with one fault per variable.
    """
    found, faults = env_lines(env_file)
    found |= {name: (value, None) for name, value in environ.items()}
    faults += _unknown_names(found, env_file)
    given = {
        name: found[name.upper()][0]
        for name in Settings.model_fields
        if found.get(name.upper(), ("", None))[0] != ""
    }
    try:
        made: Settings | None = Settings.model_validate(given)
    except ValidationError as error:
        made = None
        faults += _value_faults(error, found, env_file)
    faults += _platform_faults(given, is_needed=needs_platform)
    if made is None or faults:
        raise SettingsRefused(*faults)
    return made


def _unknown_names(found: Lines, env_file: Path | None) -> Iterator[Fault]:
    """Find the names that are no setting and were surely meant to be one."""
    known = [name.upper() for name in Settings.model_fields]
    for name in sorted(found):
        if name.startswith("AWS_") and found[name][1] is not None:
            message = "is taken from the environment alone, where AWS's own library "
            message += "looks for it: set it there, and remove this line"
            yield _placed("setting_elsewhere", message, name, found, env_file)
            continue
        near = difflib.get_close_matches(name.upper(), known, n=2, cutoff=0.75)
        is_ours = name.upper().startswith(("CAPILLARY_", "RETROBADGE_"))
        is_slip = bool(difflib.get_close_matches(name.upper(), known, cutoff=0.92))
        if name in known or not (is_ours or is_slip):
            continue
        advice = f"did you mean {' or '.join(near)}?" if near else "remove it"
        message = f"is no setting: {advice}"
        yield _placed("setting_unknown", message, name, found, env_file)


def _value_faults(
    error: ValidationError, lines: Lines, env_file: Path | None
) -> Iterator[Fault]:
    """Turn pydantic's errors into faults that don't show what was set."""
    for wrong in error.errors(include_input=False, include_url=False):
        # The timeout that it follows is wrong, and has a fault of its own.
        if wrong["type"] == "default_factory_not_called":
            continue
        bounds = wrong.get("ctx", {})
        message = {
            "int_parsing": "must be a whole number",
            "int_from_float": "must be a whole number",
            "float_parsing": "must be a number of seconds",
            "finite_number": "must be a finite number of seconds",
            "bool_parsing": "must be true or false",
            "greater_than_equal": f"must be at least {bounds.get('ge')}",
            "greater_than": f"must be more than {bounds.get('gt')}",
            "value_error": str(bounds.get("error")),
        }.get(wrong["type"], wrong["msg"])
        name = str(wrong["loc"][0]).upper()
        yield _placed("setting_wrong", message, name, lines, env_file)


def _placed(
    code: str, message: str, name: str, lines: Lines, env_file: Path | None
) -> Fault:
    """Return a fault with the row of `.env`, if that is where the name stands."""
    row = lines[name][1]
    file = env_file.name if env_file is not None and row is not None else None
    return Fault(code=code, message=message, file=file, row=row, column=name)


def _platform_faults(
    given: Mapping[str, Any], *, is_needed: bool = True
) -> Iterator[Fault]:
    """Check that there is an address and exactly one whole login."""
    if is_needed and "capillary_base_url" not in given:
        yield _missing("capillary_base_url", "no host is taken for granted")
    has_basic = any(name in given for name in _BASIC)
    has_oauth = any(name in given for name in _OAUTH)
    names = [name.upper() for name in (*_BASIC, *_OAUTH)]
    if has_basic and has_oauth:
        told = [name for name in names if name.lower() in given]
        message = f"two logins are set ({', '.join(told)}): keep one of them"
        yield Fault(code="two_logins", message=message, column=told[0])
        return
    if is_needed and not has_basic and not has_oauth:
        ways = f"{names[0]} and {names[1]}, or {names[2]} and {names[3]}"
        message = f"no login is set: set {ways}"
        yield Fault(code="no_login", message=message, column=names[0])
    for one, other in (_BASIC, _BASIC[::-1], _OAUTH, _OAUTH[::-1]):
        if one in given and other not in given:
            yield _missing(other, f"{one.upper()} needs it")


def _missing(name: str, reason: str) -> Fault:
    message = f"is not set ({reason}): set it, or add it to .env"
    return Fault(code="setting_missing", message=message, column=name.upper())
