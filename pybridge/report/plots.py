# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots of a capture for notebooks, on axes of matplotlib that the caller can change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter

from pybridge.report.drawing import COLOURS, NEUTRAL
from pybridge.tables import frames
from pybridge.tcp.vocabulary import FAILED, OPENED, STILL_WAITING

BINS = 40

ALONE = pd.Timedelta("1s")
"""What is shown before and after the start of a single connection."""


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
        low, high = float(times.min()), float(times.max())
        ax.hist(times, np.geomspace(low / 1.05, high * 1.05, bins + 1).tolist(), color=NEUTRAL)
        for share, name, style in ((0.5, "median", "-"), (0.95, "95 %", "--")):
            value = float(times.quantile(share))
            label = f"{name}: {EngFormatter('s', places=1)(value)}"
            ax.axvline(value, color="black", linewidth=1, linestyle=style, label=label)
        ax.set_xscale("log")
        if high < 10 * low:  # then two powers of ten have a label all the same
            power = math.floor(math.log10(low))
            ax.set_xlim(10.0**power, 10.0 ** max(math.ceil(math.log10(high)), power + 1))
        _time_axis(ax, "x")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(ax)
        return ax

    def outcomes(self, ax: Axes | None = None, *, bins: int = BINS) -> Axes:
        """Draw how many connections began when, stacked by outcome: opened, or how they failed."""
        ax = _axes(ax)
        ax.set(title="Outcomes over time", ylabel="connections")
        found = self._outcome.unique()
        kinds = [kind for kind in ("opened", *FAILED, STILL_WAITING, "not-captured") if kind in found]
        if not kinds:
            return _without_data(ax, "there is no connection")
        starts = [self._connections.loc[self._outcome == kind, "start"].dt.tz_localize(None) for kind in kinds]
        edges = pd.date_range(*_span(self._connections["start"]), periods=bins + 1).to_numpy()
        ax.hist([each.to_numpy() for each in starts], edges, stacked=True, color=[COLOURS[kind] for kind in kinds], label=kinds)  # type: ignore[arg-type]
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        _start_axis(ax, self._connections["start"])
        _legend(ax)
        return ax

    def waiting(self, ax: Axes | None = None) -> Axes:
        """Draw how long each opening waited: until it opened, or, if it failed, until its last segment."""
        ax = _axes(ax)
        rows = self._connections.assign(outcome=self._outcome)
        rows = rows[rows["outcome"] != "not-captured"]
        waited = _seconds(rows["handshake_time"].where(rows["outcome"] == "opened", rows["duration"]))
        shown = waited.notna() & (waited > 0)
        ax.set(title="Waiting for an answer")
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
        _start_axis(ax, rows["start"])
        _legend(ax)
        return ax


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(8, 3.5), layout="constrained")[1] if ax is None else ax


def _seconds(durations: pd.Series[Any]) -> pd.Series[Any]:
    seconds: pd.Series[Any] = durations.dt.total_seconds()
    return seconds


def _time_axis(ax: Axes, which: str) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(EngFormatter("s"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text("seconds")


def _span(starts: pd.Series[Any]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last start in UTC; a second around it if it is the only one, else matplotlib shows years."""
    first, last = starts.min().tz_localize(None), starts.max().tz_localize(None)
    return (first, last) if first < last else (first - ALONE, last + ALONE)


def _start_axis(ax: Axes, starts: pd.Series[Any]) -> None:
    """Label the times at which connections began."""
    first, last = _span(starts)
    margin = (last - first) / 40
    ax.set_xlim(first - margin, last + margin)  # type: ignore[arg-type]
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.set_xlabel("start (UTC)")


def _legend(ax: Axes) -> None:
    """Put the legend beside the plot, where it hides nothing."""
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _without_data(ax: Axes, reason: str) -> Axes:
    ax.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes)
    return ax
