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
from pybridge.report.ladder import labels as words
from pybridge.report.ladder.missing import Missing, with_missing
from pybridge.report.ladder.story import LadderRow, Run, Story, stories
from pybridge.report.language import TAGS, Language, Translate, translator
from pybridge.tcp.vocabulary import BENIGN_ANOMALIES, SYNCHRONISED
from pybridge.text import MINUS, nanoseconds_text, printable

LONG_GAP_NS = 500_000_000

WIDTH = 1010
PHASE_X, TIME_X, CLIENT_X, SERVER_X, NOTE_X = 8, 98, 224, 696, 806
MIDDLE_X = (CLIENT_X + SERVER_X) // 2
SLANT = 12

STYLE = """\
.tcp-ladder{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",\
sans-serif;font-variant-numeric:tabular-nums}
.tcp-ladder text{fill:currentColor}
.tcp-ladder .e{text-anchor:end}
.tcp-ladder .m{text-anchor:middle}
.tcp-ladder .q{font-size:11px;opacity:.74}
.tcp-ladder .b{font-weight:600}
.tcp-ladder .s{font-size:11px;font-weight:600}
.tcp-ladder .v{writing-mode:vertical-rl;dominant-baseline:central;letter-spacing:.06em}
.tcp-ladder .l{stroke:currentColor;stroke-opacity:.5;fill:none}
.tcp-ladder .g{stroke-dasharray:2 4}
.tcp-ladder .p{stroke:#005f99;stroke:color-mix(in srgb,#0080d0 72%,currentColor);stroke-opacity:.45;stroke-width:2;fill:none}
.tcp-ladder .a{stroke:currentColor;fill:currentColor;opacity:.62}
.tcp-ladder .h{stroke:#005f99;fill:#005f99;stroke-width:1.75;\
stroke:color-mix(in srgb,#0080d0 72%,currentColor);fill:color-mix(in srgb,#0080d0 72%,currentColor)}
.tcp-ladder .x{stroke:#a64b00;fill:#a64b00;stroke-width:1.75;\
stroke:color-mix(in srgb,#d55e00 74%,currentColor);fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder .d{stroke-dasharray:7 4}
.tcp-ladder .n{stroke-dasharray:4 4;stroke-opacity:.65}
.tcp-ladder .f{fill:currentColor;fill-opacity:.07;stroke:currentColor;stroke-opacity:.3}
.tcp-ladder text.w{font-size:11.5px;font-weight:600;fill:#a64b00;fill:color-mix(in srgb,#d55e00 74%,currentColor)}
.tcp-ladder text.o{font-size:11.5px;font-weight:600;fill:#005f99;fill:color-mix(in srgb,#0080d0 72%,currentColor)}
svg.tcp-ladder:root{background:#fff;color:#1a1a1a}
@media screen and (prefers-color-scheme:dark){svg.tcp-ladder:root{background:#141414;color:#e8e8e8}}
@media print{.tcp-ladder{print-color-adjust:exact;break-inside:auto}}
"""

Item = LadderRow | Run | Missing
Phase = Literal["open", "close"]

OPENING_STATES = frozenset(("SYN-SENT", "SYN-RECEIVED"))
CLOSING_STATES = frozenset(("FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK"))


