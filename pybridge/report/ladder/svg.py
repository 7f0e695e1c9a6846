# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - ranges have dashes
"""Ladder diagrams (sequence diagrams) of TCP connections, each a self-contained SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby, zip_longest
from typing import Any, Literal

import pandas as pd

from pybridge.report.explanations import PROBLEM_MARK
from pybridge.report.ladder import labels
from pybridge.report.ladder.missing import Missing, with_missing
from pybridge.report.ladder.story import LadderRow, Run, Story, stories
from pybridge.report.language import TAGS, Language, Translate, translator
from pybridge.tcp.vocabulary import (
    BENIGN_ANOMALIES,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    SYN_RECEIVED,
    SYN_SENT,
    SYNCHRONISED,
)
from pybridge.text import MINUS, nanoseconds_text, printable

LONG_GAP = 500_000_000
"""Nanoseconds without a segment that are shown as a gap."""

WIDTH = 1010
PHASE_X, TIME_X, CLIENT_X, SERVER_X, NOTE_X = 8, 98, 224, 696, 806
MIDDLE_X = (CLIENT_X + SERVER_X) // 2
SLANT = 12
"""How much lower an arrow ends than it begins."""

STYLE = """\
.tcp-ladder{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",\
sans-serif;font-variant-numeric:tabular-nums}
.tcp-ladder text{fill:currentColor}
.tcp-ladder .end{text-anchor:end}
.tcp-ladder .middle{text-anchor:middle}
.tcp-ladder .small{font-size:11px;opacity:.74}
.tcp-ladder .bold{font-weight:600}
.tcp-ladder .state{font-size:11px;font-weight:600}
.tcp-ladder .vertical{writing-mode:vertical-rl;dominant-baseline:central;letter-spacing:.06em}
.tcp-ladder .line{stroke:currentColor;stroke-opacity:.5;fill:none}
.tcp-ladder .gap{stroke-dasharray:2 4}
.tcp-ladder .phase{stroke:#005f99;stroke:color-mix(in srgb,#0080d0 72%,currentColor);stroke-opacity:.45;stroke-width:2;fill:none}
.tcp-ladder .plain{stroke:currentColor;fill:currentColor;opacity:.62}
.tcp-ladder .role{stroke:#005f99;fill:#005f99;stroke-width:1.75;\
stroke:color-mix(in srgb,#0080d0 72%,currentColor);fill:color-mix(in srgb,#0080d0 72%,currentColor)}
.tcp-ladder .problem{stroke:#a64b00;fill:#a64b00;stroke-width:1.75;\
stroke:color-mix(in srgb,#d55e00 74%,currentColor);fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder .retransmission{stroke-dasharray:7 4}
.tcp-ladder .missing{stroke-dasharray:4 4;stroke-opacity:.65}
.tcp-ladder .unanswered{fill:none;stroke-dasharray:7 4}
.tcp-ladder .band{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.3}
.tcp-ladder text.warning{font-size:11.5px;font-weight:600;fill:#a64b00;fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder text.benign{font-size:11.5px;font-weight:600;fill:#005f99;fill:color-mix(in srgb,#0080d0 72%,currentColor)}
svg.tcp-ladder:root{background:#fff;color:#1a1a1a}
@media screen and (prefers-color-scheme:dark){svg.tcp-ladder:root{background:#141414;color:#e8e8e8}}
@media print{.tcp-ladder{print-color-adjust:exact;break-inside:auto}}
"""

Item = LadderRow | Run | Missing
Phase = Literal["open", "close"]

OPENING_STATES = frozenset((SYN_SENT, SYN_RECEIVED))
CLOSING_STATES = frozenset((FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK))

STATE_BEFORE_CROSSING = {SYN_RECEIVED: SYN_SENT, CLOSING: FIN_WAIT_1}
"""State of an end when it sent a SYN or FIN that crossed the other's, by its state after that segment in the table."""


@dataclass
class _Canvas:
    """The drawing so far.

    `y` is its lower edge, `parts` are its elements, `states` the states that were written last, by end; `time` is the time of
    the latest segment in nanoseconds.
    """

    translate: Translate
    y: int = 0
    parts: list[str] = field(default_factory=list)
    life_lines: list[str] = field(default_factory=list)
    broken_lines: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    time: int = 0

    def text(self, x: int, y: int, classes: str, content: str) -> None:
        attribute = f' class="{classes}"' if classes else ""
        self.parts.append(f'<text x="{x}" y="{y}"{attribute}>{_xml(content)}</text>')

    def path(self, classes: str, commands: str) -> None:
        self.parts.append(f'<path class="{classes}" d="{commands}"/>')

    def advance(self, height: int, *, broken: bool = False) -> None:
        """Move the lower edge down, and draw both life lines on the way."""
        lines = self.broken_lines if broken else self.life_lines
        lines.append(f"M{CLIENT_X} {self.y}v{height}M{SERVER_X} {self.y}v{height}")
        self.y += height

    def state(self, end: str, name: str, y: int) -> None:
        """Write the state of an end beside its life line, if it has changed."""
        if name and name != self.states.get(end):
            x, classes = (CLIENT_X - 9, "state end") if end == "client" else (SERVER_X + 9, "state")
            self.text(x, y, classes, name)
            self.states[end] = name


def ladder_svg(segments: pd.DataFrame, connection: pd.Series[Any], *, with_style: bool = True, language: Language = "en") -> str:
    """Draw one connection as a ladder: client left, server right, time runs down.

    Parameters
    ----------
    segments : pandas.DataFrame
        The table `segments`, or the rows of the connection in it, in the order of the capture.
    connection : pandas.Series
        Its row in `connections`; the name of the series is the stream.
    language : {"en", "zh"}, default "en"
        English or Chinese. Flags, states, roles and anomalies are names and the same in both.
    with_style : bool, default True
        Include the style sheet. A page with many ladders can include `STYLE` once and leave it out here.

    Returns
    -------
    str
        An ``<svg>`` element without any ``id``, which can stand alone or be put into an HTML page many times.
    """
    table = connection.to_frame().T.infer_objects()
    (story,) = stories(segments, table, table.index.tolist())
    return _svg(story, language, with_style)


def ladders(
    segments: pd.DataFrame, connections: pd.DataFrame, streams: Sequence[int], *, language: Language = "en"
) -> Iterator[str]:
    """Draw many connections, in the order of `streams`, each as `ladder_svg` does without the style sheet.

    This takes a fraction of the time that as many calls of `ladder_svg` take, because the tables are searched only once.
    """
    return (_svg(story, language, with_style=False) for story in stories(segments, connections, streams))


def _svg(story: Story, language: Language, with_style: bool) -> str:
    translate = translator(language)
    items = with_missing(story)
    canvas = _Canvas(translate)
    _draw_heads(canvas, story)
    _draw_items(canvas, story, items)
    canvas.advance(10)
    style = f"<style>{STYLE}</style>" if with_style else ""
    broken = f'<path class="line gap" d="{"".join(canvas.broken_lines)}"/>' if canvas.broken_lines else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tcp-ladder" role="img" lang="{TAGS[language]}" '
        f'viewBox="0 0 {WIDTH} {canvas.y + 6}" width="{WIDTH}" height="{canvas.y + 6}" style="max-width:100%;height:auto">'
        f"<title>{_xml(labels.title(story, translate))}</title>"
        f"<desc>{_xml(labels.description(story, items, translate))}</desc>{style}"
        f'<path class="line" d="{"".join(canvas.life_lines)}"/>{broken}{"".join(canvas.parts)}</svg>'
    )


def _draw_heads(canvas: _Canvas, story: Story) -> None:
    client, server = labels.heads(story.connection)
    for x, name, role in ((CLIENT_X, client, canvas.translate("client")), (SERVER_X, server, canvas.translate("server"))):
        canvas.text(x, 16, "middle small", role)
        canvas.text(x, 32, "middle bold", name)
    canvas.text(TIME_X, 16, "end small", canvas.translate("time / s"))
    canvas.y = 40


def _draw_items(canvas: _Canvas, story: Story, items: list[Item]) -> None:
    if not items:
        _draw_remark(canvas, [canvas.translate("No segment of this connection is in the table.")])
        _draw_network_error(canvas, story)
    canvas.time = story.start
    for phase, members in groupby(items, _phase):
        group = list(members)
        _draw_gap(canvas, group[0])  # first, so that the mark of the phase does not enclose it
        top = canvas.y
        if group[0] is items[0]:
            _draw_beginning(canvas, story)
        _draw_group(canvas, story, group)
        if group[-1] is items[-1]:
            _draw_network_error(canvas, story)
        if phase:
            _draw_phase(canvas, _phase_name(story, phase), top)


def _draw_group(canvas: _Canvas, story: Story, group: list[Item]) -> None:
    remaining = zip_longest(group, group[1:])
    for item, following in remaining:
        _draw_gap(canvas, item)
        if isinstance(item, Missing):
            _draw_missing(canvas, item)
        elif isinstance(item, Run):
            _draw_run(canvas, story, item)
        elif isinstance(following, LadderRow) and passed_each_other(item, following):
            _draw_crossing(canvas, story, item, following)
            next(remaining)
        else:
            _draw_row(canvas, story, item)


def _phase(item: Item) -> Phase | None:
    """Return the phase that an item belongs to, by its role and the states after it; None between opening and closing."""
    if isinstance(item, Missing):
        return item.phase
    states = {item.client_state, item.server_state}
    roles, anomalies = (item.roles, item.anomalies) if isinstance(item, LadderRow) else ([], [])
    if states & CLOSING_STATES or {"FIN", "ACK-OF-FIN"} & {*roles}:
        return "close"
    if (
        states & OPENING_STATES
        or {"SYN", "SYN-ACK", "HANDSHAKE-ACK"} & {*roles}
        or {"connection-refused", "handshake-aborted"} & {*anomalies}
    ):
        return "open"
    return None


def _phase_name(story: Story, phase: Phase) -> str:
    if phase == "open":
        return "simultaneous open" if story.connection.establishment == "simultaneous" else "three-way handshake"
    names = {"four-way": "four-way close", "three-way": "three-way close", "simultaneous": "simultaneous close"}
    return names.get(story.connection.termination, "close")


def _draw_phase(canvas: _Canvas, name: str, top: int) -> None:
    """Mark the rows since `top` at the left margin, with the name of the phase if there is room for it."""
    top, bottom = top + 5, canvas.y - 5
    canvas.path("phase", f"M{PHASE_X + 14} {top}h-4V{bottom}h4")
    label = canvas.translate(name)
    if labels.width(label) * 7 <= bottom - top:
        canvas.text(PHASE_X, (top + bottom) // 2, "vertical middle small", label)


def _draw_beginning(canvas: _Canvas, story: Story) -> None:
    """Write CLOSED and LISTEN above a first SYN; write a remark if the capture begins after the opening."""
    first = story.items[0]
    if isinstance(first, LadderRow) and first.role == "SYN" and first.sender == "client" and first.server_state == LISTEN:
        canvas.state("client", CLOSED, canvas.y + 13)
        canvas.state("server", LISTEN, canvas.y + 13)
        canvas.advance(18)
    elif story.connection.establishment == "not-captured" and {first.client_state, first.server_state} <= SYNCHRONISED:
        _draw_remark(canvas, [canvas.translate("the opening was not captured")])


def _draw_row(canvas: _Canvas, story: Story, row: LadderRow) -> None:
    tail, tip = canvas.y + 21, canvas.y + 21 + SLANT
    lines = labels.notes(story, row, canvas.translate)
    raw = labels.raw_numbers(story, row, canvas.translate)
    _draw_margins(canvas, story, row, tail, lines)
    canvas.text(MIDDLE_X, tail - 6, "middle bold" if row.role else "middle", labels.label(story, row))
    _draw_arrow(canvas, story, row, tail, tip)
    if raw:
        canvas.text(MIDDLE_X, tail + 24, "middle small", raw)
    for end, name in row.states.items():
        canvas.state(end, name, (tail if end == row.sender else tip) + 4)
    canvas.advance(max(55 if raw else 43, 14 * len(lines) + 14))


def passed_each_other(first: LadderRow, second: LadderRow) -> bool:
    """Whether two segments passed each other on the way: both ends opened, or both closed, at the same time."""
    return (
        bool({"simultaneous-open", "simultaneous-close"} & {*second.anomalies})
        and first.role in ("SYN", "FIN")
        and first.sender != second.sender
        and second.time - first.time < LONG_GAP
    )


def _draw_crossing(canvas: _Canvas, story: Story, first: LadderRow, second: LadderRow) -> None:
    """Draw two arrows that cross, with the states of RFC 9293 figures 7 and 13.

    The table assumes that the first segment arrived before the second was sent, because at that point nothing contradicted
    it. The drawing takes that back: the second sender is still in its earlier state when it sends.
    """
    lines, more_lines = (labels.notes(story, row, canvas.translate) for row in (first, second))
    tail = canvas.y + 35
    second_tail = tail + max(34, 14 * len(lines) + 6)
    tip = second_tail + 42
    for row, start, beside in ((first, tail, lines), (second, second_tail, more_lines)):
        _draw_margins(canvas, story, row, start, beside)
        x, side = (CLIENT_X + 14, "") if row.sender == "client" else (SERVER_X - 14, "end ")
        canvas.text(x, start - 20, f"{side}bold", labels.label(story, row))
        canvas.text(x, start - 6, f"{side}small", labels.raw_numbers(story, row, canvas.translate))
        _draw_arrow(canvas, story, row, start, tip)
    canvas.state(first.sender, first.states[first.sender], tail + 4)
    sent = second.states[second.sender]
    canvas.state(second.sender, STATE_BEFORE_CROSSING.get(sent, sent), second_tail + 4)
    for end, name in second.states.items():
        canvas.state(end, name, tip + 4)
    canvas.time = second.time
    canvas.advance(max(tip + 14, second_tail + 14 * len(more_lines)) - canvas.y)


def _draw_margins(canvas: _Canvas, story: Story, row: LadderRow, y: int, lines: Sequence[tuple[str, str]]) -> None:
    canvas.text(TIME_X, y - 1, "end", seconds(row.time - story.start))
    canvas.text(TIME_X, y + 12, "end small", canvas.translate("frame {frame}").format(frame=row.frame))
    for line, (classes, note) in enumerate(lines):
        canvas.text(NOTE_X, y - 1 + 14 * line, classes, note)


def _draw_arrow(canvas: _Canvas, story: Story, row: LadderRow, tail: int, tip: int) -> None:
    """Draw a slanted line with a solid head; the line is dashed for a retransmission."""
    x1, x2, back = _course(row.sender)
    slope = (tip - tail) / (x2 - x1)  # the head lies in the line
    line = f"M{x1} {tail}L{x2} {tip}"
    head = f"M{x2} {tip}L{x2 + back} {tip + back * slope - 4.5:.1f}v9z"
    problem = any(name not in BENIGN_ANOMALIES for name in row.anomalies) or row.has("RST")
    kind = "problem" if problem else "role" if row.role else "plain"
    if labels.was_unanswered(story, row):  # it ends before the other end, in an open head
        x, y = x1 + (x2 - x1) * 0.8, tail + (tip - tail) * 0.8
        canvas.path(f"{kind} unanswered", f"M{x1} {tail}L{x:.0f} {y:.1f}M{x + back:.0f} {y - 5:.1f}L{x:.0f} {y:.1f}l{back} 4")
    elif row.retransmission:
        canvas.path(f"{kind} retransmission", line)
        canvas.path(kind, head)
    else:
        canvas.path(kind, line + head)  # a line has no area, so that filling the path fills the head alone


def _course(sender: str) -> tuple[int, int, int]:
    """Return where an arrow begins and ends, and the direction back from its head."""
    return (CLIENT_X, SERVER_X, -10) if sender == "client" else (SERVER_X, CLIENT_X, 10)


def _draw_missing(canvas: _Canvas, step: Missing) -> None:
    """Draw a dashed arrow: pale for a step that was not captured, ending in a cross for one that never came."""
    x1, x2, back = _course(step.sender)
    tail, tip = canvas.y + 19, canvas.y + 19 + SLANT
    canvas.text(MIDDLE_X, tail - 6, "middle small" if step.came else "middle warning", canvas.translate(step.label))
    if step.came:
        canvas.path("plain missing", f"M{x1} {tail}L{x2} {tip}")
        canvas.path("plain", f"M{x2 + back} {tip - 5}L{x2} {tip}l{back} 4")
    else:
        middle = tail + SLANT // 2
        canvas.path("problem missing", f"M{x1} {tail}L{MIDDLE_X} {middle}")
        canvas.path("problem", f"M{MIDDLE_X - 5} {middle - 5}l10 10m0-10l-10 10")
    canvas.advance(40)


def _draw_run(canvas: _Canvas, story: Story, run: Run) -> None:
    if run.hidden:
        _draw_remark(canvas, labels.hidden_segments(story, run, canvas.translate))
    else:
        _draw_band(canvas, story, run)
    canvas.time = run.last_time


def _draw_band(canvas: _Canvas, story: Story, run: Run) -> None:
    """Draw a run of plain segments as one band."""
    y, translate = canvas.y + 5, canvas.translate
    canvas.parts.append(f'<rect class="band" x="{CLIENT_X}" y="{y}" width="{SERVER_X - CLIENT_X}" height="40" rx="3"/>')
    canvas.text(TIME_X, y + 12, "end", seconds(run.time - story.start))
    canvas.text(TIME_X, y + 37, "end", seconds(run.last_time - story.start))
    text = translate("{count} more resets") if run.resets else translate("{count} plain segments")
    canvas.text(MIDDLE_X, y + 16, "middle bold", text.format(count=f"{sum(run.segments):,}"))
    canvas.text(MIDDLE_X, y + 32, "middle", labels.traffic(run, translate))
    canvas.text(NOTE_X, y + 16, "small", translate("frames {first}–{last}").format(first=run.first_frame, last=run.last_frame))
    if run.pause >= LONG_GAP:
        canvas.text(NOTE_X, y + 30, "small", translate("longest pause {time}").format(time=nanoseconds_text(run.pause)))
    for end, name in run.states.items():
        canvas.state(end, name, y + 24)
    canvas.advance(50)


def _draw_remark(canvas: _Canvas, lines: Sequence[str]) -> None:
    canvas.advance(6)
    for line in lines:
        canvas.text(MIDDLE_X, canvas.y + 13, "middle small", line)
        canvas.advance(16, broken=True)
    canvas.advance(6)


def _draw_gap(canvas: _Canvas, item: Item) -> None:
    """Break the life lines where no segment was captured for long."""
    if isinstance(item, Missing):
        return
    gap, canvas.time = item.time - canvas.time, item.time
    if gap < LONG_GAP:
        return
    canvas.advance(4)
    text, waited = labels.gap(item, gap, canvas.translate)
    canvas.text(MIDDLE_X, canvas.y + 15, "middle warning" if waited else "middle small", text)
    if waited:  # a bracket at the side of the end that waited
        x, inwards = (CLIENT_X + 12, 8) if waited == "client" else (SERVER_X - 12, -8)
        canvas.path("problem unanswered", f"M{x + inwards} {canvas.y}h{-inwards}v26h{inwards}")
    for x in (CLIENT_X, SERVER_X):
        canvas.path("line", f"M{x - 6} {canvas.y + 2}l12-4M{x - 6} {canvas.y + 24}l12-4")
    canvas.advance(22, broken=True)
    canvas.advance(6)


def _draw_network_error(canvas: _Canvas, story: Story) -> None:
    """Draw a remark for an ICMP error that answered the SYN. It is no TCP segment, so it has no row of its own."""
    connection = story.connection
    if "unreachable" in (connection.anomalies or "").split("+"):
        canvas.advance(4)
        canvas.text(MIDDLE_X, canvas.y + 15, "middle", canvas.translate("an ICMP error answered the SYN (no TCP segment)"))
        canvas.text(NOTE_X, canvas.y + 15, "warning", f"{PROBLEM_MARK} unreachable")
        canvas.state("client", connection.client_state, canvas.y + 15)
        canvas.state("server", connection.server_state, canvas.y + 15)
        canvas.advance(22)


def seconds(nanoseconds: int) -> str:
    """Return a time since the first segment in seconds, with microseconds."""
    return f"{nanoseconds / 1e9:.6f}".replace("-", MINUS)


def _xml(text: str) -> str:
    return escape(printable(text), quote=True)
