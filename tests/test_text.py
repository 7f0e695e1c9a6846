# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - texts have dashes
"""Durations, amounts, endpoints and untrusted text as words for people."""

from __future__ import annotations

import pandas as pd
import pytest

from pybridge.text import amount, duration_text, endpoint, one_of, printable


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 s"), (500, "500 ns"), (12_345, "12.3 µs"), (32_000, "32 µs"), (-5_000, "−5 µs"), (999_600, "1.00 ms"),
     (12_345_678, "12.3 ms"), (9_996_000_000, "10.0 s"),  (59_600_000_000, "1 min 0 s"), (-1_500_000, "−1.50 ms"),
     (3_725_000_000_000, "1 h 2 min"), (200_000_000_000_000, "2 d 7 h")],
)  # fmt: skip
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration_text(pd.Timedelta(nanoseconds, "ns")) == text


def test_missing_duration() -> None:
    assert duration_text(None) == duration_text(pd.NaT) == "–"  # type: ignore[arg-type]


def test_endpoint_printable_and_amount() -> None:
    assert endpoint("::1", 80) == "[::1]:80"
    assert printable("a\x1b[31m\u2066b\tc\udcff größer\u2003→") == r"a\x1b[31m\u2066b\tc\udcff" + " größer\u2003→"
    assert [amount(number, "packet") for number in (0, 1, 1234)] == ["0 packets", "1 packet", "1,234 packets"]
    assert amount(1234) == "1,234"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "{3}"), ([3, 4], "{3, 4}"), ([3, 4, 5, 7, 9, 10, 11, 12], "{3..5, 7, 9..12}"), ([5, 4, 3], "{5, 4, 3}")],
)
def test_a_display_filter_names_numbers_that_follow_each_other_as_a_range(numbers: list[int], text: str) -> None:
    assert one_of("tcp.stream", numbers) == f"tcp.stream in {text}"
