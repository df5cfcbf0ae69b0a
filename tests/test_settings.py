"""Settings: bounds, logins, near misses, and that no fault shows what was set."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.env_file import env_lines
from flows.settings import PROJECT, Settings, settings
from transforms.errors import Fault, SettingsRefused

PLATFORM = {
    "CAPILLARY_BASE_URL": "https://eu.api.example.com",
    "CAPILLARY_USERNAME": "till01",
    "CAPILLARY_PASSWORD": "s3cr3t",
}
OAUTH = {
    "CAPILLARY_BASE_URL": "https://eu.api.example.com",
    "CAPILLARY_CLIENT_KEY": "k3y",
    "CAPILLARY_CLIENT_SECRET": "s3cr3t",
}


def made(**environ: str) -> Settings:
    """Return the settings of a Basic login and what else is set."""
    return settings(PLATFORM | environ, env_file=None)


def faults(environ: dict[str, str], env_file: Path | None = None) -> tuple[Fault, ...]:
    """Return the faults for which an environment is refused."""
    with pytest.raises(SettingsRefused) as refusal:
        settings(environ, env_file=env_file)
    return refusal.value.faults


def test_defaults():
    """What isn't set has the documented default."""
    given = made()

    assert given.capillary_batch_size == 100
    assert given.capillary_requests_per_minute == 90
    assert given.capillary_max_in_flight == 8
    assert given.capillary_timeout_seconds == 120
    assert given.capillary_resend_after_seconds == 240
    assert given.capillary_settle_after_seconds == 900
    assert given.capillary_token_header == "X-CAP-API-OAUTH-TOKEN"
    assert given.capillary_canary is True
    assert given.retrobadge_home == PROJECT / "data" / "state"


def test_fractions_of_seconds():
    """Seconds may be fractions, as short tests need them."""
    given = made(
        CAPILLARY_TIMEOUT_SECONDS="0.5",
        CAPILLARY_RESEND_AFTER_SECONDS="1.25",
        CAPILLARY_SETTLE_AFTER_SECONDS="0.1",
    )

    assert given.capillary_timeout_seconds == 0.5
    assert given.capillary_resend_after_seconds == 1.25
    assert given.capillary_settle_after_seconds == 0.1


def test_env_file_and_environment(tmp_path):
    """The environment goes before the lines of `.env`, empty values included."""
    env_file = tmp_path / ".env"
    env_file.write_text(
        "export CAPILLARY_BASE_URL=https://file.example.com\n"
        "CAPILLARY_CLIENT_KEY=from-file # the loyalty team's\n"
        "CAPILLARY_BATCH_SIZE=7\n"
        "CAPILLARY_CANARY=false\n"
        "PREFECT_API_URL=http://127.0.0.1:4200/api\n"
    )
    given = settings(
        PLATFORM | {"CAPILLARY_CLIENT_KEY": "", "CAPILLARY_BATCH_SIZE": "8"},
        env_file=env_file,
    )

    assert given.capillary_base_url == PLATFORM["CAPILLARY_BASE_URL"]
    assert given.capillary_client_key is None
    assert given.capillary_batch_size == 8
    assert given.capillary_canary is False


def test_password_is_taken_as_written(tmp_path):
    """A quoted password keeps its blanks, its # and its ${…}."""
    env_file = tmp_path / ".env"
    env_file.write_text("CAPILLARY_PASSWORD='a #${HOME} b'\n")
    environ = {k: v for k, v in PLATFORM.items() if k != "CAPILLARY_PASSWORD"}

    given = settings(environ | {"HOME": "gone"}, env_file=env_file)

    assert given.capillary_password is not None
    assert given.capillary_password.get_secret_value() == "a #${HOME} b"


def test_a_login_for_object_storage_is_not_read_from_env_file(tmp_path):
    """AWS's library doesn't read `.env`: a line there is refused, not ignored."""
    env_file = tmp_path / ".env"
    env_file.write_text("AWS_PROFILE=loyalty\nAWS_SECRET_ACCESS_KEY=abc123\n")

    (profile, secret) = faults(PLATFORM, env_file)
    assert (profile.code, profile.row) == ("setting_elsewhere", 1)
    assert (secret.column, secret.row) == ("AWS_SECRET_ACCESS_KEY", 2)
    assert "abc123" not in str(secret)
    assert settings(PLATFORM | {"AWS_PROFILE": "loyalty"}, env_file=None)


