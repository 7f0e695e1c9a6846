# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - texts have dashes
"""The page of the report and its facts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from rich.console import Console

from pybridge.cli import summary_text
from pybridge.report import explanations, summary
from pybridge.report import page as report_page
from pybridge.report.drawing import COLOURS, NEUTRAL
from pybridge.report.page import GROUPS_PER_FAILURE, render
from pybridge.tables.schema import CATEGORIES
from pybridge.tcp import vocabulary
from pybridge.tcp.vocabulary import ANOMALIES, BENIGN_ANOMALIES
from tests.support.scenarios import (
    HANDSHAKE,
    MIDSTREAM,
    MISMATCH,
    NORMAL,
    REFUSED,
    SIMULTANEOUS_CLOSE,
    UNANSWERED,
    UNREACHABLE,
    renamed,
    tables,
    transfer,
)

VERSIONS = {"pybridge": "1.0", "tshark": "4.4.18"}
VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """The elements, ids, links and table cells of a page, as a browser would parse it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, first_head: str) -> list[list[str]]:
        """Return the rows of the table whose first column has this head; of several the longest."""
        return max((rows[1:] for rows in self.tables if rows[0][0] == first_head), key=len)


def pictures(page: Page) -> int:
    """Return how many ladders and charts there are, without the marks of legends."""
    return page.tags.count("svg") - page.attributes.count(("svg", "aria-hidden", "true"))


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, pd.DataFrame]:
    return tables(NORMAL, REFUSED, UNANSWERED, UNREACHABLE, SIMULTANEOUS_CLOSE, MIDSTREAM, MISMATCH, transfer(300), REFUSED)


