# SPDX-License-Identifier: GPL-2.0-or-later
"""Both state machines, without tshark, against what the listings expect of every segment (written by hand)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from lupa import lua52, lua53, lua54

from pybridge.tcp.model import NetworkError, Offer, Segment
from pybridge.tcp.vocabulary import RST
from tests.support.machines import ON_ROWS, LuaMachine, PythonMachine
from tools.goldens import listing

LISTINGS = {golden.name: golden for golden in listing.load_all()}
CHECKED = (
    "sender", "role", "handshake_step", "teardown_step", "client_state", "server_state", "retransmission", "responds_to",
    "anomaly",
)  # fmt: skip


def expectations(golden: listing.Listing) -> Iterator[tuple[Segment | NetworkError, dict[str, Any]]]:
    """Each segment and each network error that has an effect, with what is expected of it."""
    in_frame = Counter(event.frame for event in golden.events)
    for event in golden.events:
        if isinstance(event, listing.Other) or event.expected is None:
            continue
        expected = event.expected
        yield (
            segment(event, alone=in_frame[event.frame] == 1) if isinstance(event, listing.Segment) else network_error(event),
            {
                "sender": expected.sender if isinstance(event, listing.Segment) else None,
                "role": "+".join(expected.roles) or None,
                "handshake_step": expected.handshake_step,
                "teardown_step": expected.teardown_step,
                "client_state": expected.client_state,
                "server_state": expected.server_state,
                "retransmission": expected.retransmission,
                "responds_to": expected.responds_to,
                "anomaly": "+".join(expected.anomalies) or None,
            },
        )


def segment(event: listing.Segment, *, alone: bool) -> Segment:
    mss, window_scale, timestamps, fast_open = (event.option(name) for name in ("mss", "ws", "ts", "tfo"))
    offer = Offer(
        mss[0] if mss else None,
        window_scale[0] if window_scale else None,
        event.option("sack") is not None,
        timestamps is not None,
        None if fast_open is None else f"{fast_open[0]:016x}" if fast_open else "request",
        *(timestamps or (None, None)),
    )
    identity = event.ip_id or (65_536 + timestamps[0] if timestamps else 0 if event.flags & RST else None)
    return Segment(
        event.frame, event.time_ns, event.stream, *ends(event), event.flags, event.seq, event.ack, event.length, offer,
        identity if alone else None,
    )  # fmt: skip


def network_error(event: listing.NetworkError) -> NetworkError:
    stream = event.quoted.stream if event.quoted_bytes is None else None
    return NetworkError(event.frame, event.time_ns, stream, *ends(event.quoted))


def ends(event: listing.Segment) -> tuple[str, int, str, int]:
    return event.source.address, event.source.port, event.destination.address, event.destination.port


@pytest.mark.parametrize("make", [PythonMachine, lua52, lua53, lua54], ids=["Python", "Lua 5.2", "Lua 5.3", "Lua 5.4"])
@pytest.mark.parametrize("name", LISTINGS)
def test_the_state_machine_says_what_the_listing_expects(name: str, make: Any) -> None:
    golden = LISTINGS[name]
    machine = PythonMachine() if make is PythonMachine else LuaMachine(make)
    for event, expected in expectations(golden):
        said = machine.take(event)
        assert said is not None
        assert {"frame": event.frame} | expected == {"frame": event.frame} | {column: said[column] for column in CHECKED}
    told = machine.told()
    for stream, expected_row in golden.connections.items():
        wanted = {column: None if text == "-" else text for column, text in expected_row.items() if column in ON_ROWS}
        found = told[stream]
        assert wanted == {column: None if found[column] is None else str(found[column]) for column in wanted}
