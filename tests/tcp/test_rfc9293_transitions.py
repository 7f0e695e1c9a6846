# SPDX-License-Identifier: GPL-2.0-or-later
"""In a conversation captured whole and in order, states change only along the arrows of RFC 9293 figure 5, or by a named rule.

Where segments are missing or out of order, a state can also move back: by X6 it follows from what is known, and a segment can
show that another one did not arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given

from pybridge.tcp.model import NetworkError, Segment
from pybridge.tcp.vocabulary import ACK, CLOSED, FIN, LISTEN, SYN
from tests.support import rfc9293
from tests.support.conversations import THOROUGH, Conversation, conversations, golden_of, printed
from tests.support.listings import events
from tests.support.machines import LuaMachine, PythonMachine, Said
from tools.goldens import listing

ORDERLY = {None, "port-reuse", "simultaneous-open", "simultaneous-close"}
"""Anomalies of conversations that nobody disturbs."""


class Arrow(NamedTuple):
    """The change of one end's state by one segment or network error, and whether all segments before it came in order."""

    part: str
    events: list[str]
    before: str
    after: str
    orderly: bool


def arrows(golden: listing.Listing) -> Iterator[tuple[Arrow, ...]]:
    """Yield the arrows of each segment, its sender's and its receiver's; of a network error with an effect, the client's."""
    machine = PythonMachine()
    sources: dict[int, tuple[str, int]] = {}  # of the first segment of each stream
    streams: dict[int, int] = {}  # by frame
    fresh, given_up, first_is_client = set[int](), set[int](), dict[int, bool]()
    states: dict[int, dict[str, str]] = {}
    following: dict[tuple[int, str | None], int] = {}  # the next number of each end, by stream
    disorderly = set[int]()
    for event in events(golden):
        said = machine.take(event)
        if said is None:
            continue
        after = {"client": said["client_state"], "server": said["server_state"]}
        if isinstance(event, NetworkError):
            stream = streams[said["responds_to"]]
            yield (Arrow("receives", ["error"], states[stream]["client"], after["client"], stream not in disorderly),)
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
        if not is_next(event, said, following):
            disorderly.add(stream)
        if said["anomaly"] == "duplicate":  # G8: no effect, not even N3
            assert before == after
            continue
        if rfc9293.kind(event.flags) != "invalid":
            fresh.discard(stream)
        found = rfc9293.events(event.flags, (said["role"] or "").split("+"))
        receiver = "server" if said["sender"] == "client" else "client"
        yield tuple(
            Arrow(
                part, ["N3"] * (end == "client" and stream in given_up) + found, before[end], after[end], stream not in disorderly
            )
            for part, end in (("sends", said["sender"]), ("receives", receiver))
        )
        given_up.discard(stream)


def is_next(event: Segment, said: Said, following: dict[tuple[int, str | None], int]) -> bool:
    """Return whether a segment has the next numbers of both ends and nothing unusual, and note the number after it."""
    own, other = (event.stream, event.source), (event.stream, event.destination)
    after = event.seq + event.length + bool(event.flags & SYN) + bool(event.flags & FIN)
    expected = following.get(own, event.seq), following.get(other, event.ack)
    following[own] = after % (1 << 32)
    if event.flags & ACK:
        following.setdefault(other, event.ack)  # what an end was heard to have sent, before anything of it was captured
    acknowledges = event.ack if event.flags & ACK else expected[1]
    return said["anomaly"] in ORDERLY and (event.seq, acknowledges) == expected


@THOROUGH
@given(conversations)
def test_in_order_a_state_never_moves_against_the_diagram_of_rfc_9293_except_by_a_named_rule(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        for found in arrows(golden):
            for arrow in found:
                if arrow.orderly:
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
    assert [event for event in events(golden) if python.take(event) != lua.take(event)] == []
