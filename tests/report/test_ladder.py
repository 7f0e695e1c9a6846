# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001, S314 - scenarios have many columns; texts have dashes; the XML parsed is our own
"""The ladder, on connections written by hand. `test_report_html` uses the same scenarios."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

import pybridge
from pybridge.report.ladder.svg import ladder_svg, ladders
from pybridge.report.language import LANGUAGES, Language
from pybridge.text import amount, duration_text, endpoint, printable
from tools.goldens.listing import find

SVG = "{http://www.w3.org/2000/svg}"
START = pd.Timestamp("2024-05-01T12:00:00Z").as_unit("ns")
CLIENT, SERVER = ("10.0.0.1", 50000), ("192.0.2.80", 80)

CATEGORIES = ("sender", "role", "teardown_step", "client_state", "server_state")
INTEGERS = ("frame", "stream", "source_port", "destination_port", "seq_raw", "ack_raw", "length")
STATES = [
    "CLOSED",
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
]


def seg(time: float, sender: str, flags: str, seq: int, ack: int, states: str, length: int = 0, **more: Any) -> dict[str, Any]:
    """A segment of a scenario: time in seconds, sender C or S, states of client and server with a space between."""
    client_state, server_state = states.split()
    assert client_state in STATES
    assert server_state in STATES
    return {
        "time": START + pd.Timedelta(time, "s"),
        "tcp_flags": flags,
        "seq_raw": seq,
        "ack_raw": ack,
        "length": length,
        "sender": {"C": "client", "S": "server"}[sender],
        "client_state": client_state,
        "server_state": server_state,
        **more,
    }


def tables(*scenarios: tuple[list[dict[str, Any]], dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`segments` and `connections` of scenarios, with the types of the specification; streams and frames count up."""
    rows, connections = [], []
    for stream, (given, about) in enumerate(scenarios):
        client, server = about.get("ends", (CLIENT, SERVER))
        before = len(rows)
        for one in given:
            source, destination = (client, server) if one["sender"] == "client" else (server, client)
            rows.append({"frame": len(rows) + 1, "stream": stream, "source": source[0], "source_port": source[1],
                         "destination": destination[0], "destination_port": destination[1], **one,
                         **({"responds_to": before + one["responds_to"]} if "responds_to" in one else {})})  # fmt: skip
        connections.append(_connection(given, about, client, server))
    return _segments(rows), _connections(connections)


