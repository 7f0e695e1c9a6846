# SPDX-License-Identifier: GPL-2.0-or-later
"""Ladder diagrams of TCP connections in Unicode characters, for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import pandas as pd

from pybridge.report.explanations import PROBLEM_MARK
from pybridge.report.ladder import labels
from pybridge.report.ladder.missing import Missing, with_missing
from pybridge.report.ladder.story import LadderRow, Run, Story, stories
from pybridge.report.ladder.svg import LONG_GAP, STATE_BEFORE_CROSSING, passed_each_other, seconds
from pybridge.report.language import Language, translator
from pybridge.tcp.vocabulary import BENIGN_ANOMALIES
from pybridge.text import printable

Style = Literal["", "bold", "role", "problem", "small"]

NARROWEST = 72
"""Columns below which a ladder is not drawn narrower."""

STATE = 12
"""Columns of the longest state, ESTABLISHED or SYN-RECEIVED."""

NOTES = 30
"""Columns for what stands beside an arrow, where the terminal has them."""

WITH_NOTES = 110
"""Columns from which on notes stand beside the arrows, not below their labels."""


class Piece(NamedTuple):
    """A piece of a line, and how it looks."""

    text: str
    style: Style = ""


Line = list[Piece]


def ladder_lines(
    segments: pd.DataFrame, connection: pd.Series[Any], *, width: int = 100, language: Language = "en"
) -> Iterator[Line]:
    """Draw one connection as a ladder: client left, server right, time runs down.

    Parameters
    ----------
    segments, connection, language
        As of `svg.ladder_svg`.
    width : int
        Columns of the terminal.

    Yields
    ------
    list of Piece
        A line; no piece has control characters.
    """
    table = connection.to_frame().T.infer_objects()
    (story,) = stories(segments, table, table.index.tolist())
    drawing = _Drawing(story, max(width, NARROWEST), language)
    drawing.draw()
    for line in drawing.lines:
        yield [Piece(printable(piece.text), piece.style) for piece in line]


def ladder_text(segments: pd.DataFrame, connection: pd.Series[Any], *, width: int = 100, language: Language = "en") -> str:
    """Return the lines of `ladder_lines` as one text without styles."""
    lines = ladder_lines(segments, connection, width=width, language=language)
    return "".join("".join(piece.text for piece in line).rstrip() + "\n" for line in lines)


@dataclass
class _Drawing:
    """The lines so far; `states` are those that were written last, `time` is that of the latest segment."""

    story: Story
    width: int
    language: Language
    lines: list[Line] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    time: int = 0

    def __post_init__(self) -> None:
        self.translate = translator(self.language)
        frames = [labels.width(self._frame(item.frame)) for item in self.story.items if isinstance(item, LadderRow)]
        self.time_width = max(8, len(seconds(self._last_time() - self.story.start)), *frames)
        self.with_notes = self.width >= WITH_NOTES
        self.between = self.width - self.time_width - 2 * (STATE + 3) - 1 - ((NOTES + 2) if self.with_notes else 0)

    def _last_time(self) -> int:
        return max((item.time for item in self.story.items), default=self.story.start)

    def draw(self) -> None:
        """Draw the whole ladder."""
        self._heads()
        items = with_missing(self.story)
        self.time = self.story.start
        remaining = zip_longest(items, items[1:])
        for item, following in remaining:
            self._gap(item)
            if isinstance(item, Missing):
                self._missing(item)
            elif isinstance(item, Run):
                self._run(item)
            elif isinstance(following, LadderRow) and passed_each_other(item, following):
                self._crossing(item, following)
                next(remaining)
            else:
                self._row(item, item.states)
        if not items:
            self._middle(self.translate("No segment of this connection is in the table."))
        if "unreachable" in (self.story.connection.anomalies or "").split("+"):
            self._states(self.story.connection.client_state, self.story.connection.server_state)
            self._middle(self.translate("an ICMP error answered the SYN (no TCP segment)"))
            self._middle(f"{PROBLEM_MARK} unreachable", "problem")

    def _heads(self) -> None:
        client, server = labels.heads(self.story.connection)
        names: tuple[tuple[str, str, Style], ...] = (
            (self.translate("client"), self.translate("server"), "small"),
            (client, server, "bold"),
        )
        left = self.time_width + STATE + 3
        for one, other, style in names:
            if labels.width(one) + labels.width(other) + 2 > self.width - left:
                self.lines += [[Piece(" " * left), Piece(one, style)], [Piece(f"{other:>{left + self.between + 2}}", style)]]
                continue
            room = max(self.between + 2 - labels.width(one) - labels.width(other), 2)
            self.lines.append([Piece(" " * left), Piece(one + " " * room + other, style)])

    def _rung(self, middle: Sequence[Piece], *, time: str = "", client: str = "", server: str = "", note: Piece | None = None,
              bar: str = "│") -> None:  # fmt: skip
        """Add a line: time, state of the client, what is between both ends, state of the server, note."""
        taken = sum(labels.width(piece.text) for piece in middle)
        line = [
            Piece(" " * (self.time_width - labels.width(time)) + f"{time} ", "small"),
            Piece(f" {client:>{STATE}} ", "bold"),
            Piece(bar, "small"),
            *middle,
            Piece(" " * max(self.between - taken, 0)),
            Piece(bar, "small"),
            Piece(f" {server:<{STATE}} ", "bold"),
        ]
        self.lines.append([*line, Piece(" "), note] if note else line)

    def _middle(self, text: str, style: Style = "small", *, bar: str = "│") -> None:
        for line in _wrapped(text, self.between - 2):
            self._rung([Piece(_centred(line, self.between), style)], bar=bar)

    def _row(self, row: LadderRow, states: dict[str, str]) -> None:
        notes = [(text, _style_of(kind)) for kind, text in labels.notes(self.story, row, self.translate)]
        beside = [Piece(text, style) for text, style in notes] if self.with_notes else []
        if row.role:
            self._rung([])
        label = Piece(_centred(labels.label(self.story, row), self.between), "bold" if row.role else "")
        self._rung([label], note=beside.pop(0) if beside else None)
        client, server = (self._changed(end, states) for end in ("client", "server"))
        self._rung(
            [_arrow(self.story, row, self.between)],
            time=seconds(row.time - self.story.start), client=client, server=server, note=beside.pop(0) if beside else None,
        )  # fmt: skip
        frame = self._frame(row.frame)
        style: Style = "problem" if _is_problem(row) else "small"
        for line in [] if self.with_notes else _wrapped(" · ".join(text for text, _ in notes), self.between - 2):
            self._rung([Piece(_centred(line, self.between), style)], time=frame)
            frame = ""
        for note in beside:
            self._rung([], time=frame, note=note)
            frame = ""
        if frame and row.role:
            self._rung([], time=frame)

    def _crossing(self, first: LadderRow, second: LadderRow) -> None:
        """Draw two segments that passed each other, with the states of RFC 9293 figures 7 and 13."""
        self._row(first, {first.sender: first.states[first.sender]})
        sent = second.states[second.sender]
        self._row(second, {second.sender: STATE_BEFORE_CROSSING.get(sent, sent)})
        self._states(second.client_state, second.server_state)
        self.time = second.time

    def _states(self, client: str, server: str) -> None:
        both = {"client": client, "server": server}
        client, server = (self._changed(end, both) for end in ("client", "server"))
        if client or server:
            self._rung([], client=client, server=server)

    def _frame(self, frame: int) -> str:
        return self.translate("frame {frame}").format(frame=frame)

    def _changed(self, end: str, states: dict[str, str]) -> str:
        """Return the state of an end if it is another than before."""
        state = states.get(end, "")
        if not state or state == self.states.get(end):
            return ""
        self.states[end] = state
        return state

    def _missing(self, step: Missing) -> None:
        self._middle(self.translate(step.label), "small" if step.came else "problem")
        if step.came:
            line = "╌" * (self.between - 1)
            arrow = f"{line}>" if step.sender == "client" else f"<{line}"
            self._rung([Piece(arrow, "small")])
        else:
            half = self.between // 2
            arrow = "╌" * half + "✗" if step.sender == "client" else " " * (self.between - half - 1) + "✗" + "╌" * half
            self._rung([Piece(arrow, "problem")])

    def _run(self, run: Run) -> None:
        if run.hidden:
            for text in labels.hidden_segments(self.story, run, self.translate):
                self._middle(text, bar="┊")
        else:
            count = self.translate("{count} plain segments").format(count=f"{sum(run.segments):,}")
            self._rung([Piece(_centred(count, self.between), "bold")], time=seconds(run.time - self.story.start), bar="┃")
            self._middle(labels.traffic(run, self.translate), bar="┃")
            frames = self.translate("frames {first}–{last}").format(first=run.first_frame, last=run.last_frame)  # noqa: RUF001
            self._rung([Piece(_centred(frames, self.between), "small")], time=seconds(run.last_time - self.story.start), bar="┃")
            self._states(run.client_state, run.server_state)
        self.time = run.last_time

    def _gap(self, item: LadderRow | Run | Missing) -> None:
        if isinstance(item, Missing):
            return
        gap, self.time = item.time - self.time, item.time
        if gap >= LONG_GAP:
            self._middle(labels.gap(item, gap, self.translate)[0], bar="┊")


def _arrow(story: Story, row: LadderRow, width: int) -> Piece:
    """Return an arrow; it is dashed for a retransmission, and ends before the other end if nobody answered it."""
    style: Style = "problem" if _is_problem(row) else "role" if row.role else "small"
    if labels.was_unanswered(story, row):
        line = "╌" * (width * 4 // 5 - 1)
        return Piece(f"{line}▷".ljust(width) if row.sender == "client" else f"◁{line}".rjust(width), style)
    line = ("╌" if row.retransmission else "─") * (width - 1)
    return Piece(f"{line}▶" if row.sender == "client" else f"◀{line}", style)


def _is_problem(row: LadderRow) -> bool:
    return any(name not in BENIGN_ANOMALIES for name in row.anomalies) or row.has("RST")


def _style_of(kind: str) -> Style:
    return {"bold": "bold", "warning": "problem"}.get(kind, "small")  # type: ignore[return-value]


def _centred(text: str, width: int) -> str:
    return " " * max((width - labels.width(text)) // 2, 0) + text


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text at spaces into lines that are not wider, except for single words."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and labels.width(f"{lines[-1]} {word}") > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return [line for line in lines if line]
