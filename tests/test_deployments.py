"""What is deployed, and what its flows take and tell, without a server."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from flows.backfill_badges import BackfillParameters, bound_faults
from flows.cli.command import has_prefect_server
from flows.import_badges import ImportParameters
from flows.orchestration.words import (
    artifact_key,
    error_line,
    report_line,
    summary_markdown,
)
from flows.reconcile_badges import ReconcileParameters
from flows.resume_badges import ResumeParameters
from flows.revoke_badges import RevokeParameters
from flows.runs.report import Report
from transforms.books import Books
from transforms.errors import Fault, FilesRefused, PlanRefused, Unbalanced

PROJECT = Path(__file__).resolve().parent.parent
TEXT = (PROJECT / "prefect.yaml").read_text("utf-8")
DEPLOYED = yaml.safe_load(TEXT)
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
# What whoever asks for such a run has to say.
WHEN = {
    "backfill-badges": {"earned_from": "2017-01-01", "earned_until": "2017-02-01"},
    "revoke-badges": {"run": "latest"},
}
BERLIN = ZoneInfo("Europe/Berlin")


def named(deployment: dict[str, Any]) -> str:
    """Return a deployment's name as Prefect writes it."""
    flow = deployment["entrypoint"].rpartition(".")[2].replace("_", "-")
    return f"{flow}/{deployment['name']}"


def flow_of(deployment: dict[str, Any]) -> Any:
    """Return the flow that a deployment names."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(import_module(module), name)


def report(**told: Any) -> Report:
    """Return a report of a run in which nothing happened but what is told."""
    counts = {**Books().totals(), "awards_held": 0}
    counts |= {"requests": 0, "calls": 0, "earn_calls": 0}
    given = {"statuses": {}, "waiting": 0, "is_balanced": True, **told}
    return Report(run_id="run", status="finished", counts=counts, **given)


def test_what_is_deployed():
    """The nightly import, the backfill on demand and the weekly reconcile are there."""
    expected = {
        "import-badges/nightly",
        "backfill-badges/on-demand",
        "resume-badges/on-demand",
        "revoke-badges/on-demand",
        "reconcile-badges/weekly",
    }

    assert {named(one) for one in DEPLOYED["deployments"]} == expected


@pytest.mark.parametrize("deployment", DEPLOYED["deployments"], ids=named)
def test_deployments_name_flows_that_take_their_parameters(deployment):
    """A deployment's flow exists, takes what it is given, and retries nothing."""
    flow = flow_of(deployment)
    given = deployment.get("parameters", {})

    assert f"{flow.name}/{deployment['name']}" == named(deployment)
    assert flow.retries == 0
    assert not flow.persist_result
    asked = {**given.get("parameters", {}), **WHEN.get(flow.name, {})}
    if asked:
        assert flow.validate_parameters({"parameters": asked})
    definition = asked.get("definition")
    if definition:
        zone = tomllib.loads((PROJECT / definition).read_text("utf-8"))["timezone"]
        zones = {schedule["timezone"] for schedule in deployment["schedules"]}
        assert zones <= {zone}


def test_no_deployment_has_a_limit_of_prefect():
    """Runs take turns at the home's lock; a lease of Prefect's would end them."""
    assert [one for one in DEPLOYED["deployments"] if "concurrency_limit" in one] == []


def test_deployments_are_for_the_prefect_that_is_locked():
    """The version that `prefect.yaml` names is the one that is installed."""
    wanted = f"prefect=={DEPLOYED['prefect-version']}"

    assert wanted in PYPROJECT["project"]["dependencies"]


def test_a_secret_is_named_where_it_stays_one():
    """Secret blocks are named in the work pool; a deployment would keep their value."""
    pool = orjson.loads((PROJECT / "docs" / "work-pool.json").read_bytes())
    environment = pool["variables"]["properties"]["env"]["default"]

    assert re.search(r"\{\{ *prefect\.blocks", TEXT) is None
    assert environment == {
        "CAPILLARY_PASSWORD": "{{ prefect.blocks.secret.capillary-password }}"
    }


def test_the_image_is_built_from_the_lock_and_holds_nothing_else():
    """Every package's hash is checked, and only what is listed gets into the image."""
    image = (PROJECT / "Dockerfile").read_text("utf-8")
    left_out = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE)
    listed = {line.removeprefix("!") for line in left_out if line.startswith("!")}

    assert "--no-deps --require-hashes" in image
    assert re.search(r"^USER retrobadge$", image, re.MULTILINE)
    assert next(line for line in left_out if not line.startswith("#")) == "*"
    assert {
        name.removeprefix("./") for line in copied for name in line.split()
    } == listed


@pytest.mark.parametrize(
    "model",
    [
        ImportParameters,
        BackfillParameters,
        ResumeParameters,
        ReconcileParameters,
        RevokeParameters,
    ],
)
def test_forms_explain_themselves(model):
    """Every field of a form says what it is, and a field nobody knows is refused."""
    silent = [
        name for name, field in model.model_fields.items() if not field.description
    ]

    assert silent == []
    assert model.model_config["extra"] == "forbid"


