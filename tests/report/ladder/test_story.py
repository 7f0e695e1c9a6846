# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - texts have dashes
"""Which segments of a connection become rows of its ladder, and which are folded or left out."""

from __future__ import annotations

import pandas as pd

from pybridge.report.ladder.svg import ladder_svg, ladders
from pybridge.report.language import LANGUAGES
from tests.support.ladders import draw, parse
from tests.support.scenarios import MIDSTREAM, NORMAL, REFUSED, UNREACHABLE, tables, transfer


def test_long_transfer_is_folded() -> None:
    svg, texts = draw(transfer(300))
    assert "300 plain segments" in texts
    assert "→ 100 segments, 0 bytes\u2003← 200 segments, 200,000 bytes" in texts
    assert "frames 4–303" in texts
    assert "longest pause 3.00 s" in texts
    assert len(svg) < 8_000


def test_short_connections_are_not_folded() -> None:
    assert "9 plain segments" not in draw(transfer(9))[1]
    assert "10 plain segments" in draw(transfer(10))[1]


def test_rows_are_capped_with_a_note() -> None:
    svg, texts = draw(transfer(0, 5_000))
    assert sum(text.startswith("frame ") for text in texts) == 60
    assert "4,943 segments are not drawn here (frames 41–4983)" in texts
    assert "frame 5003" in texts, "the end of the connection is drawn"
    assert "in Wireshark: tcp.stream == 0 && frame.number in {41..4983}" in texts
    assert len(svg) < 60_000


def test_a_clock_that_steps_back_gives_negative_times() -> None:
    assert "−2.000000" in draw(NORMAL.replace("0.012   S", "-2   S"))[1]


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    segments, connections = tables(NORMAL, REFUSED, transfer(300, 200), MIDSTREAM, UNREACHABLE)
    shuffled = segments.sort_values("time", kind="stable")  # connections take turns in a capture
    streams = [3, 0, 2, 4, 1]
    for language in LANGUAGES:
        drawn = list(ladders(shuffled, connections, streams, language=language))
        assert drawn == [
            ladder_svg(segments[segments["stream"] == stream], connections.loc[stream], with_style=False, language=language)
            for stream in streams
        ]


def test_no_streams_give_no_ladders() -> None:
    assert list(ladders(*tables(), [])) == []
    assert list(ladders(pd.DataFrame(), pd.DataFrame(), [])) == []


def test_a_connection_without_segments_is_drawn() -> None:
    segments, connections = tables(REFUSED)
    parse(ladder_svg(segments.iloc[:0], connections.iloc[0]))
