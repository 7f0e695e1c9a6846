# SPDX-License-Identifier: GPL-2.0-or-later
"""Random conversations: Hypothesis makes them, `smallest` shrinks them, and a failure prints one as a listing for pcaps/.

The same ones every time; `make fuzz SECONDS=600` runs the tests on others, for longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st

from pybridge.tcp.vocabulary import FIN, SYN
from tests.support.listings import events
from tests.support.machines import PythonMachine, Said
from tools.goldens import listing

MODULO, HALF = 1 << 32, 1 << 31
EFFORT = int(os.environ.get("PYBRIDGE_FUZZ_EXAMPLES", "0"))
THOROUGH = settings(
    max_examples=EFFORT or 500, derandomize=not EFFORT, phases=[phase for phase in Phase if phase is not Phase.explain]
)
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
    """One segment: sender, flags, numbers relative to those sent before, and whether it is lost, repeated or copied."""

    by_first: bool
    flags: int
    seq_from: str = "next"
    seq_offset: int = 0
    ack_from: str = "next"
    ack_offset: int = 0
    length: int = 0
    offer: int = 0
    fate: str = "captured"
    delay: int = 0  # so many later segments are captured before it; of two copies, before the second
    pause: int = 0  # nanoseconds that pass before it is captured
    hop_limit: int = 64


class Conversation(NamedTuple):
    """Everything that two ends send: one run after the other; Wireshark begins a new stream with each."""

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
    st.sampled_from([0] * 9 + [250_000_000, 1_200_000_000, 11_000_000_000]),
    st.sampled_from([64] * 9 + [63, 44]),
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
    st.sampled_from([1000, 1000, 30_000_000, 150_000_000, -1000]),
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
    """Interleave conversations and return them as a listing without expectations."""
    golden = listing.Listing("differential", start_ns=START)
    waiting = [(place, number, event) for number, one in enumerate(many) for place, event in enumerate(captured(number, one))]
    waiting.sort(key=lambda item: item[:2])
    latest: dict[int, tuple[int, int]] = {}  # by conversation: its current run and stream
    streams = 0
    frames: dict[tuple[int, int], listing.Segment] = {}
    paused = 0
    for frame, (_, number, (run, quoted, event)) in enumerate(waiting, start=1):
        paused += event.time_ns
        time = START + frame * many[number].tick + paused
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
    """Return the captured events in order: run, number of the segment (or of the quoted one), event without frame."""
    first, second, router = ends_of(number, conversation)
    found: list[tuple[float, tuple[int, int, listing.Segment | listing.NetworkError]]] = []
    sent = [0, 0]  # segments so far, by end
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
                    frame=0, time_ns=move.pause, line=0, stream=0, source=first if move.by_first else second,
                    destination=second if move.by_first else first, flags=move.flags, seq=seq,
                    ack=(known + move.ack_offset) % MODULO, payload=listing.filler(seq, move.length), options=options,
                    ip_id=(65_534 + counter) % 65_536 if conversation.version == 4 and conversation.counted[me] else 0,
                    ttl=move.hop_limit,
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
    """Return the first end, the second and a router; no conversation shares them with another."""
    hosts = [f"10.{number >> 8}.{number & 255}.{{}}", f"2001:db8:{number:x}::{{}}"][conversation.version == 6]
    name = str(number + 1) if number else ""
    first = listing.End(f"C{name}", hosts.format(1), conversation.ports[0])
    second = listing.End(f"S{name}", hosts.format(1 if conversation.one_host else 2), conversation.ports[1])
    return first, second, listing.End("R", hosts.format(254), 0)


def golden_with(events: Sequence[listing.Event]) -> listing.Listing:
    """Return a listing of these events only, frames and streams numbered anew; drop errors about segments not among them."""
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


def smallest(items: list[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
    """Shrink a list on which something fails: return items of which none can be left out without it succeeding."""
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


@contextmanager
def printed(golden: listing.Listing) -> Iterator[listing.Listing]:
    """Add the listing to any error raised inside; Hypothesis shrinks the example before it reports."""
    try:
        yield golden
    except Exception as error:
        error.add_note(as_listing(golden))
        raise


def as_listing(golden: listing.Listing) -> str:
    """Return the text of a listing for pcaps/; replace the annotator's output in it by what the specification says."""
    machine = PythonMachine()
    start = datetime.fromtimestamp(golden.start_ns // 10**9, UTC)
    lines = ["# Found by a test on random conversations.", "# rules:", "# source: own", f"start {start:%Y-%m-%dT%H:%M:%SZ}"]
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
    words += [f"ttl={event.ttl}"] * (event.ttl != 64)
    return words + [f"id={event.ip_id}"] * bool(event.ip_id)


def expectation(said: Said, sender: str | None) -> str:
    words = [said["role"] or "-"]
    words += [f"{said['handshake_step']}/3"] * (said["handshake_step"] is not None)
    words += [f"{said['teardown_step']}/4"] * (said["teardown_step"] is not None)
    words += [said["client_state"], said["server_state"]]
    words += [f"->{said['responds_to']}"] * (said["responds_to"] is not None)
    words += [f"sender={said['sender']}"] * (said["sender"] != sender)
    return " ".join(words + (said["anomaly"] or "").split("+")).strip()