def test_absent_env_file(tmp_path):
    """A `.env` that isn't there is no fault."""
    given = settings(PLATFORM, env_file=tmp_path / ".env")

    assert given.capillary_username == "till01"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("CAPILLARY_BATCH_SIZE", "0", "at least 1"),
        ("CAPILLARY_BATCH_SIZE", "many", "whole number"),
        ("CAPILLARY_BATCH_SIZE", "1.5", "whole number"),
        ("CAPILLARY_REQUESTS_PER_MINUTE", "-1", "at least 0"),
        ("CAPILLARY_MAX_IN_FLIGHT", "0", "at least 1"),
        ("CAPILLARY_TIMEOUT_SECONDS", "0", "more than 0"),
        ("CAPILLARY_TIMEOUT_SECONDS", "nan", "finite"),
        ("CAPILLARY_SETTLE_AFTER_SECONDS", "inf", "finite"),
        ("CAPILLARY_SETTLE_AFTER_SECONDS", "soon", "number of seconds"),
        ("CAPILLARY_CANARY", "perhaps", "true or false"),
        ("CAPILLARY_TOKEN_HEADER", "X Token", "HTTP header"),
        ("CAPILLARY_ATTRIBUTION_CODE", "Zürich", "ASCII"),
        ("CAPILLARY_ATTRIBUTION_TYPE", "TILL\r\nX-Evil: 1", "one line"),
        ("CAPILLARY_USERNAME", "till:01", "colon"),
        ("CAPILLARY_PASSWORD", "abc\r", "control characters"),
        ("CAPILLARY_RESEND_AFTER_SECONDS", "239", "twice CAPILLARY_TIMEOUT_SECONDS"),
        ("CAPILLARY_BASE_URL", "eu.api.example.com", "must be an address"),
        ("CAPILLARY_BASE_URL", "ftp://eu.api.example.com", "must be an address"),
        ("CAPILLARY_BASE_URL", "https://eu.api.example.com:port", "must be an address"),
        ("CAPILLARY_BASE_URL", "https://[::1", "must be an address"),
        ("CAPILLARY_BASE_URL", "http://eu.api.example.com", "must be https://"),
        ("CAPILLARY_BASE_URL", "http://127.0.0.1.example.com", "must be https://"),
        ("CAPILLARY_BASE_URL", "https://till01:pw@eu.example.com", "a login"),
        ("CAPILLARY_BASE_URL", "https://eu.example.com/api_gateway/v1", "must end"),
    ],
)
def test_out_of_bounds(name, value, told):
    """A value out of bounds is refused under its name."""
    (fault,) = faults(PLATFORM | {name: value})

    assert (fault.code, fault.column) == ("setting_wrong", name)
    assert told in fault.message


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("HTTPS://EU.API.Example.COM:443/", "https://eu.api.example.com"),
        ("https://eu.api.example.com:8443", "https://eu.api.example.com:8443"),
        ("https://proxy.example.com/badges/", "https://proxy.example.com/badges"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.2:1234/", "http://127.0.0.2:1234"),
        ("http://[::1]:1234", "http://[::1]:1234"),
    ],
)
def test_base_url_has_one_form(written, read):
    """One address written in several ways is one platform."""
    assert made(CAPILLARY_BASE_URL=written).capillary_base_url == read


def test_rest_follows_the_timeout():
    """The rest of an ambiguous request follows a longer timeout if it isn't set."""
    given = made(CAPILLARY_TIMEOUT_SECONDS="150")

    assert given.capillary_resend_after_seconds == 300


def test_wrong_timeout_is_one_fault():
    """A wrong timeout has no second fault for the rest that follows it."""
    found = faults(PLATFORM | {"CAPILLARY_TIMEOUT_SECONDS": "-1"})

    assert [fault.column for fault in found] == ["CAPILLARY_TIMEOUT_SECONDS"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CAPILLARY_REQUEST_PER_MINUTE", "CAPILLARY_REQUESTS_PER_MINUTE"),
        ("CAPILARY_BATCH_SIZE", "CAPILLARY_BATCH_SIZE"),
        ("RETROBADGE_HOMES", "RETROBADGE_HOME"),
        ("capillary_canary", "CAPILLARY_CANARY"),
    ],
)
def test_near_miss(name, meant):
    """A mistyped name is refused, with the name that was surely meant."""
    (fault,) = faults(PLATFORM | {name: "1"})

    assert (fault.code, fault.column) == ("setting_unknown", name)
    assert f"did you mean {meant}" in fault.message


def test_unknown_without_a_near_miss():
    """A name of ours that resembles no setting is refused too."""
    (fault,) = faults(PLATFORM | {"CAPILLARY_X": "1"})

    assert fault.code == "setting_unknown"


