# SPDX-License-Identifier: GPL-2.0-or-later
"""What a ladder writes beside each segment."""

from __future__ import annotations

from tests.support.ladders import SVG, draw, parse
from tests.support.scenarios import (
    MIDSTREAM,
    MISMATCH,
    NORMAL,
    REFUSED,
    SIMULTANEOUS_CLOSE,
    UNACKNOWLEDGED,
    UNREACHABLE,
    only,
)


def test_normal_connection_with_merged_close() -> None:
    _svg, texts = draw(NORMAL)
    assert "[SYN] Seq=0 Len=0" in texts
    assert "[SYN, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "[FIN, ACK] Seq=268 Ack=144 Len=0" in texts
    assert "seq 2336326088 · ack 250118292 = 250118291 + 1" in texts
    assert "seq 2336326356 · ack 250118435 = 250118434 + 1" in texts
    assert {
        "SYN · 1/3",
        "SYN-ACK · 2/3",
        "HANDSHAKE-ACK · 3/3",
        "FIN · 1/4",
        "ACK-OF-FIN+FIN · 2+3/4",
        "ACK-OF-FIN · 4/4",
    } <= set(texts)
    assert not any("▲" in text or "without a segment" in text or "plain segments" in text for text in texts)


def test_the_row_that_completes_the_close_says_how_long_it_took() -> None:
    _, texts = draw(NORMAL)
    assert "teardown took 12.1 ms" in texts[texts.index("0.052100") :]
    assert not any("teardown took" in text for text in draw(UNACKNOWLEDGED)[1]), "no time is known"
    _, texts = draw(SIMULTANEOUS_CLOSE)
    assert "teardown took 3.00 ms" in texts[texts.index("0.503000") :]
    _, texts = draw(SIMULTANEOUS_CLOSE + "1.503 S ACK 11 102")
    assert texts.index("teardown took 3.00 ms") < texts.index("1.503000")


def test_refusal_is_marked_in_text_and_checked() -> None:
    _svg, texts = draw(REFUSED)
    assert "▲ connection-refused" in texts
    assert "[RST, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "seq 0 · ack 101 = 100 + 1" in texts
    assert "answers frame 1, 500 µs later" in texts


def test_simultaneous_close_is_no_problem_and_numbers_wrap() -> None:
    svg, texts = draw(SIMULTANEOUS_CLOSE)
    assert "△ simultaneous-close" in texts
    assert 'class="problem"' not in svg
    assert "seq 101 · ack 0 = 4294967295 + 1" in texts
    assert "seq 102 · ack 11 = 10 + 1" in texts, "a FIN with payload occupies the number after it"
    assert "[FIN, ACK] Seq=1 Ack=1 Len=10" in texts
    assert "[2001:db8:85a3:1111:2222:8a2e:370:7334]:65535" in texts


def test_mismatch_shows_what_was_expected() -> None:
    _, texts = draw(MISMATCH)
    assert "seq 300 · ack 91 ≠ 100 + 1" in texts
    assert "seq 91" in texts, "an RST without ACK acknowledges nothing"


def test_midstream_is_relative_to_the_first_numbers() -> None:
    _, texts = draw(MIDSTREAM)
    assert "[ACK] Seq=0 Ack=0 Len=1460" in texts
    assert "[ACK] Seq=-1 Ack=1460 Len=0" in texts, "a keep-alive lies before the first number"
    assert "LISTEN" not in texts


def test_one_direction_alone_is_relative_to_the_first_acknowledgement() -> None:
    _, texts = draw(only("C", NORMAL))
    assert "[ACK] Seq=1 Ack=0 Len=0" in texts, "without the server's number, relative to the first acknowledgement"
    assert "seq 250118292 · ack 2336326089" in texts


def test_a_second_attempt_has_its_own_base() -> None:
    second = """
        1.5  C SYN 9000
        1.6  S SYN-ACK 77 9001
    """
    _, texts = draw(REFUSED + second)
    assert texts.count("[SYN] Seq=0 Len=0") == 2
    assert "[RST, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "[SYN, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "seq 77 · ack 9001 = 9000 + 1" in texts


def test_network_error_has_no_segment_but_a_line() -> None:
    _svg, texts = draw(UNREACHABLE)
    assert "▲ unreachable" in texts
    assert texts.count("CLOSED") == 2


def test_for_screen_readers_the_conversation_is_told_in_words() -> None:
    root = parse(draw(REFUSED)[0])
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "TCP connection 0: 10.0.0.1:50000 to 192.0.2.80:80"
    description = root.findtext(f"{SVG}desc") or ""
    assert "frame 2 server RST (connection-refused)" in description
    assert "refused" in description
