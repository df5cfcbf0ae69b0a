"""What holds for the project as a whole: rules that a machine can keep an eye on."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
CODE = sorted((PROJECT / "flows").rglob("*.py")) + sorted(
    (PROJECT / "transforms").rglob("*.py")
)
TRANSFORMS = [path for path in CODE if path.is_relative_to(PROJECT / "transforms")]
TESTS = sorted((PROJECT / "tests").glob("*.py"))
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))

# Import contracts can't see these: they are reached through what may be imported.
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter"}
# Folders whose files are nobody's text.
SKIPPED = {
    ".git",
    ".venv",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "state",
}


def shown(path: Path) -> str:
    """Return a path as the project writes it."""
    return path.relative_to(PROJECT).as_posix()


def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text("utf-8"))


def texts() -> list[tuple[str, str]]:
    """Return name and text of every text file of the project."""
    found = []
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        for file in files:
            path = Path(folder, file)
            content = path.read_bytes()
            if path.name != ".env" and b"\0" not in content[:4096]:
                found.append((shown(path), content.decode("utf-8", "replace")))
    return found


def outside_calls(module: ast.Module) -> list[str]:
    """Return the calls by which code reads a clock or goes through a file."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    return [f"line {c.lineno}: {ast.unparse(c.func)}" for c in calls if is_outside(c)]


def is_outside(call: ast.Call) -> bool:
    """Tell whether a call reads a clock, or goes through a file."""
    match call.func:
        case ast.Name(id="open" | "input" | "print"):
            return True
        case ast.Attribute(value=ast.Name(id="pl"), attr=name):
            return name.startswith(("read_", "scan_"))
        case ast.Attribute(attr=name):
            return name in CLOCKS or name.startswith(("sink_", "write_"))
        case _:
            return False


@pytest.mark.parametrize("path", TRANSFORMS, ids=shown)
def test_transforms_touch_nothing(path):
    """A transform reads no clock, and neither opens, reads nor writes a file."""
    assert outside_calls(tree(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "datetime.now(tz=UTC)",
        "date.today()",
        "open('a.csv')",
        "pl.read_csv('a.csv')",
        "pl.scan_parquet('a.parquet').select('b')",
        "frame.lazy().sink_parquet('a.parquet')",
        "frame.write_csv()",
    ],
)
def test_outside_calls_are_seen(line):
    """The rule for transforms sees what it is there for."""
    assert outside_calls(ast.parse(line)) != []


@pytest.mark.parametrize("path", CODE, ids=shown)
def test_module_says_what_belongs_in_it(path):
    """Every module that holds code opens with a docstring."""
    module = tree(path)

    assert not module.body or ast.get_docstring(module)


def test_no_module_without_a_subject():
    """No module is a drawer for what found no other place."""
    drawers = {"common", "constants", "helpers", "misc", "models", "types", "utils"}

    assert [shown(path) for path in CODE if path.stem in drawers] == []


def test_every_test_says_what_should_happen():
    """Every test has a docstring: whole sentences on what should happen."""
    silent = [
        f"{path.name}: {node.name}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").strip().endswith(".")
    ]

    assert silent == []


def test_tests_neither_patch_nor_sleep():
    """No test patches what it tests, and none waits for time to pass."""
    found = []
    for path in TESTS:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.arg) and node.arg == "monkeypatch":
                found.append(f"{path.name}: monkeypatch (line {node.lineno})")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                found.append(f"{path.name}: time.sleep (line {node.lineno})")

    assert found == []


def test_no_paths_of_a_machine():
    """No file of the project names a folder that only some machine has."""
    machine = re.compile(
        r"(?<![\w.~}])(/(home|root|work|Users)/[\w.]|[A-Z]:\\\\?Users)"
    )
    found = [
        f"{name}: {match.group()}"
        for name, text in texts()
        for match in machine.finditer(text)
    ]

    assert found == []


def test_lock_names_no_hosts():
    """The lock pins versions and hashes, and leaves open where they come from."""
    lock = (PROJECT / "requirements.lock").read_text("utf-8")

    assert "://" not in lock
    assert "--hash=sha256:" in lock


def test_lock_holds_every_dependency():
    """Every dependency that pyproject names is pinned in the lock."""
    groups = PYPROJECT["dependency-groups"]
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *(line for group in groups.values() for line in group),
    ]
    pinned = set(
        re.findall(
            r"^([\w.-]+)==",
            (PROJECT / "requirements.lock").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    names = {re.match(r"[\w.-]+", line).group().lower() for line in wanted}

    assert names - pinned == set()


def test_every_folder_of_code_is_installed():
    """A folder without `__init__.py` would not be installed."""
    folders = {path.parent for path in CODE}

    assert [shown(one) for one in folders if not (one / "__init__.py").exists()] == []


def test_make_targets_are_explained():
    """Every target that can be asked for is listed by `make`, with one comment."""
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    asked = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    told = re.findall(r"^([a-z-]+):[^=\n]*## \S", makefile, re.MULTILINE)

    assert sorted(told) == sorted(asked)
    assert {"setup", "demo", "test", "check", "bench"} <= set(told)


def test_continuous_integration_uses_the_one_door():
    """What continuous integration runs is `make check`, and it can be run."""
    path = PROJECT / ".ci" / "run"

    assert os.access(path, os.X_OK)
    assert " make check " in path.read_text("utf-8")


def test_changelog_knows_the_version():
    """The version of the project has an entry in the changelog."""
    changelog = (PROJECT / "CHANGELOG.md").read_text("utf-8")

    assert f"## [{PYPROJECT['project']['version']}]" in changelog
