# SPDX-License-Identifier: GPL-2.0-or-later
# ruff: noqa: RUF001 - Chinese has punctuation of its own
"""What a colleague would say of a capture: which sentences come, in which order, with which filter, and when none is needed."""

from __future__ import annotations

import pandas as pd
import pytest

from pybridge.report import chinese, findings
from pybridge.report.findings import Finding, Phrase
from pybridge.report.language import translator
from pybridge.report.summary import by_outcome, represented, summary
from pybridge.tables.peers import by_peer, resets
from tests.support.scenarios import NORMAL, REFUSED, UNANSWERED, tables

WELL = NORMAL
YOUNG = """
    0     C SYN 100
"""
LOST = """
    0     C SYN 100
    1     C SYN 100
    1.01  S SYN-ACK 300 101
    1.02  C ACK 101 301
"""
ABORTED = """
    0     C SYN 100
    0.01  S SYN-ACK 300 101
    0.02  C ACK 101 301
    0.03  C PSH 101 301 +10
    0.04  S RST 301
"""
WELL_UNTIL_FIN = """
    0     C SYN 100
    0.01  S SYN-ACK 300 101
    0.02  C ACK 101 301
    0.03  C PSH 101 301 +10
    0.04  S ACK 301 111
    60.03 C FIN 111 301"""
AFTER_CLOSE = """
    0     C SYN 100
    0.01  S SYN-ACK 300 101
    0.02  C ACK 101 301
    0.03  C FIN 101 301
    0.04  S FIN 301 102
    0.05  C RST 102
"""
UNREAD = AFTER_CLOSE.replace("0.04  S FIN 301", "0.04  S PSH 301 102 +600\n    0.041 S FIN 901")


