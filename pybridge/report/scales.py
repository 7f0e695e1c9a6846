# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a chart's axes begin and end, and which of their values have a label."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, takewhile

import numpy as np
import pandas as pd

from pybridge.text import amount, nanoseconds_text

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

MINUTE, HOUR, DAY = 60, 3600, 86_400

STEPS = (
    *(number * unit for unit in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1) for number in (1, 2, 5)),
    *(10, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY, 182 * DAY),
    *(number * 365 * DAY for number in (1, 2, 5, 10, 20, 50, 100)),
)
"""Seconds between two labels, or of a bar: numbers that people count in."""

BARS = 40
"""Bars over time at most."""

LABELS = 5
"""Distances between labels on an axis at most; four for dates, which are longer."""


@dataclass(frozen=True)
class TimeAxis:
    """An axis of seconds since the first segment; from a day on its labels are dates.

    Attributes
    ----------
    end : float
        The last time of the capture, where the axis ends.
    begin : pandas.Timestamp or None
        The time of 0; None if it is not the same for all.
    """

    end: float
    begin: pd.Timestamp | None

    @property
    def has_dates(self) -> bool:
        """Whether labels are dates in UTC."""
        return self.begin is not None and self.end >= DAY

    def ticks(self) -> list[tuple[float, str]]:
        """Return the labelled times: two or more, none after the end."""
        for most in count(LABELS - 1 if self.has_dates else LABELS):
            times = [seconds for seconds in self._multiples(_step(self.end, most)) if seconds >= 0]
            if len(times) > 1:
                break
        return [(seconds, self.label(seconds)) for seconds in times]

    def edges(self) -> Numbers:
        """Return the limits of the bars; the last is just after the end."""
        first, *others = self._multiples(_step(self.end, BARS))
        return np.array([first, *(edge for edge in others if edge < self.end), np.nextafter(self.end, math.inf)])

    def label(self, seconds: float) -> str:
        """Return a time as text: a date, or the time since the first segment."""
        if self.begin is None or not self.has_dates:
            return short(seconds)
        moment = (self.begin + pd.Timedelta(seconds, "s")).round("s")
        if self.end >= 300 * DAY:
            return f"{moment:%Y-%m-%d}"
        return f"{moment:%m-%d}" if moment == moment.normalize() else f"{moment:%m-%d %H:%M}"

    def _multiples(self, step: float) -> Iterator[float]:
        """Yield multiples of a step up to the end: from 0, or from the last one before the begin in UTC."""
        since = -(self.begin.timestamp() % step) if self.begin is not None and self.has_dates else 0.0
        last = self.end * (1 + 1e-12)  # three times 50 µs are a little more than 150 µs
        times = takewhile(lambda seconds: seconds <= last, (since + number * step for number in count()))
        return (min(seconds, self.end) for seconds in times)


def logarithmic_ends(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a logarithmic axis around two values: two different ones of 1, 2, 5, 10, 20, 50 and so on."""
    begin = max(value for value in _round_values(low) if value <= low)
    return begin, min(value for value in _round_values(high) if value >= high and value > begin)


def logarithmic_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return the labelled values between the ends of a logarithmic axis that `logarithmic_ends` gave: two or more."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    every = [value for exponent in exponents for value in _decade(exponent) if low <= value <= high]
    if len(every) > LABELS + 1:
        powers = [value for value in (float(f"1e{exponent}") for exponent in exponents) if low <= value <= high]
        every = powers[:: -(-len(powers) // LABELS)] if len(powers) > 1 else [every[0], every[-1]]
    return [(value, short(value)) for value in every]


def counting_ticks(most: int) -> list[tuple[float, str]]:
    """Return the labelled numbers of an axis of counts from 0 to `most`."""
    step = next(int(step) for exponent in count() for step in _decade(exponent) if most / step <= LABELS - 1)
    return [(number, amount(number)) for number in range(0, most + 1, step)]


def short(seconds: float) -> str:
    """Return a duration without zeros at its end: ``1.2 s``, ``5 min``."""
    text = nanoseconds_text(round(seconds * 1e9))
    return re.sub(r"\.0+(?= )|(\.\d*?)0+(?= )|(?<=min) 0 s|(?<=h) 0 min|(?<=d) 0 h", r"\1", text)


def _step(span: float, most: int) -> float:
    return next((step for step in STEPS if span / step <= most), span)


def _decade(exponent: int) -> Iterator[float]:
    return (float(f"{number}e{exponent}") for number in (1, 2, 5))


def _round_values(near: float) -> list[float]:
    exponent = math.floor(math.log10(near))
    return [value for shift in (-1, 0, 1) for value in _decade(exponent + shift)]
