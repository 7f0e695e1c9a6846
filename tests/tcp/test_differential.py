# SPDX-License-Identifier: GPL-2.0-or-later
"""Conversations that nobody thought of: both implementations say the same of them, and nothing that the specification excludes.

`make fuzz SECONDS=600` runs longer than the tests do. A failure prints its smallest example as a listing for pcaps/.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lupa import lua54

import pybridge
from pybridge.engine import PythonEngine
from pybridge.tables.schema import CATEGORIES
from pybridge.tcp.model import NetworkError, Segment
from pybridge.tcp.vocabulary import ACK, CLOSED, FIN, LISTEN, RST, SYN
from pybridge.verification import compare
from pybridge.wireshark import plugin_files
from pybridge.wireshark.plugin_engine import PluginEngine
from tests.support import rfc9293
from tests.support.machines import PLUGIN, SAID, LuaMachine, PythonMachine, Said
from tests.tcp.test_listings import CHECKED, expectations, network_error, segment
from tools.goldens import build, listing

MODULO, HALF = 1 << 32, 1 << 31
EFFORT = int(os.environ.get("PYBRIDGE_FUZZ_EXAMPLES", "0"))
IN_ONE_CAPTURE = 200
THOROUGH = settings(max_examples=EFFORT or 500, phases=[phase for phase in Phase if phase is not Phase.explain])

FLAGS = [0x02] * 3 + [0x12] * 3 + [0x10] * 7 + [0x11] * 4 + [0x14] * 2 + [0x04, 0x18, 0x00, 0x01, 0x03, 0x05, 0x06, 0xC2, 0x52]
START = 1_704_067_200 * 10**9  # 2024
NUMBERS = [100, MODULO - 3, HALF - 2]
OFFERS: list[tuple[tuple[str, tuple[int, ...]], ...]] = [
    (),
    (("mss", (1460,)),),
    (("mss", (1460,)), ("sack", ()), ("ws", (7,))),
    (("tfo", ()),),
    (("tfo", (0x1122334455667788,)),),
]
FATES = ["captured"] * 18 + ["lost", "sent again", "captured twice", "captured twice", "unreachable", "unreachable, eight bytes"]


Item = TypeVar("Item")


class Move(NamedTuple):
    """A segment: who sends it, its flags, where its numbers lie in relation to what was sent before, and what becomes of it."""

    by_first: bool
    flags: int
    seq_from: str = "next"
    seq_offset: int = 0
    ack_from: str = "next"
    ack_offset: int = 0
    length: int = 0
    offer: int = 0
    fate: str = "captured"
    delay: int = 0  # captured behind so many others; of two copies the second


class Conversation(NamedTuple):
    """All between two ends: one run after the other, each a connection of its own where Wireshark begins a new stream."""

    version: int
    ports: tuple[int, int]
    one_host: bool
    counted: tuple[bool, bool]  # whether each end counts its packets in IPv4's identification
    timestamps: bool
    captured_from: str
    tick: int  # nanoseconds; negative where the clock runs backwards
    runs: list[tuple[tuple[int, int], list[Move]]]  # both initial sequence numbers, and what is sent


moves = st.builds(
    Move,
    st.booleans(),
    st.sampled_from(FLAGS),
    st.sampled_from(["next", "next", "next", "isn"]),
    st.sampled_from([0] * 12 + [1, 5, HALF]),
    st.sampled_from(["next", "next", "next", "isn", "any"]),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, 7, 65_536, 65_537, HALF]),
    st.sampled_from([0, 0, 0, 1, 5]),
    st.integers(0, len(OFFERS) - 1),
    st.sampled_from(FATES),
    st.sampled_from([0, 0, 0, 0, 0, 1, 2, 6]),
)
OPENING = [Move(True, 0x02), Move(False, 0x12), Move(True, 0x10)]
CLOSINGS = [
    [Move(True, 0x11), Move(False, 0x11), Move(True, 0x10)],
    [Move(False, 0x11), Move(True, 0x10), Move(True, 0x11), Move(False, 0x10)],
    [Move(True, 0x11), Move(False, 0x11, ack_from="isn"), Move(True, 0x10), Move(False, 0x10)],
]
BEGINNINGS = [[], [], OPENING[:1], OPENING[:1], OPENING[:2], OPENING, OPENING, *(OPENING + closing for closing in CLOSINGS)]
conversations = st.builds(
    Conversation,
    st.sampled_from([4, 6]),
    st.sampled_from([(50000, 80), (50000, 80), (50000, 80), (79, 80), (80, 80)]),
    st.sampled_from([False, False, False, False, True]),
    st.tuples(st.booleans(), st.booleans()),
    st.booleans(),
    st.sampled_from(["both", "both", "both", "first", "second"]),
    st.sampled_from([1000, 1000, 1000, -1000]),
    st.lists(
        st.tuples(
            st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
            st.builds(
                list.__add__,
                st.sampled_from(BEGINNINGS),
                st.lists(moves, min_size=1, max_size=12),
            ),
        ),
        min_size=1,
        max_size=3,
    ),
)


def golden_of(many: Sequence[Conversation]) -> listing.Listing:
    """The conversations, interleaved, as a golden without expectations."""
    golden = listing.Listing("differential", start_ns=START)
    waiting = [(place, number, event) for number, one in enumerate(many) for place, event in enumerate(captured(number, one))]
    waiting.sort(key=lambda item: item[:2])
    latest: dict[int, tuple[int, int]] = {}  # of each conversation: its run, its stream
    streams = 0
    frames: dict[tuple[int, int], listing.Segment] = {}
    for frame, (_, number, (run, quoted, event)) in enumerate(waiting, start=1):
        time = START + frame * many[number].tick
        if isinstance(event, listing.NetworkError):
            golden.events.append(replace(event, frame=frame, time_ns=time, quoted=frames[number, quoted]))
            continue
        if number not in latest or run > latest[number][0]:
            latest[number] = run, streams
            streams += 1
        frames[number, quoted] = replace(event, frame=frame, time_ns=time, stream=latest[number][1])
        golden.events.append(frames[number, quoted])
    return golden


def captured(number: int, conversation: Conversation) -> list[tuple[int, int, listing.Segment | listing.NetworkError]]:
    """What was captured, in order: the run, which of all segments it is or quotes, and the event without its frame."""
    first, second, router = ends_of(number, conversation)
    found: list[tuple[float, tuple[int, int, listing.Segment | listing.NetworkError]]] = []
    sent = [0, 0]  # segments of each end
    index = 0
    for run, (isns, run_moves) in enumerate(conversation.runs):
        following = list(isns)
        for move in run_moves:
            index += 1
            me = 0 if move.by_first else 1
            seq = ((following if move.seq_from == "next" else isns)[me] + move.seq_offset) % MODULO
            known = {"next": following[1 - me], "isn": isns[1 - me] + 1, "any": 3_000_000_000}[move.ack_from]
            following[me] = (seq + move.length + bool(move.flags & SYN) + bool(move.flags & FIN)) % MODULO
            for again in range(2 if move.fate == "sent again" else 1):
                counter = sent[me]
                sent[me] += 1
                options = OFFERS[move.offer] if move.flags & SYN else ()
                if conversation.timestamps:
                    options += (("ts", (counter, sent[1 - me])),)
                one = listing.Segment(
                    frame=0, time_ns=0, line=0, stream=0, source=first if move.by_first else second,
                    destination=second if move.by_first else first, flags=move.flags, seq=seq,
                    ack=(known + move.ack_offset) % MODULO, payload=listing.filler(seq, move.length), options=options,
                    ip_id=(65_534 + counter) % 65_536 if conversation.version == 4 and conversation.counted[me] else 0,
                )  # fmt: skip
                if conversation.captured_from not in ("both", ("first", "second")[me]) or move.fate == "lost":
                    continue
                copied = move.fate == "captured twice"
                place = index + 0.5 * again
                found.append((place + (0 if copied else move.delay + 0.1), (run, index, one)))
                if copied:
                    found.append((place + move.delay + 0.2, (run, index, one)))
                if move.fate.startswith("unreachable"):
                    kind, code = (3, 1) if conversation.version == 4 else (1, 3)
                    eight = 8 if move.fate.endswith("bytes") else None
                    error = listing.NetworkError(0, 0, 0, router, kind, code, quoted=one, quoted_bytes=eight)
                    found.append((place + move.delay + 0.3, (run, index, error)))
    return [event for _, event in sorted(found, key=lambda item: item[0])]


def ends_of(number: int, conversation: Conversation) -> tuple[listing.End, listing.End, listing.End]:
    """The first, the second, and a router; no conversation shares them with another."""
    hosts = [f"10.{number >> 8}.{number & 255}.{{}}", f"2001:db8:{number:x}::{{}}"][conversation.version == 6]
    name = str(number + 1) if number else ""
    first = listing.End(f"C{name}", hosts.format(1), conversation.ports[0])
    second = listing.End(f"S{name}", hosts.format(1 if conversation.one_host else 2), conversation.ports[1])
    return first, second, listing.End("R", hosts.format(254), 0)


def events(golden: listing.Listing) -> Iterator[Segment | NetworkError]:
    """What the state machines are told."""
    for event in golden.events:
        if isinstance(event, listing.Segment):
            yield segment(event, alone=True)
        elif isinstance(event, listing.NetworkError):
            yield network_error(event)


# ------------------------------------------------------------------------------------------- A failure as a listing


def as_listing(golden: listing.Listing) -> str:
    """The text to be saved in pcaps/; what the Python annotator says stands where what the specification says is to be put."""
    machine = PythonMachine()
    start = datetime.fromtimestamp(golden.start_ns // 10**9, UTC)
    lines = ["# Found by tests/test_differential.py.", "# rules:", "# source: own", f"start {start:%Y-%m-%dT%H:%M:%SZ}"]
    defined: set[str] = set()
    streams: dict[frozenset[listing.End], int] = {}
    for event, taken in zip(golden.events, events(golden), strict=True):
        said = machine.take(taken)
        ends = (event.source, event.destination) if isinstance(event, listing.Segment) else (event.router,)
        for end in sorted(ends, key=lambda end: end.name):
            address = f"[{end.address}]" if end.version == 6 else end.address
            word = {"C": "client", "S": "server", "R": "router"}[end.name[0]] + end.name[1:]
            line = f"{word} {end.address}" if end.name == "R" else f"{word} {address}:{end.port}"
            if line not in defined:
                defined.add(line)
                lines.append(line)
        words = [f"{(event.time_ns - golden.start_ns) / 10**9:.9f}"]
        if isinstance(event, listing.Segment):
            pair = frozenset((replace(event.source, name=""), replace(event.destination, name="")))
            new = pair in streams and streams[pair] != event.stream
            streams[pair] = event.stream
            words += segment_words(event) + [f"stream={event.stream}"] * new
            words += ["; " + expectation(said or {}, sender="client" if event.source.name[0] == "C" else "server")]
        elif isinstance(event, listing.NetworkError):
            words += ["icmp", event.router.name, f"{event.type}/{event.code}", "quotes", str(event.quoted.frame)]
            words += [f"bytes={event.quoted_bytes}"] * (event.quoted_bytes is not None)
            words += ["; " + (expectation(said, sender=None) if said else "none")]
        lines.append(" ".join(words))
    for stream, told in machine.told().items():
        columns = ("establishment", "termination", "closed_by", "conn_state", "history")
        lines.append("; " + " ".join([f"stream={stream}"] + [f"{column}={told[column] or '-'}" for column in columns]))
    return "\n".join(lines) + "\n"


def segment_words(event: listing.Segment) -> list[str]:
    names = [name for name, bit in listing.FLAGS.items() if event.flags & bit]
    short = {bits: name for name, bits in listing.SHORT_FORMS.items()}.get(event.flags)
    flags = short or ",".join(names) + ("!" if ",".join(names) in listing.SHORT_FORMS else "")
    words = [event.source.name, flags, str(event.seq)]
    words += [str(event.ack)] * bool(event.flags & listing.ACK or event.ack)
    words += [f"+{event.length}"] * bool(event.length)
    words += [name + ("=" + ",".join(map(str, values)) if values else "") for name, values in event.options]
    return words + [f"id={event.ip_id}"] * bool(event.ip_id)


def expectation(said: Said, sender: str | None) -> str:
    words = [said["role"] or "-"]
    words += [f"{said['handshake_step']}/3"] * (said["handshake_step"] is not None)
    words += [f"{said['teardown_step']}/4"] * (said["teardown_step"] is not None)
    words += [said["client_state"], said["server_state"]]
    words += [f"->{said['responds_to']}"] * (said["responds_to"] is not None)
    words += [f"sender={said['sender']}"] * (said["sender"] != sender)
    return " ".join(words + (said["anomaly"] or "").split("+")).strip()


@settings(THOROUGH, max_examples=THOROUGH.max_examples // 4)
@given(conversations)
def test_what_is_printed_of_a_failure_is_a_listing_of_the_same_events(conversation: Conversation) -> None:
    def bare(event: listing.Event) -> listing.Event:
        if isinstance(event, listing.NetworkError):
            event = replace(event, quoted=bare(event.quoted))
        return replace(event, line=0) if isinstance(event, listing.Other) else replace(event, line=0, expected=None)

    golden = golden_of([conversation])
    for some in (golden, golden_with(golden.events[::2])):
        read = listing.parse("printed", as_listing(some))
        assert list(map(bare, some.events)) == list(map(bare, read.events))


def smallest(items: list[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
    """What is left of a list on which something fails when nothing more can be left out."""
    size = len(items) // 2
    while size:
        for start in range(0, len(items), size):
            kept = items[:start] + items[start + size :]
            if kept and fails(kept):
                items = kept
                break
        else:
            size //= 2
    return items


def golden_with(events: Sequence[listing.Event]) -> listing.Listing:
    """These events alone, frames and streams numbered anew; without errors that quote none of them."""
    golden = listing.Listing("differential", start_ns=START)
    frames: dict[int, listing.Segment] = {}
    streams: dict[int, int] = {}
    for event in events:
        frame = len(golden.events) + 1
        if isinstance(event, listing.NetworkError):
            if event.quoted.frame in frames:
                golden.events.append(replace(event, frame=frame, quoted=frames[event.quoted.frame]))
        elif isinstance(event, listing.Segment):
            frames[event.frame] = replace(event, frame=frame, stream=streams.setdefault(event.stream, len(streams)))
            golden.events.append(frames[event.frame])
    return golden


@contextmanager
def printed(golden: listing.Listing) -> Iterator[listing.Listing]:
    """Whatever fails here has the golden as its last words; Hypothesis has made it small."""
    try:
        yield golden
    except Exception as error:
        error.add_note(as_listing(golden))
        raise


# ----------------------------------------------------------------------------------------------- Both state machines


@THOROUGH
@given(conversations)
def test_both_state_machines_say_the_same(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        python, lua = PythonMachine(), LuaMachine()
        for event in events(golden):
            assert python.take(event) == lua.take(event)
            assert python.told() == lua.told()


@THOROUGH
@given(conversations)
def test_annotations_keep_what_the_specification_promises(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        machine = PythonMachine()
        annotated: dict[int, tuple[Segment, Said]] = {}
        anomalies: dict[int, Counter[str]] = {}
        for event in events(golden):
            said = machine.take(event)
            if said is None:
                continue
            assert [] == [name for name in CATEGORIES.keys() & said.keys() if said[name] not in {None, *CATEGORIES[name]}]
            if said["responds_to"] is not None:
                answered, _ = annotated[said["responds_to"]]
                back = (
                    (event.destination, event.destination_port)
                    if isinstance(event, Segment)
                    else (event.source, event.source_port)
                )
                assert back == (answered.source, answered.source_port)
                assert said["response_time"] == event.time - answered.time
            names = (said["anomaly"] or "").split("+")
            stream = event.stream if isinstance(event, Segment) else annotated[said["responds_to"]][0].stream
            anomalies.setdefault(stream or 0, Counter()).update(names)
            if isinstance(event, Segment):
                annotated[event.frame] = event, said
                roles = set((said["role"] or "").split("+"))
                assert said["retransmission"] == ("-retransmission" in (said["anomaly"] or ""))
                assert (said["handshake_step"] is not None) == bool(roles & {"SYN", "SYN-ACK", "HANDSHAKE-ACK"})
                assert (said["teardown_step"] is not None) == bool(roles & {"FIN", "ACK-OF-FIN"})
        for stream, row in machine.rows().items():
            assert [] == [name for name in CATEGORIES if getattr(row, name, None) not in {None, *CATEGORIES[name]}]
            ours = [event for event, _ in annotated.values() if event.stream == stream]
            assert len(ours) == row.client_segments + row.server_segments
            assert sum(event.length for event in ours) == row.client_bytes + row.server_bytes
            assert set(anomalies[stream]) - {""} == set((row.anomalies or "").split("+")) - {""}
            assert anomalies[stream]["syn-retransmission"] == row.syn_retransmissions
            assert anomalies[stream]["syn-ack-retransmission"] == row.syn_ack_retransmissions
            assert anomalies[stream]["fin-retransmission"] == row.fin_retransmissions


class RecallingMachine(LuaMachine):
    """The plugin's, asked again as Wireshark does when a packet is looked at."""

    def recall(self, event: Segment, stream: int) -> Said:
        place = stream, event.frame, 0, event.source, event.source_port
        said, _ = self._tracker.recall(self._tracker, *place, event.flags, event.seq, event.length)
        return {name: said[name] for name in SAID} | {"retransmission": bool(said["retransmission"])}


