# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts of a capture's connections, as SVG elements in the colours of the page around them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pybridge.report.explanations import TERMINATION
from pybridge.report.language import Translate
from pybridge.report.summary import WERE_OPEN, since_first
from pybridge.tcp.vocabulary import CLOSERS, FAILED, OPENED, STILL_WAITING
from pybridge.text import amount, duration_text

INK = "#010203"
"""Stands for the colour of the page's text, which replaces it at the end."""

STYLE: Any = {
    "svg.fonttype": "none", "font.size": 9, "hatch.linewidth": 0.6, "legend.frameon": False, "legend.fontsize": 8,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.labelsize": 8, "xtick.color": INK,
    "ytick.color": INK, "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip
SIZE = (6, 2.6)
"""Width and height in inches of 72 units."""

BINS = 30
POINTS = 500
"""Handshakes that are drawn one by one; more are drawn as quantiles."""

# The colours of Okabe and Ito, which colour-blind people can tell apart. Failures are hatched, too.
BLUE, GREY = "#0072b2", "#999999"
COLOURS = {
    "opened": "#009e73", "refused": "#d55e00", "unreachable": "#cc79a7", "unanswered": "#e69f00", "aborted": "#a04000",
    "half-open": "#f0c000", "invalid-answer": "#6a51a3", "still-waiting": "#cccccc", "not-captured": GREY,
    "client": BLUE, "server": "#56b4e9", "both": GREY, "reset": "#d55e00",
}  # fmt: skip
HATCHES = {
    "refused": "////",
    "unreachable": "||||",
    "unanswered": "\\\\\\\\",
    "invalid-answer": "++++",
    "aborted": "xxxx",
    "half-open": "----",
    "reset": "////",
}
NOT_RESET = [value for value in TERMINATION if value != "reset"]

Pick = Mapping[str, Sequence[Any]]
"""Which connections a bar stands for: by column the values; by `start`, `end` and `handshake` the limits in seconds."""


@dataclass(frozen=True)
class Chart:
    """A chart with its heading."""

    title: str
    svg: str


def charts(connections: pd.DataFrame, translate: Translate = str) -> Iterator[Chart]:
    """Draw openings and closings over time, who closed first, and handshake times; skip charts that would be empty.

    Parameters
    ----------
    connections : pandas.DataFrame
        One row per connection, with outcomes (`frames.outcomes`) as `establishment`.
    translate : callable
        Translates a phrase.

    Yields
    ------
    Chart
    """
    if connections.empty:
        return
    rows = connections.assign(
        opening=connections["establishment"].astype(object).where(~connections["establishment"].isin(OPENED), "opened"),
        closing=connections["closed_by"].astype(object).where(connections["termination"] != "reset", "reset"),
        seconds=since_first(connections).dt.total_seconds(),
        handshake=connections["handshake_time"].dt.total_seconds(),
    )
    rows["ended"] = rows["seconds"] + rows["duration"].dt.total_seconds()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the glyphs
        yield _openings(rows, translate)
        closed = rows[rows["closed_by"].notna() & rows["establishment"].isin(WERE_OPEN)]
        if len(closed):
            yield _closers(closed, translate)
            yield _closings(closed, translate)
        measured = rows[rows["handshake"] > 0]
        if len(measured) > 1:
            yield _distribution(measured, translate)
            yield _handshakes(measured, translate)


class _Drawing:
    """A pair of axes, and the connections that its bars stand for."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.figure = Figure(figsize=SIZE)
        self.figure.subplots_adjust(0.1, 0.17, 0.97, 0.82)  # a layout that is found by drawing takes twice as long
        self.axes = self.figure.subplots()
        self.axes.tick_params(length=2)
        self._picks: list[tuple[Pick, str]] = []

    def pick(self, bar: Any, pick: Pick, label: str) -> None:
        """Note which connections a bar stands for."""
        bar.set_gid(f"pick-{len(self._picks)}")
        self._picks.append((pick, label))

    def legend(self) -> None:
        """Add a legend above the axes, where it hides nothing."""
        self.axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, handlelength=1.2, columnspacing=1.2)

    def chart(self, description: str) -> Chart:
        """Return the drawing as an element for the page, without metadata and ids."""
        out = StringIO()
        with mpl.rc_context({"svg.hashsalt": self.title}):  # so that the same capture gives the same page
            self.figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        svg = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL).replace(INK, "currentColor")
        svg = re.sub(r'<g id="pick-(\d+)">', self._picked, svg)
        svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # all charts have the same ids
        width, height = (round(72 * inches) for inches in SIZE)
        label = escape(f"{self.title}: {description}")
        head = f'<svg class="chart" role="group" aria-label="{label}" viewBox="0 0 {width} {height}">'
        return Chart(self.title, re.sub(r"^.*?<svg[^>]*>", head, svg, count=1, flags=re.DOTALL))

    def _picked(self, found: re.Match[str]) -> str:
        pick, label = self._picks[int(found[1])]
        return f'<g class="pick" data-pick="{escape(json.dumps(pick))}"><title>{escape(label)}</title>'


def _openings(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = _Drawing(translate("Openings over time"))
    picks: dict[str, Pick] = {"opened": {"establishment": OPENED}}
    picks |= {kind: {"establishment": [kind]} for kind in (*FAILED, STILL_WAITING, "not-captured")}
    return drawing.chart(_stacks(drawing, rows["opening"], rows["seconds"], "start", picks, translate))


def _closings(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = _Drawing(translate("Closings over time, by who closed first"))
    picks = _closing_picks()
    return drawing.chart(_stacks(drawing, rows["closing"], rows["ended"], "end", picks, translate))


def _closing_picks() -> dict[str, Pick]:
    kinds: dict[str, Pick] = {closer: {"closed_by": [closer], "termination": NOT_RESET} for closer in CLOSERS}
    kinds |= {"reset": {"closed_by": CLOSERS, "termination": ["reset"]}}
    return {kind: {**pick, "establishment": WERE_OPEN} for kind, pick in kinds.items()}


def _stacks(
    drawing: _Drawing, kinds: pd.Series, seconds: pd.Series, key: str, picks: Mapping[str, Pick], translate: Translate
) -> str:
    """Draw bars over time, stacked by kind; return the counts in words."""
    edges = _edges(seconds)
    below = np.zeros(BINS)
    texts = []
    for kind, pick in picks.items():
        counts = np.histogram(seconds[kinds == kind], edges)[0]
        shown = np.flatnonzero(counts)
        if not len(shown):
            continue
        texts.append(f"{amount(int(counts.sum()))} {translate(kind)}")
        bars = drawing.axes.bar(
            edges[shown], counts[shown], np.diff(edges)[shown] * 0.9, below[shown], align="edge", label=translate(kind),
            color=COLOURS[kind], hatch=HATCHES.get(kind), edgecolor="#ffffff", linewidth=0,
        )  # fmt: skip
        for bar, index in zip(bars, shown, strict=True):
            low, high = float(edges[index]), float(edges[index + 1])
            label = f"{amount(int(counts[index]))} {translate(kind)}, {_seconds_text(low)} – {_seconds_text(high)}"  # noqa: RUF001
            drawing.pick(bar, {**pick, key: [low, high]}, label)
        below += counts
    drawing.axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    drawing.legend()
    _time_axis(drawing, translate)
    return ", ".join(texts)


def _closers(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = _Drawing(translate("Who closed first"))
    counts = rows.groupby(["closed_by", rows["termination"] == "reset"], observed=True).size()
    closers = [closer for closer in reversed(CLOSERS) if closer in counts.index.get_level_values(0)]
    left = np.zeros(len(closers))
    texts = []
    for reset, how in ((False, "FIN"), (True, "reset")):
        numbers = np.array([int(counts.get((closer, reset), 0)) for closer in closers])
        if not numbers.any():
            continue
        colour, hatch = (COLOURS["reset"], HATCHES["reset"]) if reset else (BLUE, None)
        bars = drawing.axes.barh(
            closers, numbers, 0.6, left, label=translate(how), color=colour, hatch=hatch, edgecolor="#ffffff", linewidth=0
        )
        for bar, closer, number in zip(bars, closers, numbers, strict=True):
            if number:
                ended = ["reset"] if reset else NOT_RESET
                texts.append(f"{translate(closer)}, {translate(how)}: {amount(int(number))}")
                drawing.pick(bar, {"closed_by": [closer], "termination": ended, "establishment": WERE_OPEN}, texts[-1])
        left += numbers
    for place, number in enumerate(left):
        drawing.axes.annotate(amount(int(number)), (number, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    drawing.axes.set_yticks(range(len(closers)), [translate(closer) for closer in closers])
    drawing.axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    drawing.axes.set_ylim(-0.6, len(closers) - 0.4)
    drawing.legend()
    return drawing.chart(", ".join(texts))


def _distribution(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = _Drawing(translate("Handshake time"))
    times = rows["handshake"]
    edges = _edges(times, np.geomspace)
    counts = np.histogram(times, edges)[0]
    shown = np.flatnonzero(counts)
    bars = drawing.axes.bar(edges[shown], counts[shown], np.diff(edges)[shown] * 0.95, align="edge", color=BLUE)
    for bar, index in zip(bars, shown, strict=True):
        low, high = float(edges[index]), float(edges[index + 1])
        label = f"{amount(int(counts[index]))}, {_seconds_text(low)} – {_seconds_text(high)}"  # noqa: RUF001
        drawing.pick(bar, {"handshake": [low, high]}, label)
    median, most = times.quantile([0.5, 0.95])
    for value, name, height in ((median, translate("median"), 1.0), (most, "95 %", 0.9)):
        side = "left" if value < np.sqrt(edges[0] * edges[-1]) else "right"
        drawing.axes.axvline(value, color=INK, linewidth=0.8, linestyle=":")
        drawing.axes.annotate(f" {name} ", (value, height), xycoords=("data", "axes fraction"), ha=side, va="top", fontsize=8)
    drawing.axes.set_ylim(top=1.25 * counts.max())  # the labels stand above the bars
    drawing.axes.set_xscale("log")
    drawing.axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    drawing.axes.xaxis.set_minor_formatter("")
    drawing.axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return drawing.chart(f"{translate('median')} {_seconds_text(median)}, 95 % {_seconds_text(most)}")


def _handshakes(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = _Drawing(translate("Handshake time over time"))
    axes = drawing.axes
    if len(rows) <= POINTS:
        axes.plot(rows["seconds"], rows["handshake"], ".", color=BLUE, markersize=4)
    else:
        edges = _edges(rows["seconds"])
        bins = np.digitize(rows["seconds"], edges) - 1
        quantiles = rows.groupby(bins)["handshake"].quantile(np.array([0.5, 0.95, 1])).unstack()
        middles = (edges[quantiles.index] + edges[quantiles.index + 1]) / 2
        for (_, values), name, style in zip(
            quantiles.items(), (translate("median"), "95 %", translate("slowest")), ("-", "--", ":"), strict=True
        ):
            axes.plot(middles, values, style, color=BLUE, linewidth=1.2, label=name)
        drawing.legend()
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.yaxis.set_minor_formatter("")
    _time_axis(drawing, translate)
    return drawing.chart(amount(len(rows)))


def _edges(values: pd.Series[float], space: Callable[..., Any] = np.linspace) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return edges of bins, a little below the least value and above the greatest: the script may round seconds differently."""
    low, high = float(values.min()), float(values.max())
    edges: np.ndarray[Any, np.dtype[np.float64]] = space(low, high if high > low else low + 1, BINS + 1)
    edges[0] *= 1 - 1e-9
    edges[-1] *= 1 + 1e-9
    return edges


def _time_axis(drawing: _Drawing, translate: Translate) -> None:
    drawing.axes.xaxis.set_major_locator(MaxNLocator(6))
    drawing.axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    drawing.axes.set_xlabel(translate("since the first segment"))


def _tick(seconds: float, _: int) -> str:
    return re.sub(r"\.0+ ", " ", _seconds_text(seconds))


def _seconds_text(seconds: float) -> str:
    return duration_text(pd.Timedelta(round(seconds * 1e9), "ns"))
