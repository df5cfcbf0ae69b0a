from __future__ import annotations

import re
from pathlib import Path

import typer
import typer.main

from flows.cli.main import app
from transforms.statuses import AwardStatus

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def commands() -> set[str]:
    """Return every command that can be typed."""
    group = typer.main.get_group(app)
    return set(group.commands)


def documented() -> set[str]:
    """Return the commands of the README's table."""
    section = README.split("## The command\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z]+)[^`]*` \|", section, re.MULTILINE))


def test_every_command_stands_in_the_readme_once() -> None:
    """The table of commands and the command line name the same."""
    assert documented() == commands()


def test_every_command_says_what_it_does() -> None:
    """Help is never blank."""
    group = typer.main.get_group(app)

    assert all(command.help for command in group.commands.values())


def test_every_status_is_explained_in_the_document_of_the_audit() -> None:
    """A status that people meet is one that they can look up."""
    text = (ROOT / "docs" / "audit.md").read_text("utf-8")

    assert [s for s in AwardStatus if f"| `{s}` |" not in text] == []


def test_every_local_link_leads_somewhere() -> None:
    """No document points to a file that is not there."""
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
    ]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []
