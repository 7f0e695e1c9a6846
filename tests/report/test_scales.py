# SPDX-License-Identifier: GPL-2.0-or-later
"""Axes fit the data, and their labels can be read."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybridge.report.drawing import LEFT, LETTER, RIGHT
from pybridge.report.scales import DAY, TimeAxis, counting_ticks, logarithmic_ends, logarithmic_ticks, short

BEGIN = pd.Timestamp("2026-11-26 22:55:00.123456", tz="UTC")


def labels(end: float, begin: pd.Timestamp | None = BEGIN) -> list[str]:
    return [label for _, label in TimeAxis(end, begin).ticks()]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (150e-6, ["0 s", "50 µs", "100 µs", "150 µs"]),
        (0.03, ["0 s", "10 ms", "20 ms", "30 ms"]),
        (1.61, ["0 s", "500 ms", "1 s", "1.5 s"]),
        (61, ["0 s", "15 s", "30 s", "45 s", "1 min"]),
        (5 * 3600, ["0 s", "1 h", "2 h", "3 h", "4 h", "5 h"]),
        (1.5 * DAY, ["11-27", "11-27 12:00", "11-28"]),
        (9 * DAY, ["11-27", "11-29", "12-01", "12-03", "12-05"]),
    ],
)
def test_labels_of_time_fit_the_capture(end: float, expected: list[str]) -> None:
    assert labels(end) == expected


def test_years_have_their_number() -> None:
    assert all(len(label) == len("2026-11-26") for label in labels(800 * DAY))


def test_times_that_have_no_common_beginning_have_no_dates() -> None:
    assert labels(3 * DAY, None)[-1] == "3 d"


@given(st.floats(2e-9, 1e9))
def test_two_labels_or_more_none_after_the_end_and_with_room_between(end: float) -> None:
    axis = TimeAxis(end, BEGIN)
    ticks = axis.ticks()
    assert len(ticks) >= 2
    assert all(0 <= seconds <= end for seconds, _ in ticks)
    places = [LEFT + (RIGHT - LEFT) * seconds / end for seconds, _ in ticks]
    widths = [LETTER * len(label) for _, label in ticks]
    for (place, width), (place_after, width_after) in pairwise(zip(places, widths, strict=True)):
        assert place_after - place > 0.9 * (width + width_after) / 2


@given(st.floats(1e-9, 1e9))
def test_bars_cover_the_capture_and_end_with_it(end: float) -> None:
    for begin in (BEGIN, None):
        edges = TimeAxis(end, begin).edges()
        assert edges[0] <= 0
        assert edges[-2] < end < edges[-1]
        assert (edges[1:] > edges[:-1]).all()
        assert len(edges) <= 44


@given(st.floats(1e-9, 1e6), st.floats(1, 1e6))
def test_a_logarithmic_axis_has_two_labels_or_more(low: float, factor: float) -> None:
    high = low * factor
    begin, end = logarithmic_ends(low, high)
    assert begin <= low <= high <= end
    ticks = logarithmic_ticks(begin, end)
    assert 2 <= len(ticks) <= 6
    assert all(begin <= value <= end for value, _ in ticks)


@given(st.integers(1, 10**7))
def test_counts_have_whole_numbers(most: int) -> None:
    ticks = counting_ticks(most)
    assert 2 <= len(ticks) <= 6
    assert ticks[-1][0] <= most


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1.2, "1.2 s"),
        (10, "10 s"),
        (0.1, "100 ms"),
        (5e-5, "50 µs"),
        (300, "5 min"),
        (7200, "2 h"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations_on_axes_are_short(seconds: float, text: str) -> None:
    assert short(seconds) == text
