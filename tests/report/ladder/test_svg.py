# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - texts have dashes
"""How a ladder is drawn: states, arrows, phases, languages; its style does not affect the page around it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

import pybridge
from pybridge.report.ladder.svg import ladder_svg
from pybridge.report.language import LANGUAGES, Language
from tests.support.ladders import SVG, draw, parse
from tests.support.scenarios import (
    FOUR_WAY,
    HALF_CLOSED,
    HALF_OPEN,
    MIDSTREAM,
    MISMATCH,
    NORMAL,
    REFUSED,
    SIMULTANEOUS_CLOSE,
    SIMULTANEOUS_OPEN,
    UNACKNOWLEDGED,
    UNANSWERED,
    UNREACHABLE,
    renamed,
    tables,
    transfer,
)
from tools.goldens.listing import find


def states(svg: str) -> tuple[list[str], list[str]]:
    """Return the states beside the life lines of client and server."""
    found: tuple[list[str], list[str]] = ([], [])
    for element in parse(svg).iter(f"{SVG}text"):
        classes = (element.get("class") or "").split()
        if "state" in classes:
            found["end" not in classes].append(element.text or "")
    return found


def arrows(svg: str) -> list[tuple[float, float, float, float]]:
    """Return both ends of each arrow, from its tail."""
    paths = [element.get("d") or "" for element in parse(svg).iter(f"{SVG}path")]
    found = [re.match(r"M(\d+) (\d+)L(\d+) (\d+)M", path) for path in paths]
    return [(float(one[1]), float(one[2]), float(one[3]), float(one[4])) for one in found if one]


def test_states_are_written_where_they_change_only() -> None:
    client, server = states(draw(NORMAL)[0])
    assert client == ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "TIME-WAIT"]
    assert server == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_drawn_over_something_else(language: Language) -> None:
    """Texts of one column have room: no two baselines closer than 12, and all within the picture."""
    for scenario in (
        NORMAL,
        REFUSED,
        UNANSWERED,
        SIMULTANEOUS_OPEN,
        SIMULTANEOUS_CLOSE,
        HALF_OPEN,
        FOUR_WAY,
        HALF_CLOSED,
        MIDSTREAM,
        MISMATCH,
        transfer(),
        transfer(300, 200),
        UNREACHABLE,
    ):
        root = parse(draw(scenario, language)[0])
        height = float(root.get("height", "0"))
        columns: dict[str, list[float]] = {}
        for element in root.iter(f"{SVG}text"):
            columns.setdefault(element.get("x", ""), []).append(float(element.get("y", "0")))
        for baselines in columns.values():
            assert all(later - earlier >= 12 for earlier, later in pairwise(sorted(baselines)))
            assert max(baselines) < height
        beside_addresses = {element.text for element in root.iter(f"{SVG}text") if element.get("y") == "32"}
        assert not {"time / s", "时间 / s"} & beside_addresses, "long addresses reach there"


def test_retransmissions_are_dashed_and_long_gaps_folded() -> None:
    svg, texts = draw(UNANSWERED)
    assert texts.count("▲ syn-retransmission") == 3
    assert len(re.findall(r'<path class="problem unanswered" d="M\d+ \d+L', svg)) == 3, (
        "they end before the server: nobody answered"
    )
    assert [text for text in texts if "waited" in text] == [f"waited {gap} s" for gap in ("1.00", "2.00", "4.10")]
    assert len(re.findall(r'<path class="problem unanswered" d="M\d+ \d+h', svg)) == 3, "brackets"
    assert "7.100000" in texts
    assert "◆ server-silent" in texts


def test_an_answered_syn_arrives_and_its_repetition_is_dashed() -> None:
    svg, texts = draw("""
        0     C SYN 100
        1     C SYN 100
        1.01  S SYN-ACK 300 101
        1.02  C ACK 101 301
    """)
    assert len(re.findall(r'<path class="problem retransmission"', svg)) == 1
    assert "unanswered" not in re.findall(r'class="[^"]*" d="M\d+ \d+L', svg)
    assert "◆ syn-lost" in texts


def test_equal_resets_are_folded_and_a_reset_says_when_it_came() -> None:
    _, texts = draw("""
        0     C SYN 100
        0.01  S SYN-ACK 300 101
        0.02  C ACK 101 301
        0.03  C PSH 101 301 +10
        0.04  S RST 301
        0.05  S RST 301
        0.06  S RST 301
        0.07  S RST 301
        0.08  S RST 301
        0.09  S RST 301
        0.10  S RST 301
        0.11  S RST 301
        0.12  S RST 301
        0.13  S RST 301
    """)
    assert "reset in mid-connection" in texts
    assert "9 more resets" in texts
    assert "◆ no-such-connection" in texts


@pytest.mark.parametrize(("scenario", "first"), [(SIMULTANEOUS_OPEN, 0), (SIMULTANEOUS_CLOSE, 3)], ids=["open", "close"])
def test_segments_that_passed_each_other_cross(scenario: str, first: int) -> None:
    crossing, crossed = arrows(draw(scenario)[0])[first : first + 2]
    assert crossing[0] == crossed[2]
    assert crossing[2] == crossed[0]
    assert crossing[1] < crossed[1] < crossing[3], "the second leaves before the first arrives"
    assert crossing[1] < crossed[3]


def test_segments_one_after_the_other_do_not_cross() -> None:
    drawn = arrows(draw(FOUR_WAY)[0])
    assert len(drawn) == 7
    assert all(earlier[3] < later[1] for earlier, later in pairwise(drawn))


def test_a_fin_long_after_the_other_does_not_cross_it() -> None:
    drawn = arrows(draw(re.sub(r"0(\.50[123])", r"1\1", SIMULTANEOUS_CLOSE))[0])
    assert drawn[3][3] < drawn[4][1]


def test_in_a_simultaneous_close_both_ends_pass_through_closing() -> None:
    client, server = states(draw(SIMULTANEOUS_CLOSE)[0])
    assert client[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]
    assert server[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"], "CLOSE-WAIT was said before the second FIN was seen"


def test_in_a_simultaneous_open_both_sent_a_syn() -> None:
    client, server = states(draw(SIMULTANEOUS_OPEN)[0])
    assert client == ["CLOSED", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]
    assert server == ["LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]


def test_phases_are_marked() -> None:
    _, texts = draw(FOUR_WAY)
    assert {"three-way handshake", "four-way close", "active close", "passive close"} <= set(texts)
    assert "half-close: server can still send" in texts
    assert "simultaneous open" in draw(SIMULTANEOUS_OPEN)[1]
    assert not {"three-way handshake", "close"} & set(draw(MIDSTREAM)[1])


def test_a_note_says_that_the_opening_was_not_captured() -> None:
    assert "the opening was not captured" in draw(MIDSTREAM)[1]
    assert "the opening was not captured" not in draw(NORMAL)[1]


def test_hostile_text_is_escaped() -> None:
    nasty = 'x"><script>alert(1)</script>\x00\u202e'
    segments, connections = renamed(tables(NORMAL), nasty, "]]>&amp;--><style>")
    segments["tcp_flags"] = "<b>"
    segments["anomaly"] = "</svg><script>"
    svg = ladder_svg(segments, connections.iloc[0])
    parse(svg)
    assert "<script" not in svg
    assert "<b>" not in svg
    assert svg.count("<style>") == 1


def test_can_be_put_into_one_page_many_times() -> None:
    svg, _ = draw(NORMAL)
    assert not re.search(r'\b(id|href|src)="|url\(|@import', svg)
    style = svg[svg.index("<style>") + 7 : svg.index("</style>")]
    selectors = re.findall(r"(?:^|[{}])\s*([^{}@]+)\{", style)
    assert selectors
    assert all(".tcp-ladder" in selector for selector in selectors), "no rule may reach the page around it"


def test_braces_in_names_are_no_places_for_values() -> None:
    for language in LANGUAGES:
        assert "{stream}:50000" in draw(renamed(tables(NORMAL), "{stream}", "{0}{x"), language)[1]


def test_in_chinese_only_names_stay() -> None:
    _, texts = draw(FOUR_WAY, "zh")
    assert {"SYN · 三次握手 1/3", "FIN · 四次挥手 1/4", "主动关闭", "被动关闭", "三次握手", "四次挥手"} <= set(texts)
    assert "半关闭：服务器仍可发送数据" in texts
    assert {"[SYN, ACK] Seq=0 Ack=1 Len=0", "FIN-WAIT-2"} <= set(texts)
    assert "▲ connection-refused" in draw(REFUSED, "zh")[1]
    names = {"SYN", "ACK", "FIN", "RST", "PSH", "HANDSHAKE", "OF"}
    for scenario in (NORMAL, UNACKNOWLEDGED, UNANSWERED, HALF_OPEN, MIDSTREAM, transfer(300, 200), UNREACHABLE):
        svg, texts = draw(scenario, "zh")
        notes = [text for text in texts if re.search("[\u4e00-\u9fff]", text)]
        words = {word for text in notes for word in re.findall("[A-Za-z]{2,}", text)}
        assert words <= names | {"ICMP", "TCP", "Wireshark", "tcp", "stream", "frame", "number", "in", "ms", "µs"}
        assert 'lang="zh-Hans"' in svg


@pytest.mark.tshark
def test_a_capture_draws_in_either_language() -> None:
    capture = pybridge.read(find("article-wget.pcapng"))
    assert "three-way handshake" in capture.ladder(0)
    assert "三次握手" in capture.ladder(0, language="zh")
    with pytest.raises(ValueError, match="one of en, zh"):
        capture.ladder(0, language="fr")  # type: ignore[arg-type]