def _segments(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = [
        "frame",
        "time",
        "stream",
        "source",
        "destination",
        "source_port",
        "destination_port",
        "tcp_flags",
        "seq_raw",
        "ack_raw",
        "length",
        "sender",
        "role",
        "handshake_step",
        "teardown_step",
        "client_state",
        "server_state",
        "retransmission",
        "responds_to",
        "response_time",
        "handshake_time",
        "anomaly",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame["retransmission"] = frame["retransmission"].eq(True)
    for name in ("response_time", "handshake_time"):
        frame[name] = pd.to_timedelta(frame[name].astype("float64"), unit="s").astype("timedelta64[ns]")
    return frame.astype(
        dict.fromkeys(CATEGORIES, "category") | dict.fromkeys(INTEGERS, "int64")
        | dict.fromkeys(("source", "destination", "tcp_flags", "anomaly"), "str")
        | {"time": "datetime64[ns, UTC]", "handshake_step": "Int8", "responds_to": "Int64", "retransmission": "bool"}
    )  # fmt: skip


def _connection(
    rows: list[dict[str, Any]], about: dict[str, Any], client: tuple[str, int], server: tuple[str, int]
) -> dict[str, Any]:
    times = [one["time"] for one in rows]
    sent = {name: [one["length"] for one in rows if one["sender"] == name] for name in ("client", "server")}
    return {
        "client": client[0], "client_port": client[1], "server": server[0], "server_port": server[1],
        "start": min(times), "duration": max(times) - min(times),
        "client_segments": len(sent["client"]), "server_segments": len(sent["server"]),
        "client_bytes": sum(sent["client"]), "server_bytes": sum(sent["server"]),
        "client_state": rows[-1]["client_state"], "server_state": rows[-1]["server_state"],
        **{f"{kind}_retransmissions": sum(name in str(one.get("anomaly", "")).split("+") for one in rows)
           for kind, name in (("syn", "syn-retransmission"),
                              ("syn_ack", "syn-ack-retransmission"), ("fin", "fin-retransmission"))},
        **{name: value for name, value in about.items() if name != "ends"},
    }  # fmt: skip


def _connections(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = [
        "client",
        "client_port",
        "server",
        "server_port",
        "start",
        "duration",
        "client_segments",
        "server_segments",
        "client_bytes",
        "server_bytes",
        "establishment",
        "termination",
        "closed_by",
        "client_state",
        "server_state",
        "handshake_time",
        "server_response_time",
        "client_response_time",
        "teardown_time",
        "client_isn",
        "server_isn",
        "client_mss",
        "server_mss",
        "client_window_scale",
        "server_window_scale",
        "client_fast_open",
        "server_fast_open",
        "sack_permitted",
        "timestamps",
        "ecn",
        "syn_retransmissions",
        "syn_ack_retransmissions",
        "fin_retransmissions",
        "completeness",
        "anomalies",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    frame["completeness"] = 0
    for name in ("handshake_time", "server_response_time", "client_response_time", "teardown_time"):
        frame[name] = pd.to_timedelta(frame[name].astype("float64"), unit="s").astype("timedelta64[ns]")
    types: dict[str, Any] = {"start": "datetime64[ns, UTC]", "duration": "timedelta64[ns]"}
    for name in columns:
        if re.search(r"_isn|_mss|_scale", name):
            types[name] = "Int64"
        elif re.search(r"_port|segments_|bytes_|_retransmissions|completeness", name):
            types[name] = "int64"
    types |= dict.fromkeys(("sack_permitted", "timestamps", "ecn"), "boolean")
    types |= dict.fromkeys(("establishment", "termination", "closed_by", "client_state", "server_state"), "category")
    types |= dict.fromkeys(("client", "server", "anomalies"), "str")
    frame = frame.astype(types)
    frame.index.name = "stream"
    return frame


def handshake(isn: int = 250118291, peer: int = 2336326088) -> list[dict[str, Any]]:
    return [
        seg(0, "C", "SYN", isn, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1),
        seg(0.012, "S", "SYN, ACK", peer, (isn + 1) % 2**32, "ESTABLISHED SYN-RECEIVED",
            role="SYN-ACK", handshake_step=2, responds_to=1, response_time=0.012),
        seg(0.0121, "C", "ACK", (isn + 1) % 2**32, (peer + 1) % 2**32, "ESTABLISHED ESTABLISHED",
            role="HANDSHAKE-ACK", handshake_step=3, responds_to=2,
            response_time=0.0001, handshake_time=0.0121),
    ]  # fmt: skip


def normal() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    c, s, up = 250118292, 2336326089, "ESTABLISHED ESTABLISHED"
    return [
        *handshake(),
        seg(0.02, "C", "PSH, ACK", c, s, up, 142),
        seg(0.033, "S", "PSH, ACK", s, c + 142, up, 267),
        seg(0.034, "C", "ACK", c + 142, s + 267, up),
        seg(0.04, "C", "FIN, ACK", c + 142, s + 267, "FIN-WAIT-1 CLOSE-WAIT", role="FIN", teardown_step="1"),
        seg(0.052, "S", "FIN, ACK", s + 267, c + 143, "TIME-WAIT LAST-ACK",
            role="ACK-OF-FIN+FIN", teardown_step="2+3", responds_to=7, response_time=0.012),
        seg(0.0521, "C", "ACK", c + 143, s + 268, "TIME-WAIT CLOSED",
            role="ACK-OF-FIN", teardown_step="4", responds_to=8, response_time=0.0001),
    ], {"establishment": "complete", "termination": "three-way", "closed_by": "client", "handshake_time": 0.0121,
        "server_response_time": 0.012,
        "client_response_time": 0.0001, "teardown_time": 0.0121, "client_isn": 250118291, "server_isn": 2336326088,
        "client_mss": 1460,
        "server_mss": 1400, "client_window_scale": 7, "sack_permitted": True, "timestamps": True, "ecn": False}  # fmt: skip


def refused() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return [
        seg(1, "C", "SYN", 100, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1),
        seg(1.0005, "S", "RST, ACK", 0, 101, "CLOSED CLOSED",
            role="RST", anomaly="connection-refused", responds_to=1, response_time=0.0005),
    ], {"establishment": "refused", "termination": "reset", "closed_by": "server", "anomalies": "connection-refused",
        "client_isn": 100}  # fmt: skip


def unanswered() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    again: dict[str, Any] = {"role": "SYN", "handshake_step": 1, "anomaly": "syn-retransmission", "retransmission": True}
    first = seg(2, "C", "SYN", 700, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1)
    return [first, *(seg(time, "C", "SYN", 700, 0, "SYN-SENT LISTEN", **again) for time in (3.0, 5.0, 9.1))], {
        "establishment": "unanswered", "termination": "none", "anomalies": "syn-retransmission", "client_isn": 700}  # fmt: skip


def unreachable() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return [seg(2.5, "C", "SYN", 800, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1)], {
        "establishment": "unreachable", "termination": "none", "anomalies": "unreachable", "client_state": "CLOSED"}  # fmt: skip


def simultaneous_close() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return [
        *handshake(100, 2**32 - 1),
        seg(0.5, "C", "FIN, ACK", 101, 0, "FIN-WAIT-1 CLOSE-WAIT", role="FIN", teardown_step="1"),
        seg(0.501, "S", "FIN, ACK", 0, 101, "CLOSING CLOSING", 10, role="FIN", teardown_step="1", anomaly="simultaneous-close"),
        seg(0.502, "C", "ACK", 102, 11, "CLOSING TIME-WAIT", role="ACK-OF-FIN", teardown_step="2", responds_to=5),
        seg(0.503, "S", "ACK", 11, 102, "TIME-WAIT TIME-WAIT", role="ACK-OF-FIN", teardown_step="2", responds_to=4),
    ], {"establishment": "complete", "termination": "simultaneous", "closed_by": "both", "handshake_time": 0.0121,
        "anomalies": "simultaneous-close",
        "ends": (("2001:db8:85a3:1111:2222:8a2e:370:7334", 65535), ("2001:db8::1", 443))}  # fmt: skip


def simultaneous_open() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    opening: dict[str, Any] = {"role": "SYN", "handshake_step": 1}
    answer: dict[str, Any] = {"role": "SYN-ACK", "handshake_step": 2}
    return [
        seg(0, "S", "SYN", 300, 0, "LISTEN SYN-SENT", **opening),
        seg(0.001, "C", "SYN", 100, 0, "SYN-RECEIVED SYN-RECEIVED", **opening, anomaly="simultaneous-open"),
        seg(0.002, "C", "SYN, ACK", 100, 301, "SYN-RECEIVED ESTABLISHED", **answer, responds_to=1),
        seg(0.003, "S", "SYN, ACK", 300, 101, "ESTABLISHED ESTABLISHED", **answer, responds_to=2),
    ], {"establishment": "simultaneous", "termination": "none", "anomalies": "simultaneous-open"}  # fmt: skip


def half_open() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return handshake()[:2], {"establishment": "half-open", "termination": "none"}


def four_way(rows: int = 4) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A close by the client, or its first rows."""
    outcome = ("none", "half-closed", "half-closed", "unacknowledged", "four-way")[rows]
    return [
        *handshake(100, 300),
        *[
            seg(1, "C", "FIN, ACK", 101, 301, "FIN-WAIT-1 CLOSE-WAIT", role="FIN", teardown_step="1"),
            seg(1.1, "S", "ACK", 301, 102, "FIN-WAIT-2 CLOSE-WAIT", role="ACK-OF-FIN", teardown_step="2", responds_to=4),
            seg(1.2, "S", "FIN, ACK", 301, 102, "TIME-WAIT LAST-ACK", role="FIN", teardown_step="3"),
            seg(1.3, "C", "ACK", 102, 302, "TIME-WAIT CLOSED", role="ACK-OF-FIN", teardown_step="4", responds_to=6),
        ][:rows],
    ], {"establishment": "complete", "termination": outcome, "closed_by": "client"}  # fmt: skip


def midstream() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    up = "ESTABLISHED ESTABLISHED"
    return [
        seg(4, "S", "ACK", 90_000, 5_000, up, 1460),
        seg(4.001, "C", "ACK", 5_000, 91_460, up),
        seg(4.9, "C", "ACK", 4_999, 91_460, up),
        seg(5, "S", "RST", 91_460, 0, "CLOSED CLOSED", role="RST"),
    ], {"establishment": "not-captured", "termination": "reset", "closed_by": "server"}  # fmt: skip


def mismatch() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    return [
        seg(6, "C", "SYN", 100, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1),
        seg(6.1, "S", "SYN, ACK", 300, 91, "SYN-SENT SYN-RECEIVED", role="SYN-ACK", handshake_step=2, anomaly="ack-mismatch"),
        seg(6.2, "C", "RST", 91, 0, "SYN-SENT LISTEN", role="RST"),
    ], {"establishment": "unanswered", "termination": "none", "anomalies": "ack-mismatch"}  # fmt: skip


def transfer(count: int = 300, marked: int = 0) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A handshake and data from the server, every third segment an acknowledgement; `marked` more with an anomaly."""
    up = "ESTABLISHED ESTABLISHED"
    rows = handshake(100, 300)
    for number in range(count):
        time = 0.02 + number * 0.001 + (3 if number > count // 2 else 0)
        rows.append(
            seg(time, "C", "ACK", 101, 301 + number, up)
            if number % 3 == 2
            else seg(time, "S", "ACK", 301 + number, 101, up, 1000)
        )
    for number in range(marked):
        rows.append(seg(10 + number * 0.01, "C", "", 5, 0, up, anomaly="invalid-flags"))
    return rows, {"establishment": "complete", "termination": "none", "handshake_time": 0.0121,
                  **({"anomalies": "invalid-flags"} if marked else {})}  # fmt: skip


def draw(scenario: tuple[list[dict[str, Any]], dict[str, Any]], language: Language = "en") -> tuple[str, list[str]]:
    """The drawing, and its texts from top to bottom as a parser of XML sees them."""
    segments, connections = tables(scenario)
    svg = ladder_svg(segments, connections.iloc[0], language=language)
    return svg, [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def states(svg: str) -> tuple[list[str], list[str]]:
    """The states beside the life lines of client and server."""
    found: tuple[list[str], list[str]] = ([], [])
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        classes = (element.get("class") or "").split()
        if "s" in classes:
            found["e" not in classes].append(element.text or "")
    return found


MISSING = {
    "SYN not captured", "SYN-ACK not captured", "third step not captured",
    "no answer to the SYN", "no third step", "no acknowledgement of the FIN",
}  # fmt: skip


def missing(*scenario: Any) -> list[str]:
    """What is drawn as missing."""
    return [text for text in draw(scenario)[1] if text in MISSING]


def test_normal_connection_with_merged_close() -> None:
    _svg, texts = draw(normal())
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


def test_states_are_written_where_they_change_only() -> None:
    client, server = states(draw(normal())[0])
    assert client == ["CLOSED", "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "TIME-WAIT"]
    assert server == ["LISTEN", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_drawn_over_something_else(language: Language) -> None:
    """Texts of one column have room: no two baselines closer than 12, and all within the picture."""
    for scenario in (
        normal(),
        refused(),
        unanswered(),
        simultaneous_open(),
        simultaneous_close(),
        half_open(),
        four_way(),
        four_way(1),
        midstream(),
        mismatch(),
        transfer(),
        transfer(300, 200),
        unreachable(),
    ):
        svg, _ = draw(scenario, language)
        root = ElementTree.fromstring(svg)
        height = float(root.get("height", "0"))
        columns: dict[str, list[float]] = {}
        for element in root.iter(f"{SVG}text"):
            columns.setdefault(element.get("x", ""), []).append(float(element.get("y", "0")))
        for baselines in columns.values():
            assert all(later - earlier >= 12 for earlier, later in zip(sorted(baselines), sorted(baselines)[1:], strict=False))
            assert max(baselines) < height
        assert not {"time / s", "时间 / s"} & {e.text for e in root.iter(f"{SVG}text") if e.get("y") == "32"}, (
            "long addresses reach there"
        )


def test_the_row_that_completes_the_close_says_how_long_it_took() -> None:
    _, texts = draw(normal())
    assert "teardown took 12.1 ms" in texts[texts.index("0.052100") :]
    assert not any("teardown took" in text for text in draw(simultaneous_close())[1]), "no time is known"
    rows, about = simultaneous_close()
    _, texts = draw((rows, about | {"teardown_time": 0.003}))
    assert "teardown took 3.00 ms" in texts[texts.index("0.503000") :]
    again = {**rows[-1], "time": rows[-1]["time"] + pd.Timedelta(1, "s"), "role": None, "teardown_step": None}
    _, texts = draw(([*rows, again], about | {"teardown_time": 0.003}))
    assert texts.index("teardown took 3.00 ms") < texts.index("1.503000")


def test_refusal_is_marked_in_text_and_checked() -> None:
    _svg, texts = draw(refused())
    assert "▲ connection-refused" in texts
    assert "[RST, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "seq 0 · ack 101 = 100 + 1" in texts
    assert "answers frame 1, 500 µs later" in texts


def test_retransmissions_are_dashed_and_long_gaps_folded() -> None:
    svg, texts = draw(unanswered())
    assert texts.count("▲ syn-retransmission") == 3
    assert len(re.findall(r'<path class="x d"', svg)) == 3
    assert [text for text in texts if "without" in text] == [f"{gap} s without a segment" for gap in ("1.00", "2.00", "4.10")]
    assert "7.100000" in texts


def test_simultaneous_close_is_no_problem_and_numbers_wrap() -> None:
    svg, texts = draw(simultaneous_close())
    assert "△ simultaneous-close" in texts
    assert 'class="x"' not in svg
    assert "seq 101 · ack 0 = 4294967295 + 1" in texts
    assert "seq 102 · ack 11 = 10 + 1" in texts, "a FIN with payload occupies the number after it"
    assert "[FIN, ACK] Seq=1 Ack=1 Len=10" in texts
    assert "[2001:db8:85a3:1111:2222:8a2e:370:7334]:65535" in texts


def arrows(svg: str) -> list[tuple[float, float, float, float]]:
    """Both ends of each arrow, from its tail."""
    paths = [element.get("d") or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}path")]
    found = [re.match(r"M(\d+) (\d+)L(\d+) (\d+)M", path) for path in paths]
    return [(float(one[1]), float(one[2]), float(one[3]), float(one[4])) for one in found if one]


@pytest.mark.parametrize(("scenario", "first"), [(simultaneous_open(), 0), (simultaneous_close(), 3)])
def test_segments_that_passed_each_other_cross(scenario: tuple[list[dict[str, Any]], dict[str, Any]], first: int) -> None:
    crossing, crossed = arrows(draw(scenario)[0])[first : first + 2]
    assert crossing[0] == crossed[2]
    assert crossing[2] == crossed[0]
    assert crossing[1] < crossed[1] < crossing[3], "the second leaves before the first arrives"
    assert crossing[1] < crossed[3]


def test_others_do_not_cross() -> None:
    drawn = arrows(draw(four_way())[0])
    assert len(drawn) == 7
    assert all(earlier[3] < later[1] for earlier, later in pairwise(drawn))


def test_in_a_simultaneous_close_both_wait_for_the_other() -> None:
    client, server = states(draw(simultaneous_close())[0])
    assert client[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"]
    assert server[-3:] == ["FIN-WAIT-1", "CLOSING", "TIME-WAIT"], "CLOSE-WAIT was said before the second FIN was seen"


def test_in_a_simultaneous_open_both_sent_a_syn() -> None:
    client, server = states(draw(simultaneous_open())[0])
    assert client == ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]
    assert server == ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"]


def test_a_fin_long_after_the_other_does_not_cross_it() -> None:
    rows, about = simultaneous_close()
    for row in rows[4:]:
        row["time"] += pd.Timedelta(1, "s")
    drawn = arrows(draw((rows, about))[0])
    assert drawn[3][3] < drawn[4][1]


def test_what_never_came_is_drawn_where_the_connection_stopped() -> None:
    svg, texts = draw(unanswered())
    assert missing(*unanswered()) == ["no answer to the SYN"]
    assert texts.index("no answer to the SYN") > texts.index("7.100000")
    assert len(re.findall(r'class="x n"', svg)) == 1
    assert missing(*half_open()) == ["no third step"]
    assert missing(*four_way(1)) == missing(*four_way(3)) == ["no acknowledgement of the FIN"]


def test_what_was_not_captured_is_drawn_where_it_must_have_been() -> None:
    syn, syn_ack, third = handshake(100, 300)
    server_data = seg(0.02, "S", "PSH, ACK", 301, 101, "ESTABLISHED ESTABLISHED", 20)
    partial = {"establishment": "partial", "termination": "none"}
    for rows, label, following in (
        ([syn_ack, third], "SYN not captured", "[SYN, ACK] Seq=0 Ack=0 Len=0"),
        ([syn, third], "SYN-ACK not captured", "[ACK] Seq=1 Ack=0 Len=0"),
        ([syn, server_data], "SYN-ACK not captured", "[PSH, ACK] Seq=0 Ack=1 Len=20"),
        ([syn, syn_ack, server_data], "third step not captured", "[PSH, ACK] Seq=1 Ack=1 Len=20"),
    ):
        given = [{name: value for name, value in row.items() if name != "responds_to"} for row in rows]
        svg, texts = draw((given, partial))
        assert missing(given, partial) == [label]
        assert texts.index(label) < texts.index(following)
        assert label in (ElementTree.fromstring(svg).findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize(
    "scenario",
    [normal(), refused(), unreachable(), simultaneous_open(), simultaneous_close(), midstream(), mismatch(), transfer(),
     four_way(), four_way(2)],
)  # fmt: skip
def test_nothing_is_missing_that_need_not_be_there(scenario: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    assert missing(*scenario) == []


def test_what_was_captured_late_is_not_missing() -> None:
    syn, syn_ack, third = handshake(100, 300)
    third = {name: value for name, value in third.items() if name != "responds_to"}
    up = {"client_state": "ESTABLISHED", "server_state": "ESTABLISHED"}
    about = {"establishment": "complete", "termination": "none"}
    assert missing([syn_ack, syn | {"client_state": "ESTABLISHED", "server_state": "SYN-RECEIVED"}, third], about) == []
    assert missing([syn, third, syn_ack | up], about) == []
    data = seg(0.011, "S", "PSH, ACK", 301, 101, "ESTABLISHED ESTABLISHED", 20)
    assert missing([syn, syn_ack, data, third], about) == []


def test_a_fin_that_was_acknowledged_once_is_not_missing_it() -> None:
    rows, about = four_way()
    again = seg(2, "S", "FIN, ACK", 301, 102, "TIME-WAIT LAST-ACK", role="FIN", teardown_step="3",
                retransmission=True, anomaly="fin-retransmission")  # fmt: skip
    assert missing([*rows, again], about) == []


def test_what_is_not_drawn_is_not_called_missing() -> None:
    rows, about = transfer(0, 200)
    syn, syn_ack, third = (dict(row) for row in rows[:3])
    late = syn_ack | {"client_state": "ESTABLISHED", "server_state": "ESTABLISHED"}
    del third["responds_to"]
    assert missing([syn, third, *rows[3:100], late, *rows[100:]], about) == []


def test_phases_are_marked() -> None:
    _, texts = draw(four_way())
    assert {"three-way handshake", "four-way close", "active close", "passive close"} <= set(texts)
    assert "half-close: server can still send" in texts
    assert "simultaneous open" in draw(simultaneous_open())[1]
    assert not {"three-way handshake", "close"} & set(draw(midstream())[1])


def test_an_opening_before_the_capture_is_said() -> None:
    assert "the opening was not captured" in draw(midstream())[1]
    assert "the opening was not captured" not in draw(normal())[1]


def test_mismatch_shows_what_was_expected() -> None:
    _, texts = draw(mismatch())
    assert "seq 300 · ack 91 ≠ 100 + 1" in texts
    assert "seq 91" in texts, "an RST without ACK acknowledges nothing"


def test_midstream_is_relative_to_the_first_numbers() -> None:
    _, texts = draw(midstream())
    assert "[ACK] Seq=0 Ack=0 Len=1460" in texts
    assert "[ACK] Seq=-1 Ack=1460 Len=0" in texts, "a keep-alive lies before the first number"
    assert "LISTEN" not in texts


def test_one_direction_alone() -> None:
    rows = [row for row in normal()[0] if row["sender"] == "client"]
    _, texts = draw((rows, normal()[1] | {"establishment": "partial"}))
    assert "[ACK] Seq=1 Ack=0 Len=0" in texts, "without the server's number, relative to the first acknowledgement"
    assert "seq 250118292 · ack 2336326089" in texts


def test_a_second_attempt_has_its_own_base() -> None:
    again = seg(0.5, "C", "SYN", 9000, 0, "SYN-SENT LISTEN", role="SYN", handshake_step=1, anomaly="port-reuse")
    answer = seg(0.6, "S", "SYN, ACK", 77, 9001, "ESTABLISHED SYN-RECEIVED", role="SYN-ACK", handshake_step=2)
    _, texts = draw(([*refused()[0], again, answer], refused()[1]))
    assert texts.count("[SYN] Seq=0 Len=0") == 2
    assert "[RST, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "[SYN, ACK] Seq=0 Ack=1 Len=0" in texts
    assert "seq 77 · ack 9001 = 9000 + 1" in texts


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


def test_network_error_has_no_segment_but_a_line() -> None:
    _svg, texts = draw(unreachable())
    assert "▲ unreachable" in texts
    assert texts.count("CLOSED") == 2


def test_clock_that_steps_back() -> None:
    rows = normal()[0]
    rows[1]["time"] = START - pd.Timedelta(2, "s")
    assert "−2.000000" in draw((rows, normal()[1]))[1]


def test_hostile_text_is_escaped() -> None:
    nasty = 'x"><script>alert(1)</script>\x00\u202e'
    segments, connections = tables((normal()[0], normal()[1] | {"ends": ((nasty, 1), ("]]>&amp;--><style>", 2))}))
    segments["tcp_flags"] = "<b>"
    segments["anomaly"] = "</svg><script>"
    svg = ladder_svg(segments, connections.iloc[0])
    ElementTree.fromstring(svg.encode())
    assert "<script" not in svg
    assert "<b>" not in svg
    assert svg.count("<style>") == 1


def test_can_be_put_into_one_page_many_times() -> None:
    svg, _ = draw(normal())
    assert not re.search(r'\b(id|href|src)="|url\(|@import', svg)
    style = svg[svg.index("<style>") + 7 : svg.index("</style>")]
    selectors = re.findall(r"(?:^|[{}])\s*([^{}@]+)\{", style)
    assert selectors
    assert all(".tcp-ladder" in selector for selector in selectors), "no rule may reach the page around it"


def test_braces_in_names_are_no_places_for_values() -> None:
    for language in LANGUAGES:
        given = (normal()[0], normal()[1] | {"ends": (("{stream}", 1), ("{0}{x", 2))})
        assert "{stream}:1" in draw(given, language)[1]


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    segments, connections = tables(normal(), refused(), transfer(300, 200), midstream(), unreachable())
    shuffled = segments.sort_values("time", kind="stable")  # connections take turns in a capture
    streams = [3, 0, 2, 4, 1]
    for language in LANGUAGES:
        drawn = list(ladders(shuffled, connections, streams, language=language))
        assert drawn == [
            ladder_svg(segments[segments["stream"] == stream], connections.loc[stream], with_style=False, language=language)
            for stream in streams
        ]


def test_none_at_once() -> None:
    assert list(ladders(*tables(), [])) == []
    assert list(ladders(pd.DataFrame(), pd.DataFrame(), [])) == []


def test_in_chinese_only_names_stay() -> None:
    _, texts = draw(four_way(), "zh")
    assert {"SYN · 三次握手 1/3", "FIN · 四次挥手 1/4", "主动关闭", "被动关闭", "三次握手", "四次挥手"} <= set(texts)
    assert "半关闭：服务器仍可发送数据" in texts
    assert {"[SYN, ACK] Seq=0 Ack=1 Len=0", "FIN-WAIT-2"} <= set(texts)
    assert "▲ connection-refused" in draw(refused(), "zh")[1]
    names = {"SYN", "ACK", "FIN", "RST", "PSH", "HANDSHAKE", "OF"}
    for scenario in (normal(), four_way(3), unanswered(), half_open(), midstream(), transfer(300, 200), unreachable()):
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


def test_for_screen_readers() -> None:
    root = ElementTree.fromstring(draw(refused())[0])
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "TCP connection 0: 10.0.0.1:50000 to 192.0.2.80:80"
    description = root.findtext(f"{SVG}desc") or ""
    assert "frame 2 server RST (connection-refused)" in description
    assert "refused" in description


def test_without_segments() -> None:
    segments, connections = tables(refused())
    ElementTree.fromstring(ladder_svg(segments.iloc[:0], connections.iloc[0]))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 s"), (500, "500 ns"), (12_345, "12.3 µs"), (32_000, "32 µs"), (-5_000, "−5 µs"), (999_600, "1.00 ms"),
     (12_345_678, "12.3 ms"), (9_996_000_000, "10.0 s"),  (59_600_000_000, "1 min 0 s"), (-1_500_000, "−1.50 ms"),
     (3_725_000_000_000, "1 h 2 min"), (200_000_000_000_000, "2 d 7 h")],
)  # fmt: skip
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration_text(pd.Timedelta(nanoseconds, "ns")) == text


def test_missing_duration() -> None:
    assert duration_text(None) == duration_text(pd.NaT) == "–"  # type: ignore[arg-type]


def test_endpoint_printable_and_amount() -> None:
    assert endpoint("::1", 80) == "[::1]:80"
    assert printable("a\x1b[31m\u2066b\tc\udcff größer\u2003→") == r"a\x1b[31m\u2066b\tc\udcff" + " größer\u2003→"
    assert [amount(number, "packet") for number in (0, 1, 1234)] == ["0 packets", "1 packet", "1,234 packets"]
    assert amount(1234) == "1,234"
