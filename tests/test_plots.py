"""The numbers behind the plots, and when there is nothing to plot."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from transforms.reports.call_times import (
    call_rate,
    latency_bins,
    most_in_a_minute,
    quantiles,
)
from transforms.reports.months import awards_by_month, every_month, odd_months
from transforms.reports.plots import MOST_BADGES, months_plot, rate_plot, statuses_plot

BEGAN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def calls(*seconds: float) -> pl.Series:
    """Return calls that began so many seconds after ten."""
    times = [BEGAN + timedelta(seconds=s) for s in seconds]
    return pl.Series(times, dtype=INSTANT)


def months(badge: str, *counts: int) -> pl.DataFrame:
    """Return a year's awards by month; months of nought are left out, as counted."""
    names = [f"2017-{n:02d}" for n in range(1, len(counts) + 1)]
    rows = [(badge, m, n) for m, n in zip(names, counts, strict=True) if n]
    return pl.DataFrame(
        rows,
        schema={"badge": pl.String, "month": pl.String, "awards": pl.Int64},
        orient="row",
    )


def test_awards_are_counted_by_local_month():
    """The earn day decides the month."""
    awards = pl.DataFrame(
        {
            "badge": ["b", "b", "a"],
            "earn_day": [date(2017, 1, 31), date(2017, 2, 1), date(2017, 1, 5)],
        }
    )

    assert awards_by_month(awards).rows() == [
        ("a", "2017-01", 1),
        ("b", "2017-01", 1),
        ("b", "2017-02", 1),
    ]


def test_months_run_over_the_turn_of_the_year():
    """Between first and last no month is missing."""
    assert every_month(["2017-02", "2016-11"]) == [
        "2016-11",
        "2016-12",
        "2017-01",
        "2017-02",
    ]
    assert every_month([]) == []


@pytest.mark.parametrize(
    ("counts", "odd"),
    [
        ((50, 52, 48, 51, 400, 50), [("2017-05", 400)]),  # twice the file
        ((50, 52, 0, 51, 49, 50), [("2017-03", 0)]),  # a file is missing
        ((5, 20, 40, 80, 120, 150), []),  # it grows
        ((2, 50, 50, 50, 50, 1), []),  # cut off at its ends
        ((1, 2, 1, 6, 1, 2), []),  # small numbers jump
        ((100, 1, 1), []),  # nothing is usual yet
    ],
)
def test_months_unlike_the_others(counts, odd):
    """What sticks out of its neighbours and of the year is named."""
    found = odd_months(months("regular", *counts))

    assert [(one.month, one.awards) for one in found] == odd


def test_an_odd_month_says_what_to_look_for():
    """A person reads what is odd, against what, and a cause to rule out."""
    (more,) = odd_months(months("regular", 50, 50, 500, 50, 50))
    (less,) = odd_months(months("regular", 50, 50, 0, 50, 50))

    assert "2017-03 has 500 awards" in str(more)
    assert "twice" in str(more)
    assert "missing" in str(less)


def test_plots_of_nothing_are_none():
    """One month, one status or too many badges are no plot."""
    one = months("regular", 5)
    many = pl.concat([months(f"b{n}", 5, 6) for n in range(MOST_BADGES + 1)])
    statuses = one.with_columns(status=pl.lit("issued"))

    assert months_plot(one) is None
    assert months_plot(many) is None
    assert months_plot(months("regular", 5, 0, 6)) is not None
    assert statuses_plot(statuses) is None


def test_the_rate_of_a_limited_run_is_in_whole_minutes():
    """With a limit a bar is a minute at least, and quiet minutes are bars of nought."""
    started = calls(*(n * 0.66 for n in range(90)), 185)
    limited = call_rate(started, has_limit=True)
    free = call_rate(started, has_limit=False)

    assert limited is not None
    assert limited.bars["per_minute"].to_list() == [90, 0, 0, 1]
    assert free is not None
    assert free.seconds < 60
    assert rate_plot(limited, limit=90)["layer"][1]["encoding"] == {"y": {"datum": 90}}
    assert len(rate_plot(limited, limit=0)["layer"]) == 1


def test_the_rate_of_a_long_run_has_few_bars():
    """A night of calls is not drawn second by second."""
    rate = call_rate(calls(*range(0, 36_000, 10)), has_limit=True)

    assert rate is not None
    assert rate.bars.height <= 121
    assert rate.bars["per_minute"].max() == 6


def test_no_rate_of_a_moment():
    """One bar says less than a sentence."""
    assert call_rate(calls(), has_limit=False) is None
    assert call_rate(calls(0.1, 0.2), has_limit=False) is None


def test_the_most_calls_of_any_minute_are_found_across_minutes():
    """The limit holds for any 60 seconds, not for those of the clock."""
    assert most_in_a_minute(calls(50, 55, 61, 70, 200)) == 4
    assert most_in_a_minute(calls()) == 0


def test_latencies_are_binned_and_slow_ones_gathered():
    """Bins have a round width; what is far off is one bar at the end."""
    bins = latency_bins(pl.Series([0.010] * 50 + [0.021] * 49 + [9.0]))

    assert bins is not None
    assert bins["calls"].sum() == 100
    assert bins["calls"][0] == 50
    assert bins.row(-1)[1:] == (None, 1)
    assert latency_bins(pl.Series([0.1])) is None
    assert latency_bins(pl.Series([0.0101, 0.0101])) is None


def test_quantiles_are_times_that_were_measured():
    """Half of the calls took no longer than the first of them."""
    assert quantiles(pl.Series([1.0, 2.0, None, 4.0]), (0.5, 1.0)) == [2.0, 4.0]
