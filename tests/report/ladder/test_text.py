# SPDX-License-Identifier: GPL-2.0-or-later
"""Ladders in Unicode characters, and as Mermaid and PlantUML."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pybridge.errors import OutputError
from pybridge.report.ladder import labels
from pybridge.report.ladder.drawing import Ladder
from pybridge.report.ladder.text import NARROWEST, ladder_text
from pybridge.tcp.vocabulary import STATES
from tests.support.scenarios import NORMAL, REFUSED, SIMULTANEOUS_CLOSE, UNANSWERED, UNREACHABLE, tables

SCENARIOS = [NORMAL, UNANSWERED, SIMULTANEOUS_CLOSE, REFUSED]


def text(scenario: str, width: int = 100) -> list[str]:
    segments, connections = tables(scenario)
    return ladder_text(segments, connections.iloc[0], width=width).splitlines()


HEADS = "▶◀▷◁"
"""Of arrows; the open ones are of SYNs that nobody answered."""


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("width", [NARROWEST, 80, 120, 200])
def test_a_ladder_is_as_wide_as_the_terminal_and_no_wider(scenario: str, width: int) -> None:
    lines = text(scenario, width)
    assert max(map(labels.width, lines)) <= width
    assert any(head in line for line in lines for head in HEADS), "there are arrows"
    assert max(map(labels.width, lines)) > width - 45


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_segment_has_an_arrow_in_its_direction(scenario: str) -> None:
    segments, _ = tables(scenario)
    drawn = ["client" if {*line} & {*"▶▷"} else "server" for line in text(scenario) if {*line} & {*HEADS}]
    assert drawn == segments["sender"].tolist()


def test_states_are_written_when_they_change() -> None:
    words = [word for line in text(NORMAL) for word in line.split() if word in STATES]
    assert words == [
        "SYN-SENT", "LISTEN", "ESTABLISHED", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "CLOSE-WAIT", "TIME-WAIT", "LAST-ACK",
        "CLOSED",
    ]  # fmt: skip


def test_segments_that_passed_each_other_have_the_states_of_rfc_9293() -> None:
    lines = text(SIMULTANEOUS_CLOSE)
    fins = [line for line in lines if "FIN-WAIT-1" in line]
    assert [("▶" in line, "◀" in line) for line in fins] == [(True, False), (False, True)]
    assert any(line.split().count("CLOSING") == 2 for line in lines)


def test_a_retransmission_is_dashed_after_the_time_that_its_sender_waited() -> None:
    lines = text("""
        0     C SYN 100
        1     C SYN 100
        1.01  S SYN-ACK 300 101
    """)
    assert ["╌" in line for line in lines if {*line} & {*HEADS}] == [False, True, False]
    assert any("waited 1.00 s" in line and "┊" in line for line in lines)


def test_a_syn_that_nobody_answered_ends_before_the_other_end() -> None:
    lines = text(UNANSWERED)
    assert sum("▷  " in line for line in lines) == 4
    assert not any("▶" in line for line in lines)
    assert sum("✗╌" in line for line in lines) == 1


def test_on_a_wide_terminal_notes_stand_beside_the_arrows() -> None:
    narrow, wide = text(REFUSED, 80), text(REFUSED, 130)
    assert any("│" in line.partition("connection-refused")[2] for line in narrow if "connection-refused" in line)
    assert not any("│" in line.partition("connection-refused")[2] for line in wide if "connection-refused" in line)


def hostile() -> tuple[pd.DataFrame, pd.DataFrame]:
    segments, connections = tables(REFUSED)
    evil = '\x1b[31m\n%getenv("HOME") <script> ; # --a-- //b// [[http://c d]] **e**'
    return segments.replace({"source": {"10.0.0.1": evil}}), connections.assign(client=evil)


def test_an_icmp_error_is_a_remark() -> None:
    assert any("ICMP error answered the SYN" in line for line in text(UNREACHABLE))
    segments, connections = tables(UNREACHABLE)
    assert "ICMP error" in Ladder(segments, connections.iloc[0]).written("puml")


def test_control_characters_of_a_capture_are_escaped_in_every_form() -> None:
    segments, connections = hostile()
    ladder = Ladder(segments, connections.iloc[0])
    for form in ("txt", "mmd", "puml", "svg"):
        assert "\x1b" not in ladder.written(form)
    assert not any("\x1b" in piece.text or "\n" in piece.text for line in ladder.lines() for piece in line)
    assert not any(markup in ladder.written("puml") for markup in ("%getenv", "--a--", "//b//", "[[", "**e**"))
    assert "<script>" not in ladder.written("puml") + ladder.written("mmd")
    assert all(line.startswith("    ") for line in ladder.written("mmd").splitlines()[1:])


def test_mermaid_has_a_message_for_each_segment() -> None:
    segments, connections = tables(UNANSWERED)
    lines = Ladder(segments, connections.iloc[0]).written("mmd").splitlines()
    assert lines[0] == "sequenceDiagram"
    sent = [line.strip() for line in lines if "SYN]" in line]
    assert sent[0] == "C-xS: 0.000000 · [SYN] Seq=0 Len=0", "nobody answered it"
    assert [line.partition(":")[0] for line in sent[1:]] == ["C--xS"] * 3
    assert "    Note over C,S: waited 1.00 s" in lines
    assert "    S--xC: no answer to the SYN" in lines
    assert "    Note left of C: SYN-SENT" in lines


def test_plantuml_begins_and_ends_as_it_must() -> None:
    segments, connections = tables(REFUSED)
    lines = Ladder(segments, connections.iloc[0]).written("puml").splitlines()
    assert (lines[0], lines[-1]) == ("@startuml", "@enduml")
    assert "C -> S : 0.000000 · [SYN] Seq=0 Len=0" in lines
    assert lines[lines.index("note left of C : SYN-SENT") + 1] == "/ note right of S : LISTEN", "on the same height"


def test_a_plain_segment_has_no_note() -> None:
    segments, connections = tables(NORMAL)
    notes = [line for line in Ladder(segments, connections.iloc[0]).written("mmd").splitlines() if "Note" in line]
    assert not [note for note in notes if note.endswith(": ")]
    assert any("<br/>" in note for note in notes), "one remark a line, else Mermaid draws them beyond their box"


def test_a_ladder_is_saved_by_its_ending(tmp_path: Path) -> None:
    segments, connections = tables(REFUSED)
    ladder = Ladder(segments, connections.iloc[0])
    begins = {"svg": "<svg", "txt": "   ", "mmd": "sequenceDiagram", "puml": "@startuml"}
    for form, begin in begins.items():
        ladder.save(tmp_path / f"x.{form}")
        assert (tmp_path / f"x.{form}").read_text(encoding="utf-8").startswith(begin)
    with pytest.raises(OutputError, match=r"x\.png has an ending that stands for no form of a ladder"):
        ladder.save(tmp_path / "x.png")
