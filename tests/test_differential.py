# SPDX-License-Identifier: GPL-2.0-or-later
"""Conversations that nobody thought of: both implementations say the same of them, and nothing that the specification excludes.

`make fuzz SECONDS=600` runs longer than the tests do.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcaps import build, listing
from pybridge import plugin
from pybridge.capture import PythonEngine, read_with
from pybridge.model import FIN, STATES, SYN, NetworkError, Offer, Segment
from pybridge.plugin_engine import PluginEngine
from pybridge.verification import compare
from tests.machines import LuaMachine, PythonMachine

MODULO = 1 << 32
FLAGS = [0x02, 0x02, 0x12, 0x12, 0x10, 0x10, 0x10, 0x10, 0x11, 0x11, 0x14, 0x04, 0x18, 0x00, 0x01, 0x03, 0x05, 0x06, 0xC2, 0x52]
NUMBERS = [100, MODULO - 3, (1 << 31) - 2]
EFFORT = int(os.environ.get("PYBRIDGE_FUZZ_EXAMPLES", "0"))


class Move(NamedTuple):
    """One header: who sends it, its flags, and where its numbers lie in relation to what was sent before."""

    by_first: bool
    flags: int
    seq_from: str
    seq_offset: int
    ack_from: str
    ack_offset: int
    length: int
    repeat: int  # sent again this many times
    lost: bool  # not captured


moves = st.builds(
    Move,
    st.booleans(),
    st.sampled_from(FLAGS),
    st.sampled_from(["next", "next", "next", "isn"]),
    st.sampled_from([0, 0, 0, 0, 1, 5]),
    st.sampled_from(["next", "next", "next", "isn", "any"]),
    st.sampled_from([0, 0, 0, 1, 7]),
    st.sampled_from([0, 0, 0, 1, 5]),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([False] * 7 + [True]),
)


class Conversation(NamedTuple):
    """Both ends' initial numbers, the first end's port (against port 80), and what is sent."""

    isns: tuple[int, int]
    port: int
    moves: list[Move]


conversations = st.builds(
    Conversation,
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
    st.sampled_from([50000, 50000, 79, 80]),
    st.lists(moves, min_size=1, max_size=14),
)


class Header(NamedTuple):
    """What a move comes to."""

    by_first: bool
    flags: int
    seq: int
    ack: int
    length: int


def headers(conversation: Conversation) -> list[Header]:
    isns, following, sent = conversation.isns, list(conversation.isns), []
    for move in conversation.moves:
        me = 0 if move.by_first else 1
        seq = ((following if move.seq_from == "next" else isns)[me] + move.seq_offset) % MODULO
        known = {"next": following[1 - me], "isn": isns[1 - me] + 1, "any": 3_000_000_000}[move.ack_from]
        header = Header(move.by_first, move.flags, seq, (known + move.ack_offset) % MODULO, move.length)
        following[me] = (seq + move.length + bool(move.flags & SYN) + bool(move.flags & FIN)) % MODULO
        if not move.lost:
            sent += [header] * (1 + move.repeat)
    return sent


def events(conversation: Conversation) -> list[Segment | NetworkError]:
    first, second = ("10.0.0.1", conversation.port), ("10.0.0.2", 80)
    found: list[Segment | NetworkError] = []
    for number, header in enumerate(headers(conversation), start=1):
        source, destination = (first, second) if header.by_first else (second, first)
        if header.flags == 0 and header.length:  # in place of some null segments: an ICMP error about the sender
            found.append(NetworkError(number, number * 1000, 0, *source, *destination))
            continue
        offer = Offer(1460 if header.length else None, None, header.by_first, header.length > 1) if header.flags & SYN else None
        found.append(
            Segment(number, number * 1000, 0, *source, *destination, header.flags, header.seq, header.ack, header.length, offer)
        )
    return found


@settings(max_examples=EFFORT or 1000, deadline=None)
@given(conversations)
def test_both_state_machines_say_the_same(conversation: Conversation) -> None:
    python, lua = PythonMachine(), LuaMachine()
    for event in events(conversation):
        assert python.take(event) == lua.take(event)
        assert python.told() == lua.told()


@settings(max_examples=EFFORT or 1000, deadline=None)
@given(conversations)
def test_annotations_keep_what_the_specification_promises(conversation: Conversation) -> None:
    machine = PythonMachine()
    annotated = []
    for event in events(conversation):
        said = machine.take(event)
        if isinstance(event, Segment) and said:
            annotated.append((event, said))
    by_frame = {event.frame: (event, said) for event, said in annotated}
    for event, said in annotated:
        assert {said["client_state"], said["server_state"]} <= set(STATES)
        if said["responds_to"] is not None:
            answered, _ = by_frame[said["responds_to"]]
            assert answered.frame < event.frame
            assert (answered.source, answered.source_port) == (event.destination, event.destination_port)
            assert said["response_time"] == event.time - answered.time
        roles = set((said["role"] or "").split("+"))
        assert said["retransmission"] == ("-retransmission" in (said["anomaly"] or ""))
        assert (said["handshake_step"] is not None) == bool(roles & {"SYN", "SYN-ACK", "HANDSHAKE-ACK"})
        assert (said["teardown_step"] is not None) == bool(roles & {"FIN", "ACK-OF-FIN"})
    rows = machine.rows()
    if annotated:
        row = rows[0]
        assert len(annotated) == row.segments_client + row.segments_server
        assert sum(event.length for event, _ in annotated) == row.bytes_client + row.bytes_server
        said_anomalies = {name for _, said in annotated for name in (said["anomaly"] or "").split("+")} - {""}
        assert said_anomalies == set((row.anomalies or "").split("+")) - {"", "unreachable"}
        counts = Counter(name for _, said in annotated for name in (said["anomaly"] or "").split("+"))
        assert counts["fin-retransmission"] == row.fin_retransmissions


@settings(max_examples=max(3, EFFORT // 500), deadline=None, suppress_health_check=list(HealthCheck))
@given(many=st.lists(conversations, min_size=20, max_size=60))
def test_both_engines_say_the_same_of_whole_captures(many: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> None:
    waiting = [(number, header) for number, conversation in enumerate(many) for header in headers(conversation)]
    order = sorted(range(len(waiting)), key=lambda place: (place % 7, place))  # interleaved, each conversation nearly in order
    golden = listing.Listing("differential")
    for frame, place in enumerate(order, start=1):
        number, header = waiting[place]
        golden.events.append(frame_of(frame, number, many[number].port, header))
    path = tmp_path_factory.mktemp("differential") / "differential.pcapng"
    path.write_bytes(build.pcapng(golden))
    ours = read_with(PythonEngine(), str(path), progress=False)
    for two_passes in (False, True):
        theirs = read_with(PluginEngine(plugin.path(), two_passes=two_passes), str(path), progress=False)
        assert [] == compare(ours, theirs).to_dict(orient="records")


def frame_of(frame: int, number: int, port: int, header: Header) -> listing.Segment:
    prefix = "10.1" if number % 3 else "2001:db8:"
    join = (lambda host: f"{prefix}.{number}.{host}") if number % 3 else (lambda host: f"{prefix}{number + 1:x}::{host}")
    first, second = listing.End("C", join(1), port), listing.End("S", join(2), 80)
    source, destination = (first, second) if header.by_first else (second, first)
    return listing.Segment(
        frame=frame, time_ns=frame * 1000, line=0, stream=number, source=source, destination=destination, flags=header.flags,
        seq=header.seq, ack=header.ack, payload=listing.filler(header.seq, header.length),
    )  # fmt: skip
