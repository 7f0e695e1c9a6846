# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn listings into the events that the state machines take, and into the expected annotations; no tshark is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pybridge.tcp.model import NetworkError, Offer, Segment
from pybridge.tcp.vocabulary import RST
from tools.goldens import listing

LISTINGS = {golden.name: golden for golden in listing.load_all()}
CHECKED = (
    "sender", "role", "handshake_step", "teardown_step", "client_state", "server_state", "retransmission", "responds_to",
    "anomaly",
)  # fmt: skip


def expectations(golden: listing.Listing) -> Iterator[tuple[Segment | NetworkError, dict[str, Any]]]:
    """Yield each segment and each network error that has an effect, with the expected annotation."""
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


def events(golden: listing.Listing) -> Iterator[Segment | NetworkError]:
    """Yield the events that the state machines take."""
    for event in golden.events:
        if isinstance(event, listing.Segment):
            yield segment(event, alone=True)
        elif isinstance(event, listing.NetworkError):
            yield network_error(event)


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
        identity if alone else None, event.ttl if alone else None,
    )  # fmt: skip


def network_error(event: listing.NetworkError) -> NetworkError:
    stream = event.quoted.stream if event.quoted_bytes is None else None
    message = (event.router.version, event.type, event.code)
    return NetworkError(event.frame, event.time_ns, stream, *ends(event.quoted), message, event.router.address)


def ends(event: listing.Segment) -> tuple[str, int, str, int]:
    return event.source.address, event.source.port, event.destination.address, event.destination.port