@THOROUGH
@given(conversations)
def test_the_plugin_says_the_same_again_when_a_segment_is_dissected_again(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        lua = RecallingMachine()
        said = [(event, lua.take(event)) for event in events(golden)]
        segments = [(event, first) for event, first in said if isinstance(event, Segment)]
        begins = {event.stream: event.frame for event, _ in reversed(segments)}
        for event, first in segments:
            for stream, frame in begins.items():  # Wireshark itself can give a later stream of the same ends
                if stream == event.stream or event.frame < frame:
                    assert first == lua.recall(event, stream)


class UnwatchedMachine(RecallingMachine):
    """The plugin's, as Wireshark runs it while nobody looks at its items."""

    takes = "take"

    def needs(self, event: Segment) -> bool:
        """Whether the plugin does not pass the segment over."""
        quiet = self._tracker.quiet[event.stream]
        if quiet is None or event.flags & (FIN | SYN | RST | ACK) != ACK:
            return True
        sender = self._tracker.sender(self._tracker, event.stream, event.source, event.source_port)
        return not sender & (quiet.with_payload if event.length else quiet.without)


@THOROUGH
@given(conversations, st.integers(0, 30))
def test_the_plugin_says_the_same_when_somebody_looks_only_later(conversation: Conversation, looks_at: int) -> None:
    with printed(golden_of([conversation])) as golden:
        python, lua = PythonMachine(), UnwatchedMachine()
        expected: list[tuple[Segment, Said]] = []
        for event in events(golden):
            said = python.take(event)
            if isinstance(event, NetworkError):
                assert said == lua.take(event)
                continue
            assert said is not None
            expected.append((event, said))
            if lua.needs(event):
                glimpsed = lua.take(event)
                assert glimpsed is not None
                for name in ("role", "handshake_step", "teardown_step", "anomaly"):
                    assert glimpsed[name] == said[name]
            if len(expected) == looks_at:  # as in a live capture
                assert said == lua.recall(event, event.stream)
        assert python.told() == lua.told()
        for event, said in expected:
            assert said == lua.recall(event, event.stream)


def test_addresses_with_one_name_are_told_apart() -> None:
    """Where Wireshark resolves names, an address prints itself as one."""
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
def test_an_error_about_what_was_not_captured_has_no_effect(make: type[PythonMachine | LuaMachine]) -> None:
    machine = make()
    client, server = ("10.0.0.1", 50000), ("10.0.0.2", 80)
    machine.take(Segment(1, 0, 0, *client, *server, 0, 100, 0, 0))  # invalid: the connection is fresh still
    for stream in (0, 7, None):
        assert machine.take(NetworkError(2, 0, stream, *client, *server)) is None
    machine.take(Segment(3, 0, 0, *client, *server, SYN, 100, 0, 0))
    for stream, ends in ((0, (*server, *client)), (7, (*client, *server)), (None, ("10.0.0.3", 50000, *server))):
        assert machine.take(NetworkError(4, 0, stream, *ends)) is None
    assert machine.take(NetworkError(5, 0, None, *client, *server)) is not None


@settings(THOROUGH, max_examples=THOROUGH.max_examples // 4)
@given(st.lists(conversations, min_size=3, max_size=3))
def test_a_connection_that_was_packed_meanwhile_is_the_same(many: list[Conversation]) -> None:
    with printed(golden_of(many)) as golden:
        usual, packing = PythonMachine(), PythonMachine(live_objects=1)
        for event in events(golden):
            said = packing.take(event)
            assert usual.take(event) == said
        assert usual.rows() == packing.rows()


# What random conversations seldom come to, with what the specification says of it.
SELDOM = {
    "a rejection on an opened connection aborts nothing (R3)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN-ACK 300 101        ; SYN-ACK 2/3  ESTABLISHED SYN-RECEIVED  ->1
        C ACK 101 301            ; HANDSHAKE-ACK 3/3  ESTABLISHED ESTABLISHED  ->2
        S SYN-ACK 300 101        ; SYN-ACK 2/3  ESTABLISHED SYN-RECEIVED  ->1  syn-ack-retransmission
        C ACK 101 900000         ; -  ESTABLISHED SYN-RECEIVED  ack-mismatch
        S RST 900000             ; RST  CLOSED SYN-RECEIVED
        ; establishment=complete termination=reset closed_by=server conn_state=RSTR history=ShAr
    """,
    "of two RSTs the first ended the attempt, though its sender lived on (R3, C6)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN 300                ; SYN 1/3  SYN-RECEIVED SYN-RECEIVED  simultaneous-open
        S ACK 301 900000         ; -  SYN-RECEIVED SYN-RECEIVED  ack-mismatch
        C RST 900000             ; RST  SYN-RECEIVED CLOSED  handshake-aborted
        S RST 301                ; RST  CLOSED CLOSED  handshake-aborted
        ; establishment=aborted termination=reset closed_by=client conn_state=RSTO history=SsaRr
    """,
    "an end to which a FIN was delivered when it was CLOSED shows that it lives (H9.6, T3)": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN 300                ; SYN 1/3  SYN-RECEIVED SYN-RECEIVED  simultaneous-open
        S ACK 301 900000         ; -  SYN-RECEIVED SYN-RECEIVED  ack-mismatch
        C RST 900000             ; RST  SYN-RECEIVED CLOSED  handshake-aborted
        C FIN 101 301            ; FIN 1/4  FIN-WAIT-1 CLOSED
        S ACK 301 102            ; ACK-OF-FIN 2/4  FIN-WAIT-2 ESTABLISHED  ->5
        S FIN 301 102            ; FIN 3/4  TIME-WAIT ESTABLISHED
        ; establishment=simultaneous termination=reset closed_by=client conn_state=RSTO history=SsaRFf
    """,
    "and closes in its turn before it has heard of that FIN": """
        C SYN 100                ; SYN 1/3  SYN-SENT LISTEN
        S SYN 300                ; SYN 1/3  SYN-RECEIVED SYN-RECEIVED  simultaneous-open
        S ACK 301 900000         ; -  SYN-RECEIVED SYN-RECEIVED  ack-mismatch
        C RST 900000             ; RST  SYN-RECEIVED CLOSED  handshake-aborted
        C FIN 101 301            ; FIN 1/4  FIN-WAIT-1 CLOSED
        S FIN 301 101            ; FIN 1/4  CLOSING ESTABLISHED  simultaneous-close
        ; establishment=simultaneous termination=reset closed_by=both conn_state=RSTO history=SsaRFf
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
def test_what_is_seldom_is_said_too(name: str, make: type[PythonMachine | LuaMachine]) -> None:
    lines = [line.strip() for line in SELDOM[name].strip().splitlines()]
    text = "client 10.0.0.1:50000\nserver 10.0.0.2:80\n" + "\n".join(line if line[0] == ";" else f"0 {line}" for line in lines)
    golden, machine = listing.parse("seldom", text), make()
    for event, expected in expectations(golden):
        said = machine.take(event)
        assert said is not None
        assert {"frame": event.frame} | expected == {"frame": event.frame} | {column: said[column] for column in CHECKED}
    expected_row = {column: None if value == "-" else value for column, value in golden.connections[0].items()}
    assert expected_row == {column: machine.told()[0][column] for column in expected_row}


# ----------------------------------------------------------------------------------------------- RFC 9293 figure 5


class Arrow(NamedTuple):
    """What one segment or network error did to the state of one end."""

    part: str
    events: list[str]
    before: str
    after: str


def arrows(golden: listing.Listing) -> Iterator[tuple[Arrow, ...]]:
    """Of each segment those of its sender and its receiver; of a network error with an effect that of the client."""
    machine = PythonMachine()
    sources: dict[int, tuple[str, int]] = {}  # of the first segment of each stream
    streams: dict[int, int] = {}  # by frame
    fresh, given_up, first_is_client = set[int](), set[int](), dict[int, bool]()
    states: dict[int, dict[str, str]] = {}
    for event in events(golden):
        said = machine.take(event)
        if said is None:
            continue
        after = {"client": said["client_state"], "server": said["server_state"]}
        if isinstance(event, NetworkError):
            stream = streams[said["responds_to"]]
            yield (Arrow("receives", ["error"], states[stream]["client"], after["client"]),)
            states[stream] = after
            given_up.add(stream)
            continue
        stream = streams[event.frame] = event.stream
        source = event.source, event.source_port
        if stream not in sources:
            sources[stream] = source
            fresh.add(stream)
        is_client = (said["sender"] == "client") == (source == sources[stream])
        if stream in fresh:
            before = {"client": CLOSED, "server": LISTEN}
        elif is_client == first_is_client[stream]:
            before = states[stream]
        else:  # E1
            before = {"client": states[stream]["server"], "server": states[stream]["client"]}
        first_is_client[stream], states[stream] = is_client, after
        if said["anomaly"] == "duplicate":  # G8: no effect, not even N3
            assert before == after
            continue
        if rfc9293.kind(event.flags) != "invalid":
            fresh.discard(stream)
        found = rfc9293.events(event.flags, (said["role"] or "").split("+"))
        receiver = "server" if said["sender"] == "client" else "client"
        yield tuple(
            Arrow(part, ["N3"] * (end == "client" and stream in given_up) + found, before[end], after[end])
            for part, end in (("sends", said["sender"]), ("receives", receiver))
        )
        given_up.discard(stream)


@THOROUGH
@given(conversations)
def test_a_state_never_moves_against_the_diagram_of_rfc_9293_except_by_a_named_rule(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        for found in arrows(golden):
            for arrow in found:
                assert arrow.after in rfc9293.reachable(arrow.part, arrow.events, arrow.before), arrow


@pytest.mark.parametrize("row", rfc9293.BY_RULE, ids=lambda row: f"{row.rule} {row.part} {row.before} {row.after}")
def test_each_move_by_a_rule_is_made_by_its_example_and_is_not_in_the_diagram(row: rfc9293.Exceptional) -> None:
    lines = row.example.replace("error", "icmp R 3/1 quotes 1").split(", ")
    text = "client 10.0.0.1:50000\nserver 10.0.0.2:80\nrouter 10.0.0.3\n" + "".join(f"0 {line} ; none\n" for line in lines)
    golden = listing.parse("example", text)
    *_, last = arrows(golden)
    (arrow,) = (arrow for arrow in last if arrow.part == row.part)
    assert (row.before, row.after) == (arrow.before, arrow.after)
    assert row.event in arrow.events
    assert row.after not in rfc9293.reachable(row.part, arrow.events, row.before, [])
    python, lua = PythonMachine(), LuaMachine()
    assert [] == [event for event in events(golden) if python.take(event) != lua.take(event)]


# ------------------------------------------------------------------------------------------------- Both engines


@pytest.mark.tshark
def test_both_engines_say_the_same_of_whole_captures(tmp_path: Path) -> None:
    many: list[Conversation] = []

    @settings(max_examples=EFFORT or IN_ONE_CAPTURE, phases=[Phase.generate], database=None)
    @given(conversations)
    def make(conversation: Conversation) -> None:
        many.append(conversation)

    make()
    for start in range(0, len(many), IN_ONE_CAPTURE):
        some = many[start : start + IN_ONE_CAPTURE]
        if found := disagreements(golden_of(some), tmp_path):
            few = smallest(some, lambda kept: bool(disagreements(golden_of(kept), tmp_path)))
            left = smallest(golden_of(few).events, lambda kept: bool(disagreements(golden_with(kept), tmp_path)))
            pytest.fail(f"{found[:3]}\n{as_listing(golden_with(left))}", pytrace=False)


def disagreements(golden: listing.Listing, folder: Path) -> list[Any]:
    path = folder / "differential.pcapng"
    path.write_bytes(build.capture(golden))
    ours = pybridge.read(path, PythonEngine(), progress=False)
    found: list[Any] = []
    for two_passes in (False, True):
        theirs = pybridge.read(path, PluginEngine(plugin_files.path(), two_passes=two_passes), progress=False)
        found += compare(ours, theirs).to_dict(orient="records")
    return found
