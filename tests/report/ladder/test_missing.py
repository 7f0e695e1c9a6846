# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that the capture does not hold are drawn where they must have been, and only those."""

from __future__ import annotations

import re

import pytest

from tests.support.ladders import SVG, draw, parse
from tests.support.scenarios import (
    FIN_ACKNOWLEDGED,
    FOUR_WAY,
    HALF_CLOSED,
    HALF_OPEN,
    HANDSHAKE,
    MIDSTREAM,
    MISMATCH,
    NORMAL,
    REFUSED,
    SIMULTANEOUS_CLOSE,
    SIMULTANEOUS_OPEN,
    UNACKNOWLEDGED,
    UNANSWERED,
    UNREACHABLE,
    transfer,
)

MISSING = {
    "SYN not captured", "SYN-ACK not captured", "third step not captured",
    "no answer to the SYN", "no third step", "no acknowledgement of the FIN",
}  # fmt: skip
COMPLETE = {
    "normal": NORMAL,
    "refused": REFUSED,
    "unreachable": UNREACHABLE,
    "simultaneous open": SIMULTANEOUS_OPEN,
    "simultaneous close": SIMULTANEOUS_CLOSE,
    "midstream": MIDSTREAM,
    "mismatch": MISMATCH,
    "transfer": transfer(),
    "four-way": FOUR_WAY,
    "FIN acknowledged": FIN_ACKNOWLEDGED,
}


def missing(scenario: str) -> list[str]:
    """Return what is drawn as missing."""
    return [text for text in draw(scenario)[1] if text in MISSING]


def test_what_never_came_is_drawn_where_the_connection_stopped() -> None:
    svg, texts = draw(UNANSWERED)
    assert missing(UNANSWERED) == ["no answer to the SYN"]
    assert texts.index("no answer to the SYN") > texts.index("7.100000")
    assert len(re.findall(r'class="problem missing"', svg)) == 1
    assert missing(HALF_OPEN) == ["no third step"]
    assert missing(HALF_CLOSED) == missing(UNACKNOWLEDGED) == ["no acknowledgement of the FIN"]


@pytest.mark.parametrize(
    ("scenario", "label", "following"),
    [
        (
            """
            0.012   S SYN-ACK 300 101
            0.0121  C ACK 101 301
            """,
            "SYN not captured",
            "[SYN, ACK] Seq=0 Ack=0 Len=0",
        ),
        (
            """
            0       C SYN 100
            0.0121  C ACK 101 301
            """,
            "SYN-ACK not captured",
            "[ACK] Seq=1 Ack=0 Len=0",
        ),
        (
            """
            0       C SYN 100
            0.02    S PSH 301 101 +20
            """,
            "SYN-ACK not captured",
            "[PSH, ACK] Seq=0 Ack=1 Len=20",
        ),
        (
            """
            0       C SYN 100
            0.012   S SYN-ACK 300 101
            0.02    S PSH 301 101 +20
            """,
            "third step not captured",
            "[PSH, ACK] Seq=1 Ack=1 Len=20",
        ),
    ],
    ids=["SYN", "SYN-ACK before an ACK", "SYN-ACK before data", "third step"],
)
def test_what_was_not_captured_is_drawn_where_it_must_have_been(scenario: str, label: str, following: str) -> None:
    svg, texts = draw(scenario)
    assert missing(scenario) == [label]
    assert texts.index(label) < texts.index(following)
    assert label in (parse(svg).findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize("name", COMPLETE)
def test_nothing_is_missing_that_need_not_be_there(name: str) -> None:
    assert missing(COMPLETE[name]) == []


@pytest.mark.parametrize(
    "scenario",
    [
        """
        0.012   S SYN-ACK 300 101
        0.0122  C SYN 100
        0.0123  C ACK 101 301
        """,
        """
        0       C SYN 100
        0.0121  C ACK 101 301
        0.0122  S SYN-ACK 300 101
        """,
        """
        0       C SYN 100
        0.012   S SYN-ACK 300 101
        0.0125  S PSH 301 101 +20
        0.0126  C ACK 101 301
        """,
    ],
    ids=["SYN", "SYN-ACK", "third step"],
)
def test_what_was_captured_late_is_not_missing(scenario: str) -> None:
    assert missing(scenario) == []


def test_a_fin_that_was_acknowledged_once_is_not_missing_it() -> None:
    assert missing(FOUR_WAY + "2 S FIN 301 102") == []


def test_what_is_not_drawn_is_not_called_missing() -> None:
    syn, syn_ack, third = HANDSHAKE.strip().splitlines()
    marked = [f"{10 + number * 0.01:.2f} C NONE 5" for number in range(200)]
    late = syn_ack.replace("0.012 ", "10.965")
    assert missing("\n".join([syn, third, *marked[:97], late, *marked[97:]])) == []
