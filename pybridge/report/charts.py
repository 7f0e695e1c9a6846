# SPDX-License-Identifier: GPL-2.0-or-later
"""Charts of a capture's connections, as SVG elements in the colours of the page around them.

They are pictures that this module writes itself, a few kilobytes each: they print, follow the page's colours, need no
script, and are the same in Jupyter. The page's script adds what a charting library would be for: bars, legends and ranges
filter the table of connections, points lead to their rows. docs/architecture.md says which libraries were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from pybridge.report.drawing import (
    BOTTOM,
    LEFT,
    LETTER,
    NEUTRAL,
    RIGHT,
    TOP,
    Chart,
    Drawing,
    Pick,
    Range,
    linear,
    logarithmic,
)
from pybridge.report.explanations import TERMINATION
from pybridge.report.language import Translate
from pybridge.report.scales import TimeAxis, counting_ticks, logarithmic_ends, logarithmic_ticks, short
from pybridge.report.summary import WERE_OPEN, are_several, since_first
from pybridge.tcp.vocabulary import CLOSERS, FAILED, OPENED, STILL_WAITING
from pybridge.text import amount

FEWEST = 5
"""Connections below which there is no chart: the table says the same."""

POINTS = 500
"""Handshakes that are drawn one by one; more are drawn as quantiles."""

BINS = 30
"""Bars of handshake times."""

NOT_RESET = [value for value in TERMINATION if value != "reset"]


def charts(connections: pd.DataFrame, translate: Translate = str, linked: int = 0) -> Iterator[Chart]:
    """Draw openings and closings over time, who closed first, and handshake times; skip charts of fewer than `FEWEST`.

    Parameters
    ----------
    connections : pandas.DataFrame
        One row per connection, with outcomes (`frames.outcomes`) as `establishment`.
    translate : callable
        Translates a phrase.
    linked : int, default 0
        How many of the connections have a row on the page, to which the points lead.

    Yields
    ------
    Chart
    """
    if len(connections) < FEWEST:
        return
    rows = connections.assign(
        opening=connections["establishment"].astype(object).where(~connections["establishment"].isin(OPENED), "opened"),
        closing=connections["closed_by"].astype(object).where(connections["termination"] != "reset", "reset"),
        seconds=since_first(connections).dt.total_seconds(),
        handshake=connections["handshake_time"].dt.total_seconds(),
        linked=np.arange(len(connections)) < linked,
    )
    rows["ended"] = (since_first(connections) + rows["duration"]).dt.total_seconds()
    several = are_several(connections)
    time = TimeAxis(float(rows["ended"].max()), None if several else rows["start"].min())
    if several:
        note = translate("since the first segment of each capture; {number} captures share the axis")
    else:
        note = translate("UTC, from {date}" if time.has_dates else "since the first segment")
    note = note.format(date=f"{rows['start'].min():%Y-%m-%d}", number=amount(rows["capture"].nunique()) if several else "")
    closed = rows[rows["closed_by"].notna() & rows["establishment"].isin(WERE_OPEN)]
    measured = rows[rows["handshake"] > 0]
    if time.end > 0:
        yield _openings(rows, time, note, translate)
    if time.end > 0 and len(closed) >= FEWEST:
        yield _closings(closed, time, note, translate)
    if len(closed) >= FEWEST:
        yield _closers(closed, translate)
    if len(measured) >= FEWEST:
        yield _distribution(measured, translate)
    if time.end > 0 and len(measured) >= FEWEST:
        yield _handshakes(measured, time, note, translate)


def _openings(rows: pd.DataFrame, time: TimeAxis, note: str, translate: Translate) -> Chart:
    drawing = Drawing("openings", translate("Openings over time"))
    picks: dict[str, Pick] = {"opened": {"establishment": OPENED}}
    picks |= {kind: {"establishment": [kind]} for kind in (*FAILED, STILL_WAITING, "not-captured")}
    return _stacks(drawing, rows["opening"], rows["seconds"], time, note, "start", picks, translate)


def _closings(rows: pd.DataFrame, time: TimeAxis, note: str, translate: Translate) -> Chart:
    drawing = Drawing("closings", translate("Closings over time, by who closed first"))
    kinds: dict[str, Pick] = {closer: {"closed_by": [closer], "termination": NOT_RESET} for closer in CLOSERS}
    kinds |= {"reset": {"closed_by": CLOSERS, "termination": ["reset"]}}
    picks = {kind: {**pick, "establishment": WERE_OPEN} for kind, pick in kinds.items()}
    return _stacks(drawing, rows["closing"], rows["ended"], time, note, "end", picks, translate)


def _stacks(
    drawing: Drawing,
    kinds: pd.Series,
    seconds: pd.Series,
    time: TimeAxis,
    note: str,
    key: str,
    picks: Mapping[str, Pick],
    translate: Translate,
) -> Chart:
    """Draw bars over time, stacked by kind."""
    edges = time.edges()
    counts = {kind: _counted(seconds[kinds == kind], edges) for kind in picks}
    most = int(np.sum(list(counts.values()), axis=0).max())
    x, y = linear(0, time.end, LEFT, RIGHT), linear(0, most, BOTTOM, TOP)
    below = np.zeros(len(edges) - 1)
    texts = []
    for kind, pick in picks.items():
        if not counts[kind].any():
            continue
        texts.append(f"{amount(int(counts[kind].sum()))} {translate(kind)}")
        drawing.key(kind, texts[-1], pick)
        for index in np.flatnonzero(counts[kind]):
            number, low, high = int(counts[kind][index]), float(edges[index]), float(edges[index + 1])
            label = f"{amount(number)} {translate(kind)}, {time.label(max(low, 0))} – {time.label(min(high, time.end))}"  # noqa: RUF001
            left, right = x(max(low, 0)), x(min(high, time.end))
            box = (min(left, RIGHT - 2), y(below[index] + number), max(right - 0.5, left + 1.5), y(below[index]))
            drawing.bar(box, drawing.fill(kind), {**pick, key: [low, high]}, label)
        below += counts[kind]
    drawing.axes(
        [(x(seconds), label) for seconds, label in time.ticks()],
        [(y(number), label) for number, label in counting_ticks(most)],
        note,
    )
    drawing.pick_ranges(_range(key, time, translate))
    return drawing.chart(", ".join(texts))


def _range(name: str, time: TimeAxis, translate: Translate) -> Range:
    first = time.begin.timestamp() if time.begin is not None and time.has_dates else None
    return Range(name, translate("Ends" if name == "end" else "Starts"), 0, time.end, first)


def _counted(values: pd.Series, edges: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Count values between edges, each lower one included, as the page's script does."""
    return np.bincount(np.searchsorted(edges, values, side="right") - 1, minlength=len(edges) - 1)


