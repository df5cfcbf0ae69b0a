"""Writes what was measured: tables, and plots of ratios and of growth.

Belongs here: `results.json`, from which everything else is made, so that measuring one
section anew leaves the others as they were. Does not belong here: measuring.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import vl_convert
from measuring import Compared, Took

HERE = Path(__file__).parent
IMAGES = HERE.parent.parent / "docs" / "images"
_DATA, _TABLES = HERE / "results.json", HERE / "results.md"
_INK, _QUIET, _GRID = "#1b2421", "#586660", "#dbe2df"
_BAR, _BAD = "#3f9282", "#b3261e"
_HEAD = (
    "| what | Retrobadge | CPU | memory "
    "| baseline | | CPU | memory | ratio | of CPU |\n"
    "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|"
)

Section = dict[str, Any]


def section(title: str, told: str) -> Section:
    """Return a section without results yet."""
    return {"title": title, "told": told, "rows": [], "facts": [], "growth": []}


def add(into: Section, one: Compared) -> None:
    """Add a comparison."""
    into["rows"].append(
        {
            "name": one.name,
            "ours": _took(one.ours),
            "against": one.against,
            "baseline": _took(one.baseline),
            "ratio": one.ratio,
            "cpu_ratio": one.cpu_ratio,
            "goal": one.goal,
        }
    )


def grown(into: Section, name: str, rows: int, took: Took) -> None:
    """Add a point of growth."""
    into["growth"].append({"name": name, "rows": rows, **_took(took)})


def once(name: str, ours: Took, baseline: Took, against: str, goal: float) -> Compared:
    """Return a comparison of two calls that were made once each."""
    return Compared(name, ours, baseline, against, goal)


def _took(took: Any) -> dict[str, float]:
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "peak_mb": took.peak_mb,
    }


def machine() -> dict[str, str]:
    """Return what the results depend on besides the code."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = ("polars", "duckdb", "pandera", "httpx", "pyarrow")
    return {
        "processor": f"{cpu[1].strip() if cpu else platform.machine()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{name} {version(name)}" for name in names]
        ),
    }


def write(measured: dict[str, Section]) -> None:
    """Put sections in the place of their last ones, and write everything anew."""
    known: dict[str, Section] = {}
    if _DATA.exists():
        known = orjson.loads(_DATA.read_bytes())
    known |= measured
    _DATA.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2) + b"\n")
    told = machine()
    parts = [
        "# Benchmarks",
        (
            "Written by `make bench`; what the figures mean is said in "
            "[docs/performance.md](../../docs/performance.md). Seconds are medians "
            "by the clock, CPU seconds are of all threads, memory is a process's peak."
        ),
        "\n".join(f"* {name}: {text}" for name, text in told.items()),
        *(tables(one) for one in known.values()),
    ]
    _TABLES.write_text("\n\n".join(parts) + "\n", "utf-8")
    _plots(known)


def tables(one: Section) -> str:
    """Return a section in Markdown."""
    parts = [f"## {one['title']}", f"{one['told']}\n\n{one['when']}"]
    if one["rows"]:
        parts.append("\n".join([_HEAD, *map(_row, one["rows"])]))
    if one["growth"]:
        lines = [
            "| what | rows | seconds | CPU | memory |",
            "|---|---:|---:|---:|---:|",
        ]
        lines += [
            f"| {point['name']} | {point['rows']:,} | {point['seconds']:.2f} | "
            f"{point['cpu_seconds']:.2f} | {point['peak_mb']:,.0f} MB |"
            for point in one["growth"]
        ]
        parts.append("\n".join(lines))
    if one["facts"]:
        parts.append("\n".join(f"* {fact}" for fact in one["facts"]))
    return "\n\n".join(parts)


