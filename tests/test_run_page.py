from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import orjson
import polars as pl
import pytest
from factories_imports import DEFINITION, brand, visits

from flows.pages.pages import page, plot
from flows.pages.run_page import run_page
from flows.platform.capillary import utc_now
from transforms.errors import Refused
from transforms.reports.plots import months_plot, statuses_plot

HOSTILE = '<script>alert("x")</script>'


class Fetched(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        """Look at one element."""
        if tag in {"script", "link", "iframe", "img", "object", "embed"}:
            self.found.append(tag)
        for name, value in attrs:
            is_local = (value or "").startswith("#")
            if name in {"src", "href", "xlink:href", "action"} and not is_local:
                self.found.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.found.append(f"{tag} {name}")


def fetched(text: str) -> list[str]:
    """Return what a browser would fetch or run for a page."""
    parser = Fetched()
    parser.feed(text)
    return parser.found


def test_every_run_leaves_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    """The report of a run stands in the home, private, and loads or runs nothing."""
    with brand(tmp_path) as shop:
        shop.define(f"description = '{HOSTILE}'{DEFINITION}")
        shop.write(may=visits(range(1, 9)), july=visits([9], bill="c", day=28))
        report = shop.run()
        assert report.page is not None
        text = report.page.read_text("utf-8")

        assert report.page.parent == shop.home.reports
        assert report.page.stat().st_mode & 0o077 == 0
        assert fetched(text) == []
        assert set(re.findall(r"url\((.)", text)) <= {"#"}
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text
        assert "✓ balanced" in text
        assert "✗ not balanced" not in text
        assert report.as_json()["report"] == str(report.page)


def test_what_did_not_arrive_is_told_in_words(tmp_path: Path) -> None:
    """A refused customer stands there with the code's meaning and what to do."""
    with brand(tmp_path) as shop:
        shop.sandbox.fault(
            "customer_error", times=None, customers=(5,), code=816, message=HOSTILE
        )
        shop.write(may=visits([4, 5]) + "x,b9,2017-05-01T08:00:00,1.00\n")
        shop.define(f"{DEFINITION}\n[quality]\nmax_rejected_share = 0.5\n")
        report = shop.run()
        text = report.page.read_text("utf-8")

        assert report.exit_status == 3
        assert "outside the badge" in text
        assert "1 awards are failed" in text
        assert HOSTILE not in text
        assert "customer_id: " in text  # the rejected row's reason
        assert "may.csv:6" in text


def test_a_report_that_can_not_be_written_fails_no_run(tmp_path: Path) -> None:
    """Where reports should lie lies a file: the run is finished all the same."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.home.reports.rmdir()
        shop.home.reports.write_text("")
        report = shop.run()

        assert report.exit_status == 0
        assert report.page is None
        assert shop.statuses() == {"issued": 1}


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    """A page is made of what the audit knows, and of nothing else."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1]))
        shop.run()
        with pytest.raises(Refused, match="retrobadge runs"):
            run_page(shop.home.audit, "20200101T000000-abcdef", utc_now())


def test_the_command_finds_runs_and_plans(tmp_path: Path) -> None:
    """`report` takes a run, a plan or nothing, and prints where it wrote the page."""
    with brand(tmp_path) as shop:
        shop.write(may=visits([1, 2]))
        none = shop.command("report")
        plan = orjson.loads(shop.command("plan", str(shop.definition), "--json").stdout)
        of_plan = shop.command("report", plan["plan_id"])
        run_id = shop.run().run_id
        chosen = tmp_path / "mine.html"
        of_run = shop.command("report", "latest", "--output", str(chosen))

        assert none.returncode == 1
        assert "retrobadge plan" in none.stderr
        assert Path(of_plan.stdout.strip()).name == f"{plan['plan_id']}.html"
        assert plan["plan_id"] in Path(of_plan.stdout.strip()).read_text("utf-8")
        assert of_run.stdout.strip() == str(chosen)
        assert str(run_id) in chosen.read_text("utf-8")


def test_a_plot_escapes_names_and_has_no_colours_of_its_own() -> None:
    """Names get into the picture as text; light and dark are the page's business."""
    counts = pl.DataFrame(
        {
            "badge": [HOSTILE, HOSTILE],
            "month": ["2017-01", "2017-03"],
            "status": ["issued", "failed"],
            "awards": [3, 4],
        }
    )
    for spec in (months_plot(counts), statuses_plot(counts)):
        svg = str(plot(spec, HOSTILE))
        assert "<script" not in svg
        assert fetched(svg) == []
        drawn = set(re.findall(r'(?:fill|stroke)="(?!none|transparent)([^"]+)"', svg))
        assert {colour for colour in drawn if not colour.startswith("var(")} <= {"#000"}


def test_pages_escape_what_they_are_given() -> None:
    """A value that a template does not know of can't be forgotten silently."""
    with pytest.raises(Exception, match="undefined"):
        page("plan.html", timezone="UTC")
