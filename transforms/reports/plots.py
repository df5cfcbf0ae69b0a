"""Draws plots as Vega-Lite specifications: what is plotted, not a pixel of it.

Belongs here: marks, axes and colours. Does not belong here: the numbers (`months`,
`call_times`), and turning a specification into a picture (`flows.pages.pages`).

Colours are names of CSS variables, which the page defines for light, dark and paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transforms.reports.months import every_month
from transforms.statuses import AwardStatus

if TYPE_CHECKING:
    import polars as pl

    from transforms.reports.call_times import CallRate

Spec = dict[str, Any]

_WIDTH = 760
_INK, _QUIET, _GRID = "var(--ink)", "var(--quiet)", "var(--line)"
_BAR, _LIMIT = "var(--bar)", "var(--bad)"
# More rows of bars than these are a table's business.
MOST_BADGES = 30
_NAMED_BARS = 24
# A month's name, and below it the year where it begins.
_MONTH_NAME = (
    "[timeFormat(datetime(2000, toNumber(slice(datum.label, 5)) - 1), '%b'), "
    "slice(datum.label, 5) == '01' || datum.index == 0 ? slice(datum.label, 0, 4) : '']"
)
_SIZE = 11


def months_plot(by_month: pl.DataFrame) -> Spec | None:
    """Return a row of bars per badge; None where there is one month, or no room.

    `by_month`: badge, month, awards. Each row has a scale of its own: what is compared
    is a badge's months, not badges.
    """
    months = every_month(by_month["month"].to_list())
    badges = sorted(set(by_month["badge"].to_list()))
    if len(months) < 2 or len(badges) > MOST_BADGES:
        return None
    known = by_month.select("badge", "month", "awards").iter_rows()
    counts = {(badge, month): awards for badge, month, awards in known}
    rows = [
        {"badge": badge, "month": month, "awards": counts.get((badge, month), 0)}
        for badge in badges
        for month in months
    ]
    is_named = len(months) <= _NAMED_BARS
    names = [month for month in months if _is_labelled(month, len(months))]
    axis = {
        "title": None,
        "values": names,
        "labelAngle": 0,
        "ticks": False,
        "labelExpr": _MONTH_NAME,
    }
    height = {"title": None, "tickCount": 2, "domain": False}
    bars = {
        "mark": {"type": "bar", "color": _BAR, "cornerRadiusEnd": 1},
        "encoding": {
            "x": {"field": "month", "type": "ordinal", "sort": months, "axis": axis},
            "y": {
                "field": "awards",
                "type": "quantitative",
                # Where every bar has its number, an axis would say it twice.
                "axis": None if is_named else height,
            },
        },
    }
    told = {
        "mark": {"type": "text", "dy": -4, "fontSize": 9, "color": _QUIET},
        "encoding": {
            "x": {"field": "month", "type": "ordinal", "sort": months},
            "y": {"field": "awards", "type": "quantitative"},
            "text": {"field": "awards", "type": "quantitative", "format": ",d"},
        },
        "transform": [{"filter": "datum.awards > 0"}],
    }
    layer = [bars, told] if is_named else [bars]
    header = {
        "title": None,
        "labelAngle": 0,
        "labelAlign": "left",
        "labelOrient": "left",
        "labelPadding": 10,
        "labelLimit": 150,
        "labelColor": _INK,
        "labelFontSize": _SIZE,
    }
    return _framed(
        {
            "data": {"values": rows},
            "facet": {"row": {"field": "badge", "type": "nominal", "header": header}},
            "spec": {"width": _WIDTH - 150, "height": 40, "layer": layer},
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 12,
        }
    )


def _is_labelled(month: str, count: int) -> bool:
    """Tell whether there is room for the name of this month."""
    of_year = int(month[-2:])
    every = 1 if count <= 12 else 3 if count <= 36 else 12
    return (of_year - 1) % every == 0


def statuses_plot(counts: pl.DataFrame) -> Spec | None:
    """Return a bar per badge, parted by status; None where all have the same one.

    `counts`: badge, status, awards.
    """
    found = set(counts["status"].to_list())
    badges = sorted(set(counts["badge"].to_list()))
    if len(found) < 2 or len(badges) > MOST_BADGES:
        return None
    statuses = [str(status) for status in AwardStatus if status in found]
    order = {status: at for at, status in enumerate(statuses)}
    rows = [
        {"badge": badge, "status": status, "awards": n, "place": order[status]}
        for badge, status, n in counts.select("badge", "status", "awards").iter_rows()
        if status in order
    ]
    colours = [f"var(--{status.replace('_', '-')})" for status in statuses]
    return _framed(
        {
            "data": {"values": rows},
            "width": _WIDTH - 150,
            "height": {"step": 22},
            "mark": {"type": "bar", "height": 14},
            "encoding": {
                "y": {
                    "field": "badge",
                    "type": "nominal",
                    "sort": badges,
                    "axis": {"title": None, "labelLimit": 150, "ticks": False},
                },
                "x": {
                    "field": "awards",
                    "type": "quantitative",
                    "axis": {"title": "awards", "tickCount": 6, "format": ",d"},
                },
                "color": {
                    "field": "status",
                    "type": "nominal",
                    "scale": {"domain": statuses, "range": colours},
                    "legend": {"title": None, "orient": "top"},
                },
                "order": {"field": "place", "type": "quantitative"},
            },
        }
    )


def rate_plot(rate: CallRate, *, limit: int) -> Spec:
    """Return calls per minute over time, with the limit if there is one (0: none)."""
    rows = [
        {"at": began_at.isoformat(), "calls": per_minute}
        for began_at, per_minute in rate.bars.iter_rows()
    ]
    is_short = rate.seconds < 60
    axis = {
        "title": "time of day, UTC",
        "format": "%H:%M:%S" if is_short else "%H:%M",
        "grid": False,
        "tickCount": 8,
        "labelOverlap": True,
    }
    layers: list[Spec] = [
        {
            "mark": {
                "type": "area",
                "color": _BAR,
                "opacity": 0.85,
                "interpolate": "step-after",
            },
            "encoding": {
                "x": {
                    "field": "at",
                    "type": "temporal",
                    "scale": {"type": "utc"},
                    "axis": axis,
                },
                "y": {
                    "field": "calls",
                    "type": "quantitative",
                    "axis": {"title": "calls per minute", "tickCount": 4},
                },
            },
        }
    ]
    if limit:
        rule = {"type": "rule", "color": _LIMIT, "strokeDash": [5, 3], "size": 1.5}
        word = {"type": "text", "align": "left", "dx": 4, "dy": -6, "color": _LIMIT}
        height = {"datum": limit}
        text = {"value": f"limit {limit:,}"}
        layers += [
            {"mark": rule, "encoding": {"y": height}},
            {
                "mark": word,
                "encoding": {"y": height, "x": {"value": 0}, "text": text},
            },
        ]
    return _framed(
        {
            "data": {"values": rows},
            "width": _WIDTH - 60,
            "height": 150,
            "layer": layers,
        }
    )


def latency_plot(bins: pl.DataFrame) -> Spec:
    """Return how many calls took how long; `bins` as of `call_times.latency_bins`."""
    names = [_bin_name(*ends) for ends in bins.select("from_ms", "to_ms").iter_rows()]
    rows = [
        {"took": name, "calls": calls}
        for name, calls in zip(names, bins["calls"].to_list(), strict=True)
    ]
    step = max(1, len(names) // 10)
    shown = [name for at, name in enumerate(names) if at % step == 0]
    if bins["to_ms"].is_null().any() and names[-1] not in shown:
        shown = [*shown[: -1 if len(names) - names.index(shown[-1]) < 3 else None]]
        shown.append(names[-1])
    axis = {"title": "milliseconds", "values": shown, "labelAngle": 0, "ticks": False}
    return _framed(
        {
            "data": {"values": rows},
            "width": _WIDTH - 60,
            "height": 120,
            "mark": {"type": "bar", "color": _BAR, "cornerRadiusEnd": 1},
            "encoding": {
                "x": {"field": "took", "type": "ordinal", "sort": names, "axis": axis},
                "y": {
                    "field": "calls",
                    "type": "quantitative",
                    "axis": {"title": "calls", "tickCount": 4},
                },
            },
        }
    )


def _bin_name(from_ms: int, to_ms: int | None) -> str:
    return f"{from_ms:,}+" if to_ms is None else f"{from_ms:,}"


def _framed(spec: Spec) -> Spec:
    """Return a specification in the dress that all plots wear."""
    axis = {
        "labelColor": _QUIET,
        "titleColor": _QUIET,
        "titleFontWeight": "normal",
        "labelFontSize": _SIZE,
        "titleFontSize": _SIZE,
        "gridColor": _GRID,
        "domainColor": _GRID,
        "tickColor": _GRID,
    }
    legend = {"labelColor": _INK, "labelFontSize": _SIZE, "symbolType": "square"}
    config = {
        "background": None,
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False},
        "legend": legend,
    }
    return {**spec, "config": config}