def _row(row: dict[str, Any]) -> str:
    goal = f" (goal {row['goal']:g})" if row["goal"] else ""
    ours, theirs = row["ours"], row["baseline"]
    return (
        f"| {row['name']} | {_side(ours)} | {row['against']} | {_side(theirs)} | "
        f"{row['ratio']:.3g}{goal} | {row['cpu_ratio']:.3g} |"
    )


def _side(took: dict[str, float]) -> str:
    memory = f"{took['peak_mb']:,.0f} MB" if took["peak_mb"] else ""
    return f"{took['seconds']:.2f} s | {took['cpu_seconds']:.2f} s | {memory}"


def _plots(known: dict[str, Section]) -> None:
    ratios = [
        {"name": row["name"], "ratio": row["cpu_ratio"], "clock": row["ratio"]}
        | {"end": max(row["cpu_ratio"], row["ratio"])}
        for one in known.values()
        for row in one["rows"]
        if row["cpu_ratio"] > 0.02
    ]
    if ratios:
        _draw("bench-ratios", _ratios_plot(ratios))
    growth = known["growth"]["growth"] if "growth" in known else []
    if growth:
        _draw("bench-growth", _growth_plot(growth))


def _ratios_plot(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = [row["name"] for row in rows]
    y = {"field": "name", "type": "nominal", "sort": names, "title": None}
    bars = {
        "mark": {"type": "bar", "cornerRadiusEnd": 1},
        "encoding": {
            "y": {**y, "axis": {"labelLimit": 300, "ticks": False}},
            "x": {
                "field": "ratio",
                "type": "quantitative",
                "title": "over the baseline: bars CPU seconds, ticks the clock",
            },
            "color": {
                "condition": {"test": "datum.ratio > 1", "value": "#c98a12"},
                "value": _BAR,
            },
        },
    }
    line = {
        "mark": {"type": "rule", "color": _BAD, "strokeDash": [4, 3]},
        "encoding": {"x": {"datum": 1}},
    }
    words = {
        "mark": {"type": "text", "align": "left", "dx": 4, "color": _QUIET},
        "encoding": {
            "y": y,
            "x": {"field": "end", "type": "quantitative"},
            "text": {"field": "ratio", "type": "quantitative", "format": ".2f"},
        },
    }
    ticks = {
        "mark": {"type": "tick", "color": _INK, "thickness": 2},
        "encoding": {"y": y, "x": {"field": "clock", "type": "quantitative"}},
    }
    layers = [bars, ticks, line, words]
    return {"data": {"values": rows}, "width": 420, "layer": layers}


def _growth_plot(points: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {"field": "rows", "type": "quantitative", "scale": {"type": "log"}}
    color = {"field": "name", "type": "nominal", "title": None}

    def panel(name: str, title: str, scale: str) -> dict[str, Any]:
        y = {"field": name, "type": "quantitative", "title": title}
        return {
            "width": 260,
            "height": 200,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {**rows, "title": "rows", "axis": {"format": "~s"}},
                "y": {**y, "scale": {"type": scale}},
                "color": color,
            },
        }

    sides = [
        panel("cpu_seconds", "CPU seconds", "log"),
        panel("peak_mb", "peak memory, MB", "linear"),
    ]
    return {"data": {"values": points}, "hconcat": sides}


def _draw(name: str, spec: dict[str, Any]) -> None:
    axis = {"labelColor": _QUIET, "titleColor": _QUIET, "titleFontWeight": "normal"}
    config = {
        "background": "#ffffff",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {**axis, "gridColor": _GRID, "domainColor": _GRID, "tickColor": _GRID},
        "legend": {
            "labelColor": _INK,
            "orient": "bottom",
            "columns": 2,
            "columnPadding": 40,
        },
        "padding": {"left": 60, "right": 20, "top": 5, "bottom": 5},
    }
    svg = vl_convert.vegalite_to_svg({**spec, "config": config}, allowed_base_urls=[])
    IMAGES.joinpath(f"{name}.svg").write_text(svg, "utf-8")