def test_connections_are_counted_by_outcome(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    facts = summary.summary(*mixed)
    assert (facts.connections, facts.opened, facts.failed, facts.not_captured) == (9, 3, 5, 1)
    assert list(facts.establishment.items()) == [
        ("complete", 3),
        ("refused", 2),
        ("unreachable", 1),
        ("unanswered", 1),
        ("invalid-answer", 1),
        ("not-captured", 1),
    ]
    assert facts.open_termination["reset"] == 1, "a refused connection is not one that a reset closed"
    assert facts.open_closed_by == {"client": 1, "server": 1, "both": 1}
    assert facts.payload == int(mixed[0]["length"].sum())


def test_an_opening_that_was_still_waiting_at_the_end_has_not_failed() -> None:
    segments, connections = tables(NORMAL, REFUSED, UNANSWERED, later=9)
    facts = summary.summary(segments, connections)
    assert (facts.connections, facts.opened, facts.failed, facts.still_waiting) == (3, 1, 1, 1)
    assert [group.establishment for group in facts.failures] == ["refused"]
    page = Page(render(segments, connections, title="t", versions={}))
    assert "Of 3 connections, 1 opened, ▲ 1 failed, 1 still waited for an answer when the capture ended." in page.text
    assert [row[5] for row in page.table("No.")] == ["complete", "▲ refused", "still-waiting"]
    alone = Page(render(*tables(UNANSWERED, later=9), title="t", versions={}))
    assert "The only connection was still waiting for an answer when the capture ended." in alone.text


def test_failures_are_grouped(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    groups = summary.summary(*mixed).failures
    assert [(group.establishment, group.connections, group.first_stream) for group in groups] == [
        ("refused", 2, 1), ("unreachable", 1, 3), ("unanswered", 1, 2), ("invalid-answer", 1, 6)]  # fmt: skip
    assert groups[2].syn_retransmissions == 3
    assert groups[2].longest == pd.Timedelta("7.1s")


def test_anomalies_name_their_frames_or_streams(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    anomalies = {anomaly.name: anomaly for anomaly in summary.summary(*mixed).anomalies}
    assert list(anomalies)[-1] == "simultaneous-close", "what is legal comes last"
    repeated = anomalies["syn-retransmission"]
    assert (repeated.count, repeated.streams, repeated.frames) == (3, (2,), (13, 14, 15))
    assert repeated.display_filter == 'tcp_handshake.anomaly == "syn-retransmission"'
    assert repeated.fallback_filter == "frame.number in {13..15}"
    lost = anomalies["unreachable"]
    assert (lost.count, lost.frames, lost.fallback_filter) == (1, (), "tcp.stream in {3}"), "it is on no segment"
    assert (repeated.where(), lost.where()) == ("13, 14, 15", "stream 3")


def test_several_anomalies_on_one_segment_are_counted_each() -> None:
    syn_with_data_twice = """
        0  C SYN 100 +5
        1  C SYN 100 +5
    """
    segments, connections = tables(syn_with_data_twice)
    assert segments["anomaly"].tolist() == ["syn-with-data", "syn-retransmission+syn-with-data"]
    facts = summary.summary(segments, connections)
    assert [(anomaly.name, anomaly.count) for anomaly in facts.anomalies] == [("syn-retransmission", 1), ("syn-with-data", 2)]


def test_an_anomaly_that_is_not_known_yet_is_shown_and_quoted() -> None:
    segments, connections = tables(MIDSTREAM)
    segments["anomaly"] = [None, None, None, 'new"one\\']
    (anomaly,) = summary.summary(segments, connections).anomalies
    assert anomaly.display_filter == r'tcp_handshake.anomaly == "new\"one\\"'


def test_filters_stay_short() -> None:
    (anomaly,) = summary.summary(*tables(transfer(0, 5_000))).anomalies
    assert anomaly.count == 5_000
    assert len(anomaly.fallback_filter) < 500


def test_the_ten_slowest_handshakes_are_listed() -> None:
    scenarios = [HANDSHAKE.replace("0.0121", str(time / 10)) for time in range(1, 13)]
    facts = summary.summary(*tables(*scenarios, REFUSED))
    assert [slow.stream for slow in facts.slowest] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert facts.handshake_median == pd.Timedelta("650ms"), "connections without a handshake do not count"


def test_the_parts_of_a_slow_handshake_add_up_where_an_answer_is_ambiguous() -> None:
    repeated_syn = HANDSHAKE.replace("0.0121", "1.0     C SYN 100\n    1.01")
    repeated_syn_ack = HANDSHAKE.replace("0.0121", "1.0     S SYN-ACK 300 101\n    1.01")
    for slow in summary.summary(*tables(repeated_syn, repeated_syn_ack)).slowest:
        parts = slow.retransmission_delay, slow.server_response_time, slow.client_response_time
        assert sum(parts, pd.Timedelta(0)) == slow.handshake_time == pd.Timedelta("1.01s")
        assert slow.client_response_time == pd.Timedelta("10ms")


def test_every_value_is_explained() -> None:
    assert set(CATEGORIES["establishment"]) == {*vocabulary.OPENED, *vocabulary.FAILED, "not-captured"}
    assert set(explanations.ESTABLISHMENT) == {*CATEGORIES["establishment"], vocabulary.STILL_WAITING}
    assert set(explanations.TERMINATION) == set(CATEGORIES["termination"])
    assert tuple(explanations.ANOMALIES) == tuple(ANOMALIES), "in the order of the specification"
    assert set(explanations.ANOMALIES) >= BENIGN_ANOMALIES
    assert set(explanations.DIAGNOSIS) == set(CATEGORIES["diagnosis"])
    assert set(vocabulary.HARMLESS) < set(vocabulary.DIAGNOSES)


def test_the_page_has_the_verdict_and_all_tables(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    page = Page(render(*mixed, title="office.pcapng", versions=VERSIONS, notes=["It was cut short."]))
    assert "Of 9 connections, 3 opened, ▲ 5 failed, 1 had no opening in the capture." in page.text
    assert "Failed: 2 refused, 1 unreachable, 1 unanswered, 1 invalid-answer." in page.text
    assert "Closed first by the client: 1, the server: 1, both at once: 1." in page.text
    assert "It was cut short." in page.text
    assert "4.4.18" in page.text
    rows = page.table("No.")
    assert [row[0] for row in rows] == [str(stream) for stream in range(9)]
    assert {len(row) for row in rows} == {13}
    assert rows[1][1:8] == ["10.0.0.1:50000", "192.0.2.80:80", "1.00 s", "500 µs", "▲ refused", "–", "reset"]
    assert page.tags.count("wbr") == 15 + 2 * len(rows), "only the long address of IPv6 may wrap, and endpoints before the port"
    assert rows[4][1] == "[2001:db8:85a3:1111:2222:8a2e:370:7334]:65535"
    assert rows[3][4] == "–", "one segment lasts no time that is known"
    assert page.table("Server")[3][4] == "–"
    assert page.table("Server")[1][7] == "tcp.stream in {1, 8}"
    assert [row[3] for row in page.table("Anomaly") if "unreachable" in row[0]] == ["stream 3"]
    assert [row[4] for row in page.table("Connection")] == [""] * 3, "no SYN was repeated, nothing waited for"
    assert page.text.count("Segments of connection") == 0, "that is a label"
    assert page.tags.count("svg") - page.attributes.count(("svg", "aria-hidden", "true")) == 9 + 1, (
        "ladders, and the chart of openings"
    )
    assert page.tags.count("details") == 2 * 9


def test_terminal_agrees_with_the_page(mixed: tuple[pd.DataFrame, pd.DataFrame], capsys: pytest.CaptureFixture[str]) -> None:
    summary_text.print_summary(summary.summary(*mixed), "office\x1b.pcapng")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    page = Page(render(*mixed, title="t", versions={}))
    assert lines[:2] == [
        r"office\x1b.pcapng: 9 TCP connections, 335 TCP segments",
        "Of 9 connections, 3 opened, 5 failed, 1 had no opening in the capture.",
    ]
    assert (
        lines[2]
        == "▲ Refused, because nothing listens on that port, or a firewall answers for it: 2 connections, all to 192.0.2.80:80."
    )
    assert lines[3] == "tcp.stream in {1, 8}"
    after = lines.index("opened  3 complete")
    assert lines[after : after + 4] == [
        "opened  3 complete",
        "failed  2 refused, 1 unreachable, 1 unanswered, 1 invalid-answer",
        "closed  1 three-way, 1 simultaneous, 1 reset, 1 none (of the 4 that were open)",
        "closed by  1 client, 1 server, 1 both",
    ]
    assert lines[1] in page.text.replace("▲ ", "")
    assert "9 TCP connections, 335 TCP segments, " in page.text
    assert any(line.startswith("12.1 ms ") for line in lines)
    assert any("stream 3" in line for line in lines)


def test_the_terminal_speaks_chinese_but_for_names(
    mixed: tuple[pd.DataFrame, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    summary_text.print_summary(summary.summary(*mixed), "office.pcapng", "zh")
    out = capsys.readouterr().out
    assert out.startswith("office.pcapng：9 个 TCP 连接，335 个 TCP 报文段\n共 9 个连接")
    names = {name for values in CATEGORIES.values() for name in values} | {
        *ANOMALIES,
        "office",
        "pcapng",
        "TCP",
        "SYN",
        "RST",
        "ACK",
        "ms",
    }
    words = set(re.findall(r"[a-zA-Z][a-zA-Z-]{2,}", re.sub(r"tcp\S+.*", "", out)))
    assert words - names <= {"mid-connection", "while-closing", "after-close", "in"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_breaks_no_word_on_a_narrow_terminal(
    mixed: tuple[pd.DataFrame, pd.DataFrame], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    facts = summary.summary(*mixed)
    summary_text.print_summary(facts, "mixed")
    whole = capsys.readouterr().out
    monkeypatch.setattr(summary_text, "console_for", lambda stream: Console(file=stream, width=width))
    summary_text.print_summary(facts, "mixed")
    narrow = capsys.readouterr().out
    assert set(narrow.split()) <= set(whole.split())
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= width


def test_names_stand_beside_the_servers(mixed: tuple[pd.DataFrame, pd.DataFrame], capsys: pytest.CaptureFixture[str]) -> None:
    segments, connections = mixed
    named = connections.assign(server_name=["shop.example", "a.example", *["shop.example"] * 6, "b.example"])
    facts = summary.summary(segments, named)
    assert {group.server_name for group in facts.failures} == {"a.example, …", "shop.example"}
    summary_text.print_summary(facts, "mixed")
    assert f"{facts.slowest[0].server} (shop.example)" in capsys.readouterr().out
    page = Page(render(segments, named, title="t", versions={}))
    assert page.table("Server")[1][0] == f"{facts.failures[0].server} a.example, …"
    assert page.table("No.")[0][2:4] == [facts.slowest[0].server, "shop.example"]


def test_packets_are_counted_too_where_they_hold_several_segments() -> None:
    segments, connections = tables(REFUSED)
    segments["frame"] = 1
    assert summary.summary(segments, connections).size_text() == "1 TCP connection, 2 TCP segments in 1 packet"


def test_connections_of_several_captures_are_numbered_through(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    names = ("one.pcapng", "folder/two.pcapng")
    segments, connections = (
        pd.concat([table.assign(capture=name) for name in names], ignore_index=True)
        for table in (mixed[0], mixed[1].reset_index())
    )
    connections.loc[9:, "start"] += pd.Timedelta("1000h")
    tables_of_both = summary.numbered(segments, connections)
    page = Page(render(*tables_of_both, title="2 captures", versions={}))
    rows = page.table("No.")
    assert [row[0] for row in rows] == [str(number) for number in range(18)]
    assert rows[1][1:3] == rows[10][1:3]
    assert (rows[1][3], rows[1][-1]) == ("1.00 s", "one.pcapng: 1")
    assert (rows[10][3], rows[10][-1]) == ("1.00 s", "two.pcapng: 1"), "each since its own beginning"
    assert pictures(page) == 18 + 5
    assert "tcp.stream in" not in page.text, "that would find something else in another capture"
    assert "frame.number in" not in page.text
    assert summary.summary(*tables_of_both).frames == 2 * summary.summary(*mixed).frames
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_links_lead_somewhere(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    for limit in (200, 3, 0):
        page = Page(render(*mixed, title="t", versions={}, max_ladders=limit))
        assert len(page.ids) == len(set(page.ids))
        assert all(link.startswith("#") for link in page.links)
        assert {link[1:] for link in page.links} <= set(page.ids)
    page = Page(render(*mixed, title="t", versions={}))
    assert {"#ladder-7", "#row-7"} <= set(page.links)


def test_nothing_is_asked_of_the_network_and_only_our_script_runs(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    html = render(*mixed, title="t", versions=VERSIONS)
    page = Page(html)
    assert not {"link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert page.tags.count("script") == 2, "data, and what the policy names by its hash"
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert not re.search(r"""url\(["']?(?!#|data:|["'a-z]+\))""", re.sub("<script.*?</script>", "", html, flags=re.DOTALL))
    assert "@import" not in html
    assert "default-src 'none'; script-src 'sha256-" in html


def test_tables_are_readable_by_screen_readers(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    page = Page(render(*mixed, title="t", versions=VERSIONS))
    assert page.tags.count("caption") == page.tags.count("table") >= 5
    assert page.tags.count("th") == sum(name == "scope" for tag, name, _ in page.attributes if tag == "th")


def test_hostile_text_stays_text() -> None:
    nasty = "<script>alert(1)</script>\"'&<img src=x onerror=y>\x00\x1b[2J\u202e"
    segments, connections = renamed(tables(REFUSED, NORMAL), nasty, nasty)
    segments["tcp_flags"] = nasty
    segments["anomaly"] = nasty
    connections["anomalies"] = nasty
    connections["establishment"] = "refused"
    html = render(segments, connections, title=nasty + "\udcff", versions={nasty: nasty}, notes=[nasty])
    page = Page(html)
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not re.search("[\x00\x1b\u202e]", html)
    html.encode("utf-8")


def test_failures_and_anomalies_are_drawn_first() -> None:
    scenarios = [NORMAL] * 10 + [SIMULTANEOUS_CLOSE, REFUSED, NORMAL]
    html = render(*tables(*scenarios), title="t", versions={}, max_ladders=4)
    assert re.findall(r'id="ladder-(\d+)"', html) == ["10", "11", "0", "1"]
    assert "4 connections of 13" in Page(html).text


def test_many_equal_failures_leave_room_for_others() -> None:
    scenarios = [REFUSED] * 60 + [UNANSWERED, SIMULTANEOUS_CLOSE]
    html = render(*tables(*scenarios), title="t", versions={}, max_ladders=30)
    drawn = re.findall(r'id="ladder-(\d+)"', html)
    assert drawn == [str(stream) for stream in (*range(28), 60, 61)]


def test_scan_of_many_ports_is_capped() -> None:
    aborted = """
        0    C SYN 100
        0.1  S SYN-ACK 300 101
        0.2  C RST 101
    """
    scenarios = [f"server 10.0.0.2:{port}\n{answer}" for answer in (REFUSED, aborted) for port in range(1, 81)]
    page = Page(render(*tables(*scenarios), title="t", versions={}, max_ladders=1))
    rows = page.table("Server")
    assert len(rows) == 2 * (1 + GROUPS_PER_FAILURE + 1)
    assert page.text.count("and 30 more groups") == 2


def test_connection_table_is_capped(monkeypatch: pytest.MonkeyPatch, mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    monkeypatch.setattr(report_page, "CONNECTION_ROWS", 4)
    page = Page(render(*mixed, title="t", versions={}))
    assert len(page.table("No.")) == 4
    assert "The first 4 of 9 connections" in page.text
    assert "pybridge connections FILE --format csv" in page.text
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_two_hundred_connections_make_a_small_page() -> None:
    html = render(*tables(*[NORMAL] * 150, *[transfer(100)] * 30, *[REFUSED] * 20), title="t", versions=VERSIONS)
    assert html.count('class="tcp-ladder"') == 200
    assert len(html.encode()) < 3_000_000


def test_one_connection_makes_a_page_below_150_kb() -> None:
    assert len(render(*tables(transfer(100)), title="t", versions=VERSIONS).encode()) < 150_000


def test_four_connections_have_no_chart_and_five_have_one() -> None:
    assert 'class="chart"' not in render(*tables(*[NORMAL] * 4), title="t", versions={})
    assert 'class="chart"' in render(*tables(*[NORMAL] * 5), title="t", versions={})


def test_openings_and_closings_share_their_axis() -> None:
    html = render(*tables(*[NORMAL] * 6), title="t", versions={})
    drawn = re.findall(r'<svg class="chart".*?</svg>', html, flags=re.DOTALL)
    first, second = (re.findall(r'y="152.0" text-anchor="\w+">([^<]+)<', chart) for chart in drawn[:2])
    assert first == second != []


def test_several_captures_on_one_axis_are_said() -> None:
    segments, connections = tables(*[NORMAL] * 5)
    segments, connections = (
        pd.concat([table.assign(capture=name) for name in ("a", "b")], ignore_index=True)
        for table in (segments, connections.reset_index())
    )
    page = Page(render(*summary.numbered(segments, connections), title="t", versions={}))
    assert "since the first segment of each capture; 2 captures share the axis" in page.text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 9, "0 %"), (5, 1994, "< 1 %"), (1986, 1994, "> 99 %"), (22, 32, "69 %"), (3, 3, "100 %"), (0, 0, "–")],
)
def test_few_are_not_none_and_most_are_not_all(part: int, whole: int, text: str) -> None:
    assert report_page._percent(part, whole) == text


def test_each_colour_means_one_thing() -> None:
    assert len(set(COLOURS.values()) | {NEUTRAL}) == len(COLOURS) + 1


@pytest.mark.parametrize("empty", [tables(), (pd.DataFrame(), pd.DataFrame())])
def test_a_capture_without_tcp_says_so(empty: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    page = Page(render(*empty, title="quiet.pcap", versions=VERSIONS))
    assert "There is no TCP connection in this capture." in page.text
    assert "table" not in page.tags
    assert "nan" not in page.text.lower()
    assert summary.summary(*empty).span is None


def test_a_capture_of_failures_only_has_no_empty_values() -> None:
    page = Page(render(*tables(REFUSED), title="t", versions={}))
    assert "▲ The only connection failed" in page.text
    assert "None" not in page.text
    assert "NaT" not in page.text


def test_input_is_left_alone(mixed: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    before = [table.copy(deep=True) for table in mixed]
    render(*mixed, title="t", versions={})
    for table, copy in zip(mixed, before, strict=True):
        pd.testing.assert_frame_equal(table, copy)