def capture(*scenarios: str, later: float = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    segments, connections = tables(*scenarios, later=later)
    return segments.sort_values("time", ignore_index=True), connections


def said(*scenarios: str) -> list[Finding]:
    segments, connections = capture(*scenarios)
    return findings.findings(segments, by_outcome(connections))


def test_all_is_well_in_one_sentence() -> None:
    facts = summary(*capture(WELL, WELL))
    assert facts.findings == []
    assert facts.verdict() == [
        ("All is well: of 2 connections, ", ""), ("2 opened", "opened"), (", ", ""), ("none failed", ""), (".", ""),
    ]  # fmt: skip
    assert summary(*capture(WELL, REFUSED)).verdict()[0] == ("Of 2 connections, ", ""), "one was refused"
    assert not summary(*capture(UNANSWERED, later=1)).all_is_well, "it waits for an answer"
    assert summary(*capture(WELL, YOUNG)).all_is_well, "it could not have been answered yet"


def test_the_most_harmful_comes_first_and_each_says_how_many_and_where() -> None:
    sentences = [(finding.harm, finding.text(), finding.display_filter) for finding in said(AFTER_CLOSE, LOST, ABORTED, REFUSED)]
    assert sentences == [
        (
            "alarm",
            "Refused, because nothing listens on that port, or a firewall answers for it: 1 connection to 192.0.2.80:80.",
            "tcp.stream in {3}",
        ),
        (
            "alarm",
            "Reset by an end that did not know the connection any more: 1 connection to 192.0.2.80:80; by the server, "
            "10 octets unacknowledged, after 10.0 ms of silence.",
            "tcp.stream in {2}",
        ),
        (
            "alarm",
            "Opened 1.00 s late, after 1.02 s, because a SYN was lost or dropped: 1 connection to 192.0.2.80:80.",
            "tcp.stream in {1}",
        ),
        ("fine", "Ended with a reset after the close, which is harmless: 1 connection to 192.0.2.80:80.", "tcp.stream in {0}"),
    ]


def test_the_time_that_several_openings_lost_is_added_up() -> None:
    (finding,) = said(LOST, LOST)
    assert finding.text() == (
        "Opened late because a SYN was lost or dropped: 2 connections, all to 192.0.2.80:80; they waited 2.00 s in all, "
        "at most 1.00 s (10.0.0.1:50000 → 192.0.2.80:80)."
    )


def test_openings_that_waited_for_different_reasons_have_the_reason_in_common() -> None:
    answer_lost = LOST.replace("1     C", "0.01  S SYN-ACK 300 101\n    1     C")
    (finding,) = said(LOST, answer_lost)
    assert finding.text().startswith("Opened late because a SYN or its answer was lost or dropped: 2 connections")


def test_harmless_resets_are_no_alarm() -> None:
    (finding,) = said(AFTER_CLOSE)
    assert finding.harm == "fine"
    assert summary(*capture(AFTER_CLOSE)).verdict() == [("All is well: the only connection opened.", "")]


def test_a_reset_that_leaves_data_unread_when_both_had_closed_is_told_apart() -> None:
    unread, harmless = said(UNREAD, AFTER_CLOSE)
    assert (unread.harm, harmless.harm) == ("fine", "fine")
    assert unread.text().startswith("Ended with a reset after both had closed, harmless but for the data that it left unread: ")
    assert (unread.display_filter, harmless.display_filter) == ("tcp.stream in {0}", "tcp.stream in {1}")


def test_an_answer_to_a_probe_without_syn_is_that_of_a_closed_port() -> None:
    (finding,) = said("0     C FIN! 100\n    0.01  S RST,ACK 0 101")
    assert finding.text().startswith("Answered as by a closed port, without a SYN in the capture: 1 connection")


def test_a_reset_when_everything_was_acknowledged_is_told_as_a_close() -> None:
    (finding,) = said(ABORTED.replace("S RST 301", "S ACK 301 111\n    0.05  C RST,ACK 111 301"))
    assert finding.harm == "note"
    assert finding.text() == (
        "Closed with a reset instead of a FIN, when everything had been acknowledged: 1 connection to 192.0.2.80:80; "
        "by the client, nothing unacknowledged, after 10.0 ms of silence."
    )


def test_the_resets_of_several_ends_are_told_with_the_most_that_was_lost() -> None:
    by_client = ABORTED.replace("S RST 301", "S ACK 301 111\n    2     C RST 111")
    facts = summary(*capture(ABORTED, by_client, by_client, AFTER_CLOSE))
    assert facts.resets_in_words() == [
        "3 in mid-connection; 2 by the client, 1 by the server, at most 10 octets unacknowledged, "
        "after at most 1.96 s of silence",
        "1 after the close (harmless); by the client",
    ]


def test_an_end_that_has_not_closed_is_told_with_the_time_that_it_had() -> None:
    closing = WELL_UNTIL_FIN + "\n    60.04 S ACK 301 112"
    segments, connections = capture(closing, "80 C SYN 100", later=20)
    (finding,) = findings.findings(segments, by_outcome(connections[:1]))
    assert finding.harm == "note"
    assert finding.text().startswith("Closed by the client, but not by the server in the 20.0 s until the capture ended")


def test_an_end_that_gives_up_waiting_for_the_other_to_close_is_told() -> None:
    (finding,) = said(WELL_UNTIL_FIN + "\n    60.04 S ACK 301 112\n    120.04 C RST,ACK 112 301")
    assert finding.text().startswith("Reset by an end that had closed and waited in vain for the other to close: 1 connection")


def test_one_end_alone_is_no_fault_of_the_capture() -> None:
    (finding,) = said("0     S RST 301")
    assert (finding.harm, finding.text()) == (
        "fine",
        "Heard from one end only, too little to say more: 1 connection to 192.0.2.80:80.",
    )
    (finding,) = said("0     C SYN 100\n    0.01  C ACK 101 301")
    assert (finding.harm, finding.text()[:32]) == ("alarm", "Captured in one direction only, ")


def test_resets_are_told_by_when_they_came() -> None:
    while_closing = AFTER_CLOSE.replace("S FIN 301 102", "S PSH 301 102 +600")
    _, connections = tables(AFTER_CLOSE, ABORTED, WELL, UNREAD, while_closing)
    assert resets(connections).fillna("").tolist() == ["after-close", "mid-connection", "", "after-close", "while-closing"]


def table(client: list[str], server: list[str], port: list[int], establishment: str, diagnosis: str) -> pd.DataFrame:
    """Return as many connections like that of a refused one as there are clients."""
    _, one = tables(REFUSED)
    many = pd.concat([one] * len(client), ignore_index=True).rename_axis("stream")
    values = {"client": client, "server": server, "server_port": port}
    return many.assign(**values, establishment=establishment, diagnosis=diagnosis)


def test_a_scan_of_ports_is_one_sentence() -> None:
    segments, _ = tables(REFUSED)
    ports = list(range(1, 31))
    many = table(["10.0.0.9"] * 30, ["10.0.0.2"] * 30, ports, "refused", "port-closed")
    (scan,) = findings.findings(segments, many)
    assert scan.text() == "10.0.0.9 probes 30 ports of 10.0.0.2: 0 open, 30 closed, 0 silent."
    many.loc[:1, "establishment"] = "half-open"
    (scan,) = findings.findings(segments, many)
    assert scan.text() == "10.0.0.9 probes 30 ports of 10.0.0.2: 2 open (1, 2), 28 closed, 0 silent."
    assert scan.display_filter == "ip.addr == 10.0.0.9 && ip.addr == 10.0.0.2"


def test_a_sweep_of_hosts_is_one_sentence() -> None:
    segments, _ = tables(REFUSED)
    hosts = [f"2001:db8::{number}" for number in range(30)]
    many = table(["2001:db8::ffff"] * 30, hosts, [22] * 30, "unanswered", "server-silent")
    (sweep,) = findings.findings(segments, many)
    assert sweep.text() == "2001:db8::ffff probes port 22 of 30 hosts: 0 open, 0 closed, 30 silent."
    assert sweep.display_filter == "ipv6.addr == 2001:db8::ffff && tcp.port == 22"


def test_a_flood_is_one_sentence() -> None:
    segments, _ = tables(REFUSED)
    clients = [f"10.1.{number // 250}.{number % 250}" for number in range(60)]
    (flood,) = findings.findings(segments, table(clients, ["10.0.0.2"] * 60, [80] * 60, "half-open", "still-open"))
    assert flood.text() == "10.0.0.2:80 is flooded with SYNs: 60 connections from 60 clients stayed half-open."


def test_one_who_tries_again_and_again_is_named() -> None:
    (finding,) = said(*[WELL.replace("50000", str(50000 + number)) for number in range(6)])
    assert finding.harm == "note"
    assert "has the same exchange with 192.0.2.80:80 6 times" in finding.text()


def test_a_clock_that_steps_back_is_told() -> None:
    segments, connections = tables(WELL)
    segments.loc[2:, "time"] -= pd.Timedelta("5s")
    (finding,) = findings.findings(segments, connections)
    assert finding.text() == "The clock of the capture steps back 1 time, by up to 5.00 s: times are wrong there."


def test_what_comes_from_the_capture_is_made_printable() -> None:
    assert Phrase("{server}", {"server": "a\x1b[2Jb"}).text() == "a\\x1b[2Jb"


TEMPLATES = [
    *findings.FAILURES.values(), findings.OTHER_FAILURE, *findings.TROUBLES.values(), *findings.SLOW.values(),
    *findings.HARMLESS_RESETS.values(), *findings.NOT_FINISHED.values(), *findings.DETAILS, findings.AT_MOST, findings.BY_BOTH,
    *findings.BY["client"], *findings.BY["server"], findings.NOTHING, *findings.OCTETS, findings.ONE_END, findings.GIVEN_UP,
    *findings.TO_SERVERS, *findings.SCANS, findings.FLOOD_OF_SYNS, *findings.WAITED, *findings.CAUSES.values(),
    findings.OTHER_CAUSE, findings.REPEATED, findings.FAN_OUT, findings.UNREAD_AFTER_CLOSE,
    findings.AFTER_CLOSE, findings.ONE_SIDED, findings.CLOCK, *findings.CONNECTIONS, *findings.CLIENTS, *findings.TIMES,
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_sentence_is_in_chinese_too(template: str) -> None:
    assert template in chinese.PHRASES


def test_a_finding_in_chinese() -> None:
    (finding,) = said(REFUSED)
    assert finding.text(translator("zh")) == "被拒绝（该端口没有程序监听，或防火墙代为响应）：到 192.0.2.80:80 的 1 个连接。"


def test_servers_and_clients_are_counted_and_the_worst_comes_first() -> None:
    _, connections = tables(WELL, LOST, REFUSED, REFUSED, ABORTED)
    by_client = by_peer(connections, "client")
    assert by_client["connections"].sum() == len(connections)
    server = by_peer(connections, "server").loc[("192.0.2.80", 80)]
    assert (server["opened"], server["failed"], server["refused"]) == (3, 2, 2)
    assert server["waited"] == pd.Timedelta("1s")
    assert server["reset_mid_connection"] == 1
    assert (server["reset_by_client"], server["reset_by_server"], server["reset_unacknowledged"]) == (0, 1, 10)
    assert server["reset_silence"] == pd.Timedelta("10ms")


def test_every_kind_of_failure_is_shown_before_any_is_shown_again() -> None:
    segments, connections = tables(REFUSED, UNANSWERED)
    refused = [f"10.0.0.{number}" for number in range(10)]
    many = table(["10.1.0.1"] * 10, refused, [80] * 10, "refused", "port-closed")
    failures = summary(segments, pd.concat([many, connections[1:]], ignore_index=True).rename_axis("stream")).failures
    assert failures[-1].establishment == "unanswered"
    shown = represented(failures, 5)
    assert [group.establishment for group in shown].count("unanswered") == 1
    assert len(shown) == 5