def test_faults_of_env_file_have_rows(tmp_path):
    """Broken, doubled, unknown and wrong lines of `.env` are told with their rows."""
    env_file = tmp_path / ".env"
    env_file.write_text(
        "# settings\n"
        "\n"
        "CAPILLARY_BATCH_SIZE=none\n"
        "a line that is nothing\n"
        "\n"
        "CAPILLARY_CANARY=true\n"
        "CAPILLARY_CANARY=false\n"
        "CAPILLARY_CANARI=false\n"
    )
    found = faults(PLATFORM, env_file)

    assert {(fault.code, fault.row) for fault in found} == {
        ("setting_wrong", 3),
        ("env_line", 4),
        ("env_twice", 7),
        ("setting_unknown", 8),
    }
    assert {fault.file for fault in found} == {".env"}


def test_env_file_in_another_encoding(tmp_path):
    """A `.env` that is not UTF-8 is refused instead of half read."""
    env_file = tmp_path / ".env"
    env_file.write_bytes("CAPILLARY_PASSWORD=größer\n".encode("latin-1"))

    assert faults(PLATFORM, env_file)[0].code == "env_unreadable"


def test_both_logins():
    """Both logins at once are refused, by name."""
    (fault,) = faults(PLATFORM | OAUTH)

    assert fault.code == "two_logins"
    assert "CAPILLARY_CLIENT_KEY" in fault.message


@pytest.mark.parametrize("missing", [*PLATFORM, "CAPILLARY_CLIENT_SECRET"])
def test_half_a_platform(missing):
    """A missing address or half of a login is refused by its name."""
    whole = OAUTH if missing in OAUTH else PLATFORM
    (fault,) = faults({k: v for k, v in whole.items() if k != missing})

    assert (fault.code, fault.column) == ("setting_missing", missing)


def test_no_platform():
    """Without address and login a command that sends is refused, others are not."""
    assert {f.code for f in faults({})} == {"setting_missing", "no_login"}

    given = settings({}, env_file=None, needs_platform=False)
    assert given.capillary_base_url is None
    with pytest.raises(SettingsRefused, match="no login is set"):
        _ = given.target


def test_offline_commands_check_what_is_set():
    """Where no platform is needed, what is set must be right all the same."""
    with pytest.raises(SettingsRefused, match="CAPILLARY_BATCH_SIZE"):
        settings({"CAPILLARY_BATCH_SIZE": "x"}, env_file=None, needs_platform=False)


@pytest.mark.parametrize("value", ["local", "tcp://10.0.0.5:8786", "tls://[::1]:1"])
def test_a_cluster_is_local_or_an_address(value):
    """A scheduler's address is taken as it stands."""
    assert made(RETROBADGE_DASK=value).retrobadge_dask == value


def test_home_starts_at_the_project():
    """A relative home is the same folder from wherever a command is started."""
    assert made(RETROBADGE_HOME="data/eu").retrobadge_home == PROJECT / "data" / "eu"
    assert made(RETROBADGE_HOME="/srv/eu").retrobadge_home == Path("/srv/eu")


def test_target_names_the_account():
    """A target names address and account, and no secret."""
    assert made().target == "https://eu.api.example.com as till01"

    by_key = settings(OAUTH, env_file=None).target
    assert by_key.startswith("https://eu.api.example.com as client ")
    assert "k3y" not in by_key
    other = settings(OAUTH | {"CAPILLARY_CLIENT_KEY": "k4y"}, env_file=None)
    assert by_key != other.target


def test_secrets_are_not_shown():
    """Neither the settings as text nor any fault shows a secret."""
    shown = repr(made()) + repr(settings(OAUTH, env_file=None))
    every = {name.upper(): "s3cr3t\n" for name in Settings.model_fields}
    with pytest.raises(SettingsRefused) as refusal:
        settings(every, env_file=None)

    assert "s3cr3t" not in shown
    assert "k3y" not in shown
    assert "s3cr3t" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_example_file_lists_every_setting():
    """`.env.example` has every setting with its default, and a reason above it."""
    found, broken = env_lines(PROJECT / ".env.example")
    lines = (PROJECT / ".env.example").read_text("utf-8").splitlines()
    plain = settings({}, env_file=None, needs_platform=False).model_dump()
    plain["retrobadge_home"] = plain["retrobadge_home"].relative_to(PROJECT)

    assert broken == []
    for name, default in plain.items():
        written, row = found.pop(name.upper())
        read = Settings.model_validate({name: written}) if written else Settings()
        shown = getattr(read, name)
        assert default == (
            shown.relative_to(PROJECT) if name == "retrobadge_home" else shown
        )
        above = lines[row - 2]
        assert above.startswith(("#", "CAPILLARY_")), f"{name} has no reason"
    assert all(name.startswith("PREFECT_") for name in found)
    assert settings(PLATFORM, env_file=PROJECT / ".env.example")
