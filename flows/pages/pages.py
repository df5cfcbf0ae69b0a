"""Makes pages for people: one HTML file each that needs nothing else.

Belongs here: rendering the templates of `flows/templates`, setting plots into a page,
and writing a file for its owner alone. Does not belong here: what a page says
(`run_page`, `plan_page`), what a plot shows (`transforms.reports.plots`), and drawing
it (`drawing`).

Every value that gets into a page is escaped; no page runs a script or loads anything,
which its Content-Security-Policy says to the browser too.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from flows.home import open_private
from flows.pages.drawing import DRAWING
from transforms.reports.plots import Spec

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).with_name("templates")


def page(template: str, *, timezone: str, **values: Any) -> str:
    """Return a page; instants in it are shown in `timezone`."""
    found = _environment().get_template(template)
    return found.render(timezone=timezone, zone=ZoneInfo(timezone), **values)


def write_page(path: Path, text: str) -> None:
    """Write a page under its name, whole or not at all, mode 0600."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8", opener=open_private) as file:
        file.write(text)
    draft.replace(path)


def plot(spec: Spec | None, title: str) -> Markup | None:
    """Return a plot as SVG to be set into a page; None of nothing to plot."""
    return begun_plot(spec, title)()


def begun_plot(spec: Spec | None, title: str) -> Callable[[], Markup | None]:
    """Have a plot drawn beside what goes on; return what waits for it, see `plot`."""
    if spec is None:
        return lambda: None
    drawn = DRAWING.begun(spec)
    return lambda: _set_in(drawn.result(), title)


def _set_in(svg: str, title: str) -> Markup:
    # Several plots stand on one page, and all number their parts from nought.
    name = sha256(title.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|\burl\(#)', rf"\g<1>{name}-", svg)
    label = Markup('<svg role="img" aria-label="{}" ').format(title)
    # The picture is made here, of texts that Vega escapes.
    return label + Markup(svg.removeprefix("<svg "))  # noqa: S704


def start_plotting() -> None:
    """Let the plot library start beside whatever goes on: it takes half a second."""
    DRAWING.start()


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415  while a plot is drawn there is time for it

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": _count,
        "number": _number,
        "instant": _instant,
        "share": _share,
        "span": _span,
        "shown": _shown,
        "words": _words,
    }
    return made


def _visible(value: Any) -> Any:
    """Spell out what no page should hold: controls, and changes of direction."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    if not is_text or value.isprintable():
        return value
    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" else _spelt(c)
        for c in value
    )


def _spelt(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    """Return a measure: whole if it is whole, else with the digits it has."""
    if value is None:
        return ""
    return f"{int(value):,}" if value == int(value) else f"{value:,.2f}"


def _instant(value: datetime | None, zone: ZoneInfo | None = None) -> str:
    if value is None:
        return ""
    return f"{value.astimezone(zone or UTC):%Y-%m-%d %H:%M:%S}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _span(seconds: float | None) -> str:
    """Return a length of time as people say it."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _shown(value: Any) -> str:
    """Return any value of a table; control characters do nothing in HTML."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _words(text: str) -> Markup:
    """Return a text in which `names` stand as code; all of it escaped first."""
    parts = [Markup.escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # a lone mark names nothing
        return Markup("`").join(parts)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else part
        for at, part in enumerate(parts)
    )