class Ladder(str):
    """The SVG of a ladder, which shows itself in Jupyter."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


@dataclass
class _Canvas:
    """The drawing so far: how far down it goes, its elements, the states written last, and the time of the last segment."""

    translate: Translate
    y: int = 0
    parts: list[str] = field(default_factory=list)
    life: list[str] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    time: int = 0

    def text(self, x: int, y: int, classes: str, content: str) -> None:
        attribute = f' class="{classes}"' if classes else ""
        self.parts.append(f'<text x="{x}" y="{y}"{attribute}>{_xml(content)}</text>')

    def path(self, classes: str, commands: str) -> None:
        self.parts.append(f'<path class="{classes}" d="{commands}"/>')

    def advance(self, height: int, *, broken: bool = False) -> None:
        """Go down, drawing both life lines on the way."""
        lines = self.breaks if broken else self.life
        lines.append(f"M{CLIENT_X} {self.y}v{height}M{SERVER_X} {self.y}v{height}")
        self.y += height

    def state(self, end: str, name: str, y: int) -> None:
        """Write the state of an end beside its life line, if it is another than before."""
        if name and name != self.states.get(end):
            x, classes = (CLIENT_X - 9, "s e") if end == "client" else (SERVER_X + 9, "s")
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

    The tables are looked at once for all, which takes a fraction of the time.
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
    broken = f'<path class="l g" d="{"".join(canvas.breaks)}"/>' if canvas.breaks else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tcp-ladder" role="img" lang="{TAGS[language]}" '
        f'viewBox="0 0 {WIDTH} {canvas.y + 6}" width="{WIDTH}" height="{canvas.y + 6}" style="max-width:100%;height:auto">'
        f"<title>{_xml(words.title(story, translate))}</title><desc>{_xml(words.description(story, items, translate))}</desc>{style}"
        f'<path class="l" d="{"".join(canvas.life)}"/>{broken}{"".join(canvas.parts)}</svg>'
    )


def _draw_heads(canvas: _Canvas, story: Story) -> None:
    client, server = words.heads(story.connection)
    for x, name, role in ((CLIENT_X, client, canvas.translate("client")), (SERVER_X, server, canvas.translate("server"))):
        canvas.text(x, 16, "m q", role)
        canvas.text(x, 32, "m b", name)
    canvas.text(TIME_X, 16, "e q", canvas.translate("time / s"))
    canvas.y = 40


def _draw_items(canvas: _Canvas, story: Story, items: list[Item]) -> None:
    if not items:
        _draw_remark(canvas, [canvas.translate("No segment of this connection is in the table.")])
        _draw_network_error(canvas, story)
    canvas.time = story.start
    for phase, members in groupby(items, _phase):
        group = list(members)
        _draw_gap(canvas, group[0])  # not within the mark of the phase
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
        elif isinstance(following, LadderRow) and _cross(item, following):
            _draw_crossing(canvas, story, item, following)
            next(remaining)
        else:
            _draw_row(canvas, story, item)


def _phase(item: Item) -> Phase | None:
    """Which part of the connection's life an item belongs to, by its role and the states after it."""
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
    """Mark the rows since `top` at the left margin, with a name if there is room for it."""
    top, bottom = top + 5, canvas.y - 5
    canvas.path("p", f"M{PHASE_X + 14} {top}h-4V{bottom}h4")
    label = canvas.translate(name)
    if words.width(label) * 7 <= bottom - top:
        canvas.text(PHASE_X, (top + bottom) // 2, "v m q", label)


def _draw_beginning(canvas: _Canvas, story: Story) -> None:
    """Write CLOSED and LISTEN at the top where the capture begins with the first SYN; say it if it begins later."""
    first = story.items[0]
    if isinstance(first, LadderRow) and first.role == "SYN" and first.sender == "client" and first.server_state == "LISTEN":
        canvas.state("client", "CLOSED", canvas.y + 13)
        canvas.state("server", "LISTEN", canvas.y + 13)
        canvas.advance(18)
    elif story.connection.establishment == "not-captured" and {first.client_state, first.server_state} <= SYNCHRONISED:
        _draw_remark(canvas, [canvas.translate("the opening was not captured")])


def _draw_row(canvas: _Canvas, story: Story, row: LadderRow) -> None:
    tail, tip = canvas.y + 21, canvas.y + 21 + SLANT
    lines = words.notes(story, row, canvas.translate)
    raw = words.raw_numbers(story, row, canvas.translate)
    _draw_margins(canvas, story, row, tail, lines)
    canvas.text(MIDDLE_X, tail - 6, "m b" if row.role else "m", words.label(story, row))
    _draw_arrow(canvas, row, tail, tip)
    if raw:
        canvas.text(MIDDLE_X, tail + 24, "m q", raw)
    for end, name in row.states.items():
        canvas.state(end, name, (tail if end == row.sender else tip) + 4)
    canvas.advance(max(55 if raw else 43, 14 * len(lines) + 14))


def _cross(first: LadderRow, second: LadderRow) -> bool:
    """Whether two segments passed each other on the way: both ends opened, or both closed."""
    return (
        bool({"simultaneous-open", "simultaneous-close"} & {*second.anomalies})
        and first.role in ("SYN", "FIN")
        and first.sender != second.sender
        and second.time - first.time < LONG_GAP_NS
    )


def _draw_crossing(canvas: _Canvas, story: Story, first: LadderRow, second: LadderRow) -> None:
    """Draw two arrows that cross, with the states of RFC 9293 figures 7 and 13.

    In the table the first segment has arrived before the second was sent: then it could not be known better.
    """
    lines, more_lines = (words.notes(story, row, canvas.translate) for row in (first, second))
    tail = canvas.y + 35
    second_tail = tail + max(34, 14 * len(lines) + 6)
    tip = second_tail + 42
    for row, start, beside in ((first, tail, lines), (second, second_tail, more_lines)):
        _draw_margins(canvas, story, row, start, beside)
        x, side = (CLIENT_X + 14, "") if row.sender == "client" else (SERVER_X - 14, "e ")
        canvas.text(x, start - 20, f"{side}b", words.label(story, row))
        canvas.text(x, start - 6, f"{side}q", words.raw_numbers(story, row, canvas.translate))
        _draw_arrow(canvas, row, start, tip)
    canvas.state(first.sender, first.states[first.sender], tail + 4)
    sent = second.states[second.sender]
    canvas.state(second.sender, {"SYN-RECEIVED": "SYN-SENT", "CLOSING": "FIN-WAIT-1"}.get(sent, sent), second_tail + 4)
    for end, name in second.states.items():
        canvas.state(end, name, tip + 4)
    canvas.time = second.time
    canvas.advance(max(tip + 14, second_tail + 14 * len(more_lines)) - canvas.y)


def _draw_margins(canvas: _Canvas, story: Story, row: LadderRow, y: int, lines: Sequence[tuple[str, str]]) -> None:
    canvas.text(TIME_X, y - 1, "e", _seconds(row.time - story.start))
    canvas.text(TIME_X, y + 12, "e q", canvas.translate("frame {frame}").format(frame=row.frame))
    for line, (classes, note) in enumerate(lines):
        canvas.text(NOTE_X, y - 1 + 14 * line, classes, note)


def _draw_arrow(canvas: _Canvas, row: LadderRow, tail: int, tip: int) -> None:
    """Draw a slanted line with its head; dashed for a retransmission, which the head must not be."""
    x1, x2, back = _course(row.sender)
    slope = (tip - tail) / (x2 - x1)  # the head lies in the line
    line = f"M{x1} {tail}L{x2} {tip}"
    head = f"M{x2} {tip}L{x2 + back} {tip + back * slope - 4.5:.1f}v9z"
    problem = any(name not in BENIGN_ANOMALIES for name in row.anomalies) or row.has("RST")
    kind = "x" if problem else "h" if row.role else "a"
    if row.retransmission:
        canvas.path(f"{kind} d", line)
        canvas.path(kind, head)
    else:
        canvas.path(kind, line + head)  # a line has no area, so that filling the path fills the head alone


def _course(sender: str) -> tuple[int, int, int]:
    """Where an arrow begins and ends, and which way is back."""
    return (CLIENT_X, SERVER_X, -10) if sender == "client" else (SERVER_X, CLIENT_X, 10)


def _draw_missing(canvas: _Canvas, step: Missing) -> None:
    """Draw a ghost of what was not captured; what never came gets no further than a cross."""
    x1, x2, back = _course(step.sender)
    tail, tip = canvas.y + 19, canvas.y + 19 + SLANT
    canvas.text(MIDDLE_X, tail - 6, "m q" if step.came else "m w", canvas.translate(step.label))
    if step.came:
        canvas.path("a n", f"M{x1} {tail}L{x2} {tip}")
        canvas.path("a", f"M{x2 + back} {tip - 5}L{x2} {tip}l{back} 4")
    else:
        middle = tail + SLANT // 2
        canvas.path("x n", f"M{x1} {tail}L{MIDDLE_X} {middle}")
        canvas.path("x", f"M{MIDDLE_X - 5} {middle - 5}l10 10m0-10l-10 10")
    canvas.advance(40)


def _draw_run(canvas: _Canvas, story: Story, run: Run) -> None:
    translate = canvas.translate
    if run.hidden:
        frames = {"first": run.first_frame, "last": run.last_frame}
        count = words.counted_segments(sum(run.segments), translate)
        _draw_remark(
            canvas,
            [
                translate("{segments} are not drawn here (frames {first}–{last})").format(segments=count, **frames),
                words.traffic(run, translate),
                translate("in Wireshark: {filter}").format(
                    filter=f"tcp.stream == {story.stream} && frame.number in {{{run.first_frame}..{run.last_frame}}}"
                ),
            ],
        )
    else:
        _draw_band(canvas, story, run)
    canvas.time = run.last_time


def _draw_band(canvas: _Canvas, story: Story, run: Run) -> None:
    """Fold a run of plain segments into one band."""
    y, translate = canvas.y + 5, canvas.translate
    canvas.parts.append(f'<rect class="f" x="{CLIENT_X}" y="{y}" width="{SERVER_X - CLIENT_X}" height="40" rx="3"/>')
    canvas.text(TIME_X, y + 12, "e", _seconds(run.time - story.start))
    canvas.text(TIME_X, y + 37, "e", _seconds(run.last_time - story.start))
    canvas.text(MIDDLE_X, y + 16, "m b", translate("{count} plain segments").format(count=f"{sum(run.segments):,}"))
    canvas.text(MIDDLE_X, y + 32, "m", words.traffic(run, translate))
    canvas.text(NOTE_X, y + 16, "q", translate("frames {first}–{last}").format(first=run.first_frame, last=run.last_frame))
    if run.pause >= LONG_GAP_NS:
        canvas.text(NOTE_X, y + 30, "q", translate("longest pause {time}").format(time=nanoseconds_text(run.pause)))
    for end, name in run.states.items():
        canvas.state(end, name, y + 24)
    canvas.advance(50)


def _draw_remark(canvas: _Canvas, lines: Sequence[str]) -> None:
    canvas.advance(6)
    for line in lines:
        canvas.text(MIDDLE_X, canvas.y + 13, "m q", line)
        canvas.advance(16, broken=True)
    canvas.advance(6)


def _draw_gap(canvas: _Canvas, item: Item) -> None:
    """Break the life lines where nothing was captured for long."""
    if isinstance(item, Missing):
        return
    gap, canvas.time = item.time - canvas.time, item.time
    if gap < LONG_GAP_NS:
        return
    canvas.advance(4)
    canvas.text(MIDDLE_X, canvas.y + 15, "m q", canvas.translate("{time} without a segment").format(time=nanoseconds_text(gap)))
    for x in (CLIENT_X, SERVER_X):
        canvas.path("l", f"M{x - 6} {canvas.y + 2}l12-4M{x - 6} {canvas.y + 24}l12-4")
    canvas.advance(22, broken=True)
    canvas.advance(6)


def _draw_network_error(canvas: _Canvas, story: Story) -> None:
    """Tell of an ICMP error that answered the SYN; it is no TCP segment and so has no row of its own."""
    connection = story.connection
    if "unreachable" in (connection.anomalies or "").split("+"):
        canvas.advance(4)
        canvas.text(MIDDLE_X, canvas.y + 15, "m", canvas.translate("an ICMP error answered the SYN (no TCP segment)"))
        canvas.text(NOTE_X, canvas.y + 15, "w", f"{PROBLEM_MARK} unreachable")
        canvas.state("client", connection.client_state, canvas.y + 15)
        canvas.state("server", connection.server_state, canvas.y + 15)
        canvas.advance(22)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.6f}".replace("-", MINUS)


def _xml(text: str) -> str:
    return escape(printable(text), quote=True)