ASKED = {"definition": "a.toml"}


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        (ImportParameters, {"definition": ""}),
        (ImportParameters, ASKED | {"badges": [""]}),
        (ImportParameters, ASKED | {"badges": ["a"] * 1001}),
        (ImportParameters, ASKED | {"earned_from": "0017-01-01"}),
        (ImportParameters, ASKED | {"as_of": "2017-01-01T00:00:00"}),
        (ImportParameters, ASKED | {"stop_at": "tomorrow"}),
        (ImportParameters, ASKED | {"wait_seconds": 1e9}),
        (ImportParameters, ASKED | {"customers": "file.csv"}),
        (BackfillParameters, ASKED | {"earned_from": "2017-01-01"}),
        (ReconcileParameters, {"sample": 0}),
        (RevokeParameters, {"run": ""}),
    ],
)
def test_parameters_have_bounds(model: type[BaseModel], wrong: dict[str, Any]):
    """What can't be meant is refused before anything begins."""
    with pytest.raises(ValidationError):
        model.model_validate(wrong)


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        (("2017-01-01", "2017-02-01"), None),
        (("2017-02-01", "2017-01-01"), "bounds_reversed"),
        (("2017-02-01", "2017-02-01"), "bounds_reversed"),
        (("2017-03-01", "2017-03-03"), None),
        (("2017-03-01", "2017-03-04"), "bounds_future"),
    ],
)
def test_a_backfill_refuses_bounds_that_cannot_be_meant(bounds, code):
    """Bounds lie in order, and today in the definition's zone is the last day."""
    late_in_utc = datetime(2017, 3, 1, 23, 30, tzinfo=UTC)  # the second of March there
    first, last = (date.fromisoformat(day) for day in bounds)

    faults = bound_faults(first, last, late_in_utc, BERLIN)

    assert [fault.code for fault in faults] == ([code] if code else [])


def test_what_a_state_says_names_no_customer():
    """A wrong row is told by its place, and customers are left out of messages."""
    row = Fault(
        code="selection_customer", message="'553' is no id", file="a.csv", row=7
    )
    moved = Fault(
        code="plan", message="2 awards moved (regular: 2; customers 553, 554, …)"
    )

    assert error_line(FilesRefused(row)) == (
        "a.csv: row 7: the row: selection_customer; `retrobadge check` on the worker "
        "says more"
    )
    assert error_line(PlanRefused(moved)) == (
        "2 awards moved (regular: 2; customers (named in the home))"
    )


def test_a_defect_is_told_without_its_text():
    """Of an error that is not ours only class and place are told: it may hold a row."""
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 553 / 0

    told = error_line(caught.value)
    assert told.startswith("ZeroDivisionError in test_deployments.py:")
    assert "division" not in told


def test_books_that_do_not_balance_are_told_in_one_line():
    """Of several faults the first is told, and how many more there are."""
    faults = [Fault(code="books", message=f"{n} read\nand 4 accepted") for n in (5, 6)]

    assert error_line(Unbalanced(*faults)) == (
        "5 read and 4 accepted (and 1 more, in the log)"
    )


def test_a_run_is_told_in_one_line_with_what_wants_a_person_first():
    """Unknown and blocked awards come before those that are well."""
    told = report(statuses={"issued": 1200, "unknown": 3, "failed": 0}, waiting=2)

    assert report_line(told) == (
        "3 unknown, 1,200 issued, 2 of earlier runs wait, books balance"
    )
    assert report_line(report()) == "nothing to do, books balance"
    told = report(is_balanced=False)
    assert report_line(told) == "nothing to do, BOOKS DON'T BALANCE"


def test_a_summary_shows_nothing_that_the_platform_wrote():
    """Why a badge stopped is in the home's report; words of others are no markup."""
    told = report(
        statuses={"issued": 1},
        stopped_badges={"a|b": "customer 553 is unknown"},
        told={"failed_because": {"customer 553": 1}, "revoked": 4},
    )

    shown = summary_markdown(told)

    assert "553" not in shown
    assert "* badge a\\|b stopped" in shown
    assert "| revoked | 4 |" in shown


def test_keys_of_artifacts_are_what_prefect_takes():
    """A definition's name becomes small letters, digits and dashes."""
    assert artifact_key("plan", "Grocery 2017_ä") == "plan-grocery-2017"


PROFILES = """
active = "{active}"
[profiles.ephemeral]
PREFECT_SERVER_ALLOW_EPHEMERAL_MODE = "true"
[profiles.local]
PREFECT_API_URL = "http://127.0.0.1:4200/api"
"""


@pytest.mark.parametrize(
    ("active", "environ", "expected"),
    [
        ("local", {}, True),
        ("ephemeral", {}, False),
        ("ephemeral", {"PREFECT_PROFILE": "local"}, True),
        ("local", {"PREFECT_PROFILE": "ephemeral"}, False),
        ("ephemeral", {"PREFECT_API_URL": "http://127.0.0.1:4200/api"}, True),
        ("ephemeral", {"PREFECT_HOME": "nowhere"}, False),
    ],
)
def test_a_server_counts_where_it_is_meant(
    tmp_path: Path, active: str, environ: dict[str, str], *, expected: bool
):
    """A server is configured by its address, or by the profile that is in use."""
    tmp_path.joinpath("profiles.toml").write_text(PROFILES.format(active=active))

    assert has_prefect_server({"PREFECT_HOME": str(tmp_path), **environ}) is expected
