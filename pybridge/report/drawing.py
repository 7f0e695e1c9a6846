# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a chart: legend, bars, axes and their labels, as HTML and SVG."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 400, 172
LEFT, RIGHT, TOP, BOTTOM = 46, 392, 8, 138
"""The rectangle between the axes."""

TEXT = 11
LETTER = 6.2
"""Height and usual width of a letter, to know where a label ends."""

# Each colour means one thing in all charts. Colour-blind people can tell most of them apart; the others have patterns, too.
COLOURS = {
    "opened": "#009e73", "refused": "#d55e00", "unreachable": "#cc79a7", "unanswered": "#e69f00", "aborted": "#8c510a",
    "half-open": "#d9c400", "invalid-answer": "#6a51a3", "still-waiting": "#c4c4c4", "not-captured": "#8a8a8a",
    "client": "#0072b2", "server": "#56b4e9", "both": "#a6bddb", "reset": "#c51b7d",
}  # fmt: skip
NEUTRAL = "#7d8590"
"""Of handshake times, which are of no kind."""

PATTERNS = {
    "refused": "M0 6 6 0", "unreachable": "M3 0V6", "unanswered": "M0 0 6 6", "invalid-answer": "M3 0V6M0 3H6",
    "aborted": "M0 6 6 0M0 0 6 6", "half-open": "M0 3H6", "both": "M0 3H6", "reset": "M0 6 6 0",
}  # fmt: skip
"""White lines on a square of 6 units."""

LEGEND = "list-style:none;display:flex;flex-wrap:wrap;gap:0 1em;margin:0;padding:0;font-size:.85em"

Pick = Mapping[str, Sequence[Any]]
"""Which connections a bar stands for: by column the values; by `start`, `end` and `handshake` the limits in seconds."""


@dataclass(frozen=True)
class Range:
    """The lower axis as a range of values of which the user can draw a part to pick connections.

    Attributes
    ----------
    name : str
        `start`, `end` or `handshake`, as in `Pick`.
    low, high : float
        Seconds at the ends of the axis.
    first : float or None
        Seconds since 1970 at 0, if the axis shows dates.
    """

    name: str
    label: str
    low: float
    high: float
    first: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart: its heading, and an element with legend and picture."""

    title: str
    html: str


class Drawing:
    """A picture under a legend. Places are given in the units of the axes, of which each is a function."""

    def __init__(self, name: str, title: str) -> None:
        self._name = name
        self._title = title
        self._parts: list[str] = []
        self._patterns: dict[str, str] = {}
        self._legend: list[str] = []
        self._range = ""

    def fill(self, kind: str) -> str:
        """Return what a kind is filled with."""
        if kind in PATTERNS:
            self._patterns[kind] = (
                f'<pattern id="{self._name}-{kind}" width="6" height="6" patternUnits="userSpaceOnUse">'
                f'<rect width="6" height="6" fill="{COLOURS[kind]}"/>'
                f'<path d="{PATTERNS[kind]}" stroke="#fff" stroke-opacity=".65"/></pattern>'
            )
            return f"url(#{self._name}-{kind})"
        return COLOURS[kind]

    def key(self, kind: str, label: str, pick: Pick) -> None:
        """Add a kind to the legend."""
        swatch = (
            f'<svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" rx="2" fill="{self.fill(kind)}"/></svg>'
        )
        self._legend.append(f'<li><span class="pick" data-pick="{_json(pick)}">{swatch} {escape(label)}</span></li>')

    def line_key(self, label: str, mark: str) -> None:
        """Add a mark that is drawn in the colour of the text to the legend."""
        self._legend.append(
            f'<li><svg width="14" height="12" viewBox="0 0 14 12" aria-hidden="true">{mark}</svg> {escape(label)}</li>'
        )

    def bar(self, box: tuple[float, float, float, float], fill: str, pick: Pick, label: str) -> None:
        """Draw a rectangle (left, top, right, bottom) that stands for connections."""
        left, top, right, bottom = box
        self._parts.append(
            f'<rect class="pick" data-pick="{_json(pick)}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1.5):.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}" fill="{fill}"><title>{escape(label)}</title></rect>'
        )

    def draw(self, part: str) -> None:
        """Add an element."""
        self._parts.append(part)

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Write a text, moved to the left if it would pass the right edge of the picture."""
        if anchor == "middle" and x + len(text) * LETTER / 2 > WIDTH:
            x, anchor = WIDTH - 1, "end"
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], below: str = "") -> None:
        """Draw the axes with labels at their places, and what the lower one shows."""
        lines = [f"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"]
        for x, label in x_ticks:
            lines.append(f"M{x:.1f} {BOTTOM}v3")
            self.text(x, BOTTOM + 14, label, "middle" if x > LEFT else "start")  # so that it is clear of the other axis
        for y, label in y_ticks:
            lines.append(f"M{LEFT} {y:.1f}h-3")
            self.text(LEFT - 5, y + 4, label, "end")
        if y_ticks:
            grid = "".join(f"M{LEFT} {y:.1f}H{RIGHT}" for y, _ in y_ticks if y < BOTTOM - 1)
            self._parts.insert(0, f'<path d="{grid}" stroke="currentColor" stroke-opacity=".12" fill="none"/>')
        self._parts.append(f'<path d="{"".join(lines)}" stroke="currentColor" stroke-opacity=".6" fill="none"/>')
        if below:
            self.text((LEFT + RIGHT) / 2, HEIGHT - 4, below, "middle")

    def pick_ranges(self, of: Range) -> None:
        """Let the user draw a range on the picture."""
        self._range = f' data-axis="{_json(asdict(of) | {"left": LEFT, "right": RIGHT})}"'
        self._parts.append(f'<rect class="range" y="{TOP}" width="0" height="{BOTTOM - TOP}"/>')

    def chart(self, description: str, height: int = HEIGHT) -> Chart:
        """Return the chart, with a description for those who do not see it."""
        label = escape(f"{self._title}: {description}")
        legend = f'<ul class="legend" style="{LEGEND}">{"".join(self._legend)}</ul>' if self._legend else ""
        patterns = f"<defs>{''.join(self._patterns.values())}</defs>" if self._patterns else ""
        return Chart(
            self._title,
            f'{legend}<svg class="chart"{self._range} role="group" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" '
            f'font-size="{TEXT}" fill="currentColor">{patterns}{"".join(self._parts)}</svg>',
        )


def linear(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """Return the function from values to places on an axis."""
    return lambda value: begin + (end - begin) * (value - low) / (high - low)


def logarithmic(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """Return the same function for a logarithmic axis."""
    place = linear(math.log(low), math.log(high), begin, end)
    return lambda value: place(math.log(value))


def _json(value: Mapping[str, Any]) -> str:
    return escape(json.dumps(value, separators=(",", ":")))
