# SPDX-License-Identifier: GPL-2.0-or-later
"""Ladders as text that Mermaid and PlantUML draw, for wikis, issues and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pybridge.report.ladder import labels
from pybridge.report.ladder.missing import Missing, with_missing
from pybridge.report.ladder.story import LadderRow, Run, Story
from pybridge.report.language import Translate
from pybridge.text import printable

Escape = Callable[[str], str]


class Dialect(NamedTuple):
    """How one of the two languages writes what a ladder has.

    Attributes
    ----------
    solid, dashed, lost : str
        Arrows: of a segment, of a retransmission or a step that was not captured, of a step that never came.
    """

    first: str
    last: str
    participant: str
    solid: str
    dashed: str
    lost: str
    message: str
    note: str
    escape: Escape


def _mermaid_text(text: str) -> str:
    return "".join(f"#{ord(letter)};" if letter in '#;<>"%{}&' else letter for letter in printable(text))


def _plantuml_text(text: str) -> str:
    """Escape what PlantUML would take for markup, and % and $, with which its preprocessor reads variables and files."""
    return "".join(f"<U+{ord(letter):04X}>" if letter in '<>~*_"%$!\\' else letter for letter in printable(text))


MERMAID = Dialect(
    first="sequenceDiagram",
    last="",
    participant="    participant {short} as {name}",
    solid="->>",
    dashed="-->>",
    lost="--x",
    message="    {sender}{arrow}{receiver}: {text}",
    note="    Note {place}: {text}",
    escape=_mermaid_text,
)
PLANTUML = Dialect(
    first="@startuml",
    last="@enduml",
    participant='participant "{name}" as {short}',
    solid="->",
    dashed="-->",
    lost="-->x",
    message="{sender} {arrow} {receiver} : {text}",
    note="note {place} : {text}",
    escape=_plantuml_text,
)

SHORT = {"client": "C", "server": "S"}
BOTH, BESIDE = "over C,S", {"client": "left of C", "server": "right of S"}


def diagram(story: Story, dialect: Dialect, translate: Translate) -> str:
    """Return a ladder as text in one of the two languages."""
    lines = [dialect.first]
    for end, head in zip(SHORT, labels.heads(story.connection), strict=True):
        name = dialect.escape(f"{translate(end)} {head}")
        lines.append(dialect.participant.format(short=SHORT[end], name=name))
    states: dict[str, str] = {}
    for item in with_missing(story):
        lines += _lines(story, item, dialect, translate)
        if isinstance(item, Missing):
            continue
        for end, state in item.states.items():
            if state and state != states.get(end):
                states[end] = state
                lines.append(dialect.note.format(place=BESIDE[end], text=dialect.escape(state)))
    if "unreachable" in (story.connection.anomalies or "").split("+"):
        lines.append(dialect.note.format(place=BOTH, text=translate("an ICMP error answered the SYN (no TCP segment)")))
    return "\n".join([*lines, *([dialect.last] if dialect.last else [])]) + "\n"


def _lines(story: Story, item: LadderRow | Run | Missing, dialect: Dialect, translate: Translate) -> Iterator[str]:
    if isinstance(item, Run):
        if item.hidden:
            texts = labels.hidden_segments(story, item, translate)
        else:
            texts = [translate("{count} plain segments").format(count=f"{sum(item.segments):,}"), labels.traffic(item, translate)]
        for text in texts:
            yield dialect.note.format(place=BOTH, text=dialect.escape(text.replace("\u2003", " ")))
        return
    receiver = "server" if item.sender == "client" else "client"
    if isinstance(item, Missing):
        arrow, text = dialect.dashed if item.came else dialect.lost, translate(item.label)
    else:
        arrow, text = dialect.dashed if item.retransmission else dialect.solid, labels.label(story, item)
    yield dialect.message.format(sender=SHORT[item.sender], arrow=arrow, receiver=SHORT[receiver], text=dialect.escape(text))
    if isinstance(item, LadderRow) and (beside := labels.notes(story, item, translate)):
        yield dialect.note.format(place=BOTH, text=dialect.escape(" · ".join(note for _, note in beside)))
