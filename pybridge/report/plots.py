# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots of a capture for notebooks, on axes of matplotlib that the caller can change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator

from pybridge.report.drawing import COLOURS
from pybridge.report.scales import short
from pybridge.tables import frames
from pybridge.tcp.vocabulary import FAILED, OPENED, STILL_WAITING

BINS = 40

_TIMES = ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%H:%M:%S.%f"]
"""How a time is written on an axis of years, months, days, hours, minutes, and seconds."""

_STARTS = ["%Y", "%Y-%m", "%m-%d", "%m-%d", "%H:%M", "%H:%M:%S.%f"]
"""The same for a time at which a year, month, day, hour or minute begins: midnight as a date."""

_DATES = ["", "", "%Y", "%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d"]
"""What stands at the end of such an axis."""


class Plots:
    """Plots of the connections of a capture. Each method draws on `ax`, or on new axes, and returns the axes.

    Parameters
    ----------
    connections : pandas.DataFrame
        The table `connections`.
    """

    def __init__(self, connections: pd.DataFrame) -> None:
        self._connections = connections
        outcome = frames.outcomes(connections)
        self._outcome = outcome.where(~outcome.isin(OPENED), "opened")

    def handshake_times(self, ax: Axes | None = None, *, bins: int = BINS) -> Axes:
        """Draw how many handshakes took how long, on a logarithmic axis, with median and 95th percentile."""
        ax = _axes(ax)
        times = _seconds(self._connections["handshake_time"]).dropna()
        times = times[times > 0]
        ax.set(title="Handshake times", ylabel="connections")
        _time_axis(ax, "x")
        if times.empty:
            return _without_data(ax, "no handshake was captured whole")
        edges = np.geomspace(float(times.min()) / 1.05, float(times.max()) * 1.05, bins + 1).tolist()
        ax.hist(times, edges, color=COLOURS["client"])
        for share, name, style in ((0.5, "median", "-"), (0.95, "95 %", "--")):
            value = float(times.quantile(share))
            label = f"{name}: {EngFormatter('s', places=1)(value)}"
            ax.axvline(value, color="black", linewidth=1, linestyle=style, label=label)
        ax.set_xscale("log")
        _time_axis(ax, "x")
        ax.legend()
        return ax

    def outcomes(self, ax: Axes | None = None, *, bins: int = BINS) -> Axes:
        """Draw how many connections began when, stacked by outcome: opened, or how they failed."""
        ax = _axes(ax)
        ax.set(title="Outcomes over time", ylabel="connections")
        _start_axis(ax)
        found = self._outcome.unique()
        kinds = [kind for kind in ("opened", *FAILED, STILL_WAITING, "not-captured") if kind in found]
        if not kinds:
            return _without_data(ax, "there is no connection")
        starts = [self._connections.loc[self._outcome == kind, "start"].dt.tz_localize(None) for kind in kinds]
        ax.hist([each.to_numpy() for each in starts], bins, stacked=True, color=[COLOURS[kind] for kind in kinds], label=kinds)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        span = self._connections["start"].max() - self._connections["start"].min()
        if span:
            ax.set_ylabel(f"connections per {short(float(f'{span.total_seconds() / bins:.2g}'))}")
        ax.legend()
        return ax

    def waiting(self, ax: Axes | None = None) -> Axes:
        """Draw how long each opening waited: until it opened, or, if it failed, until its last segment."""
        ax = _axes(ax)
        rows = self._connections.assign(outcome=self._outcome)
        rows = rows[rows["outcome"] != "not-captured"]
        waited = _seconds(rows["handshake_time"].where(rows["outcome"] == "opened", rows["duration"]))
        shown = waited.notna() & (waited > 0)
        ax.set(title="Waiting for an answer")
        _start_axis(ax)
        _time_axis(ax, "y")
        if not shown.any():
            return _without_data(ax, "no opening was captured whole")
        for kind in ("opened", *FAILED, STILL_WAITING):
            here = shown & (rows["outcome"] == kind)
            if here.any():
                start = rows.loc[here, "start"].dt.tz_localize(None).to_numpy()
                marker = "." if kind == "opened" else "x"
                ax.plot(start, waited[here].to_numpy(), marker, color=COLOURS[kind], label=kind)
        ax.set_yscale("log")
        _time_axis(ax, "y")
        ax.legend()
        return ax


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(8, 3.5), layout="constrained")[1] if ax is None else ax


def _seconds(durations: pd.Series[Any]) -> pd.Series[Any]:
    seconds: pd.Series[Any] = durations.dt.total_seconds()
    return seconds


class _SecondsFormatter(LogFormatter):
    """Label the values of a logarithmic axis that matplotlib would label: `2 ms`, not `2 x 10^-3`."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return EngFormatter("s")(x) if super().__call__(x, pos) else ""


def _time_axis(ax: Axes, which: str) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(EngFormatter("s"))
    axis.set_minor_formatter(_SecondsFormatter())
    axis.set_label_text("seconds")


def _start_axis(ax: Axes) -> None:
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(locator, formats=_TIMES, zero_formats=_STARTS, offset_formats=_DATES)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(formatter)
    ax.set_xlabel("start (UTC)")


def _without_data(ax: Axes, reason: str) -> Axes:
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes)
    return ax