def _closers(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = Drawing("closers", translate("Who closed first"))
    counts = rows.groupby(["closed_by", rows["termination"] == "reset"], observed=True).size()
    closers = [closer for closer in CLOSERS if closer in counts.index.get_level_values(0)]
    totals = rows["closed_by"].value_counts()
    x = linear(0, int(totals.max()), LEFT + 30, RIGHT - 8 * LETTER)
    texts = []
    for place, closer in enumerate(closers):
        top, left = TOP + 34 * place, 0
        for reset in (False, True):
            number = int(counts.get((closer, reset), 0))
            if not number:
                continue
            how = translate("reset" if reset else "FIN")
            texts.append(f"{translate(closer)}, {how}: {amount(number)}")
            pick = {"closed_by": [closer], "termination": ["reset"] if reset else NOT_RESET, "establishment": WERE_OPEN}
            box = (x(left), top, x(left + number), top + 24)
            drawing.bar(box, drawing.fill("reset" if reset else closer), pick, texts[-1])
            left += number
        drawing.text(LEFT + 25, top + 16, translate(closer), "end")
        drawing.text(x(left) + 5, top + 16, amount(left))
    if len(resets := rows[rows["termination"] == "reset"]):
        pick = {"closed_by": CLOSERS, "termination": ["reset"], "establishment": WERE_OPEN}
        drawing.key("reset", f"{amount(len(resets))} {translate('reset')}", pick)
    return drawing.chart(", ".join(texts), TOP + 34 * len(closers))


def _distribution(rows: pd.DataFrame, translate: Translate) -> Chart:
    drawing = Drawing("handshakes", translate("Handshake time"))
    times = rows["handshake"]
    low, high = logarithmic_ends(float(times.min()), float(times.max()))
    edges = np.geomspace(low, high, BINS + 1)
    edges[-1] = np.nextafter(high, math.inf)
    counts = _counted(times, edges)
    most = int(counts.max())
    x, y = logarithmic(low, high, LEFT, RIGHT), linear(0, most, BOTTOM, TOP)
    for index in np.flatnonzero(counts):
        number, begin, end = int(counts[index]), float(edges[index]), float(edges[index + 1])
        label = f"{amount(number)}, {short(begin)} – {short(end)}"  # noqa: RUF001
        box = (x(begin), y(number), x(end) - 1, BOTTOM)
        drawing.bar(box, NEUTRAL, {"handshake": [begin, end]}, label)
    texts = []
    for share, name, dash in ((0.5, translate("median"), "2 2"), (0.95, "95 %", "5 2")):
        value = float(times.quantile(share))
        style = f'stroke="currentColor" stroke-width="1.5" stroke-dasharray="{dash}"'
        drawing.draw(f'<path d="M{x(value):.1f} {TOP}V{BOTTOM}" {style}/>')
        texts.append(f"{name} {short(value)}")
        drawing.line_key(texts[-1], f'<path d="M7 0V12" {style}/>')
    drawing.axes(
        [(x(value), label) for value, label in logarithmic_ticks(low, high)],
        [(y(number), label) for number, label in counting_ticks(most)],
    )
    drawing.pick_ranges(Range("handshake", translate("Handshake"), low, high, logarithmic=True))
    return drawing.chart(", ".join(texts))


def _handshakes(rows: pd.DataFrame, time: TimeAxis, note: str, translate: Translate) -> Chart:
    drawing = Drawing("handshakes-over-time", translate("Handshake time over time"))
    low, high = logarithmic_ends(float(rows["handshake"].min()), float(rows["handshake"].max()))
    x, y = linear(0, time.end, LEFT, RIGHT), logarithmic(low, high, BOTTOM, TOP)
    if len(rows) <= POINTS:
        points: Iterable[Any] = rows.itertuples()
        for row in points:
            title = escape(f"{translate('Connection')} {row.Index}: {short(row.handshake)}")
            point = f'<circle cx="{x(row.seconds):.1f}" cy="{y(row.handshake):.1f}" r="2.5" fill="{NEUTRAL}">'
            point += f"<title>{title}</title></circle>"
            drawing.draw(f'<a href="#row-{row.Index}">{point}</a>' if row.linked else point)
    else:
        _draw_quantiles(drawing, rows, time.edges(), x, y, translate)
    drawing.axes(
        [(x(seconds), label) for seconds, label in time.ticks()],
        [(y(value), label) for value, label in logarithmic_ticks(low, high)],
        note,
    )
    drawing.pick_ranges(_range("start", time, translate))
    return drawing.chart(amount(len(rows)))


def _draw_quantiles(
    drawing: Drawing,
    rows: pd.DataFrame,
    edges: Any,
    x: Callable[[float], float],
    y: Callable[[float], float],
    translate: Translate,
) -> None:
    """Draw the median, the 95th percentile and the slowest handshake of each stretch of time that has any."""
    bins = np.searchsorted(edges, rows["seconds"], side="right") - 1
    quantiles = rows.groupby(bins)["handshake"].quantile(np.array([0.5, 0.95, 1])).unstack()
    marks = {
        translate("median"): '<circle cx="7" cy="6" r="2.5"/>',
        "95 %": '<path d="M3 6H11" stroke="currentColor" stroke-width="1.5"/>',
        translate("slowest"): '<path d="M7 12V1M4.5 3.5 7 1 9.5 3.5" stroke="currentColor" fill="none"/>',
    }
    for name, mark in marks.items():
        drawing.line_key(name, mark)
    for bin_number, median, most, slowest in quantiles.itertuples():
        place = (x(max(edges[bin_number], 0)) + x(edges[bin_number + 1])) / 2
        label = ", ".join(f"{name} {short(value)}" for name, value in zip(marks, (median, most, slowest), strict=True))
        drawing.draw(
            f'<g><title>{escape(label)}</title><circle cx="{place:.1f}" cy="{y(median):.1f}" r="2.5"/>'
            f'<path d="M{place - 3:.1f} {y(most):.1f}h6" stroke="currentColor" stroke-width="1.5"/>'
            f'<path d="M{place:.1f} {y(median):.1f}V{y(slowest):.1f}m-2.5 2.5 2.5-2.5 2.5 2.5" stroke="currentColor" '
            f'stroke-opacity=".6" fill="none"/></g>'
        )
