# SPDX-License-Identifier: GPL-2.0-or-later
"""Rare conversations, which random ones seldom contain, on both state machines."""

from __future__ import annotations

import pytest
from lupa import lua54

from pybridge.tcp.model import NetworkError, Segment
from pybridge.tcp.vocabulary import SYN
from tests.support.listings import CHECKED, expectations
from tests.support.machines import PLUGIN, LuaMachine, PythonMachine
from tools.goldens import listing

SELDOM = {
    "a rejection on an opened connection aborts nothing (R2)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN-ACK 300 101        ; SYN-ACK 2/3  ESTABLISHED SYN-RECEIVED  ->1
        C ACK 101 301            ; HANDSHAKE-ACK 3/3  ESTABLISHED ESTABLISHED  ->2
        S SYN-ACK 300 101        ; SYN-ACK 2/3  ESTABLISHED SYN-RECEIVED  ->1  syn-ack-retransmission
        C ACK 101 900000         ; -  ESTABLISHED SYN-RECEIVED  ack-mismatch
        S RST 900000             ; RST  CLOSED SYN-RECEIVED
        ; establishment=complete termination=reset closed_by=server conn_state=RSTR history=ShAr
    """,
    "of two RSTs the first ended the attempt, though its sender lived on (R2, C6)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN 300                ; SYN 1/3  SYN-RECEIVED SYN-RECEIVED  simultaneous-open
        S ACK 301 900000         ; -  SYN-RECEIVED SYN-RECEIVED  ack-mismatch
        C RST 900000             ; RST  SYN-RECEIVED CLOSED  handshake-aborted
        S RST 301                ; RST  CLOSED CLOSED  handshake-aborted
        ; establishment=aborted termination=reset closed_by=client conn_state=REJ history=SsaRr
    """,
    "an end that acknowledges what its peer sent after a reset lives (R6)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN 300                ; SYN 1/3  SYN-RECEIVED SYN-RECEIVED  simultaneous-open
        S ACK 301 900000         ; -  SYN-RECEIVED SYN-RECEIVED  ack-mismatch
        C RST 900000             ; RST  SYN-RECEIVED CLOSED  handshake-aborted
        C FIN 101 301            ; FIN 1/4  FIN-WAIT-1 CLOSED
        S ACK 301 102            ; ACK-OF-FIN 2/4  FIN-WAIT-2 CLOSE-WAIT  ->5
        S FIN 301 102            ; FIN 3/4  TIME-WAIT LAST-ACK
        ; establishment=simultaneous termination=unacknowledged closed_by=client conn_state=RSTO history=SsaRFf
    """,
    "a late SYN-ACK is known by its number, whatever it acknowledges (H8.4)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        C ACK 101 301            ; HANDSHAKE-ACK 3/3  ESTABLISHED ESTABLISHED
        S SYN-ACK 300 55         ; SYN-ACK 2/3  ESTABLISHED ESTABLISHED  ->1
        ; establishment=complete termination=none closed_by=- conn_state=S1 history=SAh
    """,
}


@pytest.mark.parametrize("make", [PythonMachine, LuaMachine])
@pytest.mark.parametrize("name", SELDOM)
def test_both_state_machines_annotate_rare_conversations_as_specified(name: str, make: type[PythonMachine | LuaMachine]) -> None:
    lines = [line.strip() for line in SELDOM[name].strip().splitlines()]
    text = "client 10.0.0.1:50000\nserver 10.0.0.2:80\n" + "\n".join(line if line[0] == ";" else f"0 {line}" for line in lines)
    golden, machine = listing.parse("seldom", text), make()
    for event, expected in expectations(golden):
        said = machine.take(event)
        assert said is not None
        assert {"frame": event.frame} | {column: said[column] for column in CHECKED} == {"frame": event.frame} | expected
    expected_row = {column: None if value == "-" else value for column, value in golden.connections[0].items()}
    assert {column: machine.told()[0][column] for column in expected_row} == expected_row


def test_addresses_with_one_name_are_told_apart() -> None:
    """With name resolution, Wireshark's addresses print as names: two hosts can have the same."""
    lua = lua54.LuaRuntime()
    tracker = lua.execute(PLUGIN.read_text(encoding="utf-8")).new()
    named = lua.eval("function() return setmetatable({}, { __tostring = function() return 'host' end }) end")
    one, other, server = named(), named(), named()
    said = []
    for stream, client in enumerate([one, other, one, other]):
        said.append(tracker.segment(tracker, stream, stream + 1, 0, client, 50000, server, 80, SYN, 100, 0, 0)["anomaly"])
    assert said == [None, None, "port-reuse", "port-reuse"]
    assert tracker.network_error(tracker, 5, 0, server, 50000, one, 80, None) is None
    assert tracker.network_error(tracker, 6, 0, other, 50000, server, 80, None)["stream"] == 3


@pytest.mark.parametrize("make", [PythonMachine, LuaMachine])
def test_a_network_error_about_a_segment_that_was_not_captured_has_no_effect(make: type[PythonMachine | LuaMachine]) -> None:
    machine = make()
    client, server = ("10.0.0.1", 50000), ("10.0.0.2", 80)
    machine.take(Segment(1, 0, 0, *client, *server, 0, 100, 0, 0))  # invalid: the connection is fresh still
    for stream in (0, 7, None):
        assert machine.take(NetworkError(2, 0, stream, *client, *server)) is None
    machine.take(Segment(3, 0, 0, *client, *server, SYN, 100, 0, 0))
    for stream, ends in ((0, (*server, *client)), (7, (*client, *server)), (None, ("10.0.0.3", 50000, *server))):
        assert machine.take(NetworkError(4, 0, stream, *ends)) is None
    assert machine.take(NetworkError(5, 0, None, *client, *server)) is not None
