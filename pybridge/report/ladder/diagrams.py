# SPDX-License-Identifier: GPL-2.0-or-later
"""Ladders as text that Mermaid and PlantUML draw, for wikis, issues and documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pybridge.report.ladder import labels
from pybridge.report.ladder.missing import Missing, with_missing
from pybridge.report.ladder.story import LadderRow, Run, Story
from pybridge.report.ladder.svg import LONG_GAP, seconds
from pybridge.report.language import Translate
from pybridge.text import printable

_PLANTUML_MARKUP = re.compile(r'[<>~*_"%$!\\]|(?<=-)-|(?<=/)/|(?<=\[)\[')
"""What PlantUML would take for markup; % and $ are its preprocessor's."""


class Dialect(NamedTuple):
    """How one of the two languages writes what a ladder has.

    Attributes
    ----------
    arrived, lost : str
        Heads of arrows.
    line_break : str
        Begins a new line of a text; boxes are as wide as the longest line.
    beside : str
        Begins a note on the same height as the one before.
    """

    first: str
    last: str
    participant: str
    arrived: str
    lost: str
    message: str
    note: str
    line_break: str
    beside: str
    escape: Callable[[str], str]


def _mermaid_text(text: str) -> str:
    return "".join(f"#{ord(letter)};" if letter in '#;<>"%{}&' else letter for letter in printable(text))


def _plantuml_text(text: str) -> str:
    return _PLANTUML_MARKUP.sub(lambda found: f"<U+{ord(found[0]):04X}>", printable(text))


MERMAID = Dialect(
    first="sequenceDiagram",
    last="",
    participant="    participant {short} as {name}",
    arrived=">>",
    lost="x",
    message="    {sender}{arrow}{receiver}: {text}",
    note="    Note {place}: {text}",
    line_break="<br/>",
    beside="",
    escape=_mermaid_text,
)
PLANTUML = Dialect(
    first="@startuml",
    last="@enduml",
    participant='participant "{name}" as {short}',
    arrived=">",
    lost=">x",
    message="{sender} {arrow} {receiver} : {text}",
    note="note {place} : {text}",
    line_break="\\n",
    beside="/ ",
    escape=_plantuml_text,
)

SHORT = {"client": "C", "server": "S"}
BOTH, BESIDE = "over C,S", {"client": "left of C", "server": "right of S"}


def diagram(story: Story, dialect: Dialect, translate: Translate) -> str:
    """Return a ladder as text in one of the two languages."""
    lines = [dialect.first]
    for end, head in zip(SHORT, labels.heads(story.connection), strict=True):
        name = _text(dialect, [translate(end), head])
        lines.append(dialect.participant.format(short=SHORT[end], name=name))
    states: dict[str, str] = {}
    time = story.start
    for item in with_missing(story):
        if not isinstance(item, Missing):
            gap, time = item.time - time, item.last_time if isinstance(item, Run) else item.time
            if gap >= LONG_GAP:
                lines.append(_note(dialect, BOTH, [labels.gap(item, gap, translate)[0]]))
        lines += _lines(story, item, dialect, translate)
        if isinstance(item, Missing):
            continue
        changed = {end: state for end, state in item.states.items() if state and state != states.get(end)}
        states |= changed
        for place, (end, state) in enumerate(changed.items()):
            lines.append((dialect.beside if place else "") + _note(dialect, BESIDE[end], [state]))
    if "unreachable" in (story.connection.anomalies or "").split("+"):
        lines.append(_note(dialect, BOTH, [translate("an ICMP error answered the SYN (no TCP segment)")]))
    return "\n".join([*lines, *([dialect.last] if dialect.last else [])]) + "\n"


def _lines(story: Story, item: LadderRow | Run | Missing, dialect: Dialect, translate: Translate) -> Iterator[str]:
    if isinstance(item, Run):
        if item.hidden:
            yield _note(dialect, BOTH, labels.hidden_segments(story, item, translate))
        else:
            count = translate("{count} plain segments").format(count=f"{sum(item.segments):,}")
            yield _note(dialect, BOTH, [count, *labels.traffic(item, translate).split("\u2003")])
        return
    if isinstance(item, Missing):
        dashed, lost, text = True, not item.came, translate(item.label)
    else:
        dashed, lost = item.retransmission, labels.was_unanswered(story, item)
        text = f"{seconds(item.time - story.start)} · {labels.label(story, item)}"
    yield dialect.message.format(
        sender=SHORT[item.sender],
        arrow=("--" if dashed else "-") + (dialect.lost if lost else dialect.arrived),
        receiver=SHORT["server" if item.sender == "client" else "client"],
        text=dialect.escape(text),
    )
    if isinstance(item, LadderRow) and (beside := [note for _, note in labels.notes(story, item, translate) if note]):
        yield _note(dialect, BOTH, beside)


def _note(dialect: Dialect, place: str, lines: list[str]) -> str:
    return dialect.note.format(place=place, text=_text(dialect, lines))


def _text(dialect: Dialect, lines: list[str]) -> str:
    return dialect.line_break.join(dialect.escape(line.replace("\u2003", " ")) for line in lines)
