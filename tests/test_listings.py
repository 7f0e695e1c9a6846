# SPDX-License-Identifier: GPL-2.0-or-later
"""Both state machines, without tshark, against what the listings expect of every segment (written by hand)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lupa import lua52, lua53, lua54

from pcaps import listing
from pybridge.annotator import Annotator
from pybridge.model import Offer

PLUGIN = Path(__file__).parent.parent / "plugin" / "tcp_handshake.lua"
LISTINGS = {golden.name: golden for golden in listing.load_all()}
FIELDS = (
    "sender", "role", "handshake_step", "teardown_step", "client_state", "server_state", "retransmission", "responds_to",
    "anomaly",
)  # fmt: skip
ON_ROWS = ("establishment", "termination", "closed_by", "client_state", "server_state", "client", "client_port", "server")

Outcome = tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]
"""The annotation of each segment and effective network error, and of each connection."""


def expected_annotations(golden: listing.Listing) -> Iterator[dict[str, Any]]:
    for event in golden.events:
        if isinstance(event, listing.Other) or event.expected is None:
            continue
        expected = event.expected
        yield {
            "frame": event.frame,
            "sender": expected.sender if isinstance(event, listing.Segment) else None,
            "role": "+".join(expected.roles) or None,
            "handshake_step": expected.handshake_step,
            "teardown_step": expected.teardown_step,
            "client_state": expected.client_state,
            "server_state": expected.server_state,
            "retransmission": expected.retransmission,
            "responds_to": expected.responds_to,
            "anomaly": "+".join(expected.anomalies) or None,
        }


def offer_of(segment: listing.Segment) -> dict[str, Any]:
    mss, window_scale = segment.option("mss"), segment.option("ws")
    return {
        "mss": mss[0] if mss else None,
        "window_scale": window_scale[0] if window_scale else None,
        "sack_permitted": segment.option("sack") is not None,
        "timestamps": segment.option("ts") is not None,
    }


def run_python(golden: listing.Listing) -> Outcome:
    annotator = Annotator()
    said: list[dict[str, Any]] = []
    for event in golden.events:
        if isinstance(event, listing.NetworkError):
            annotation = annotator.network_error(
                event.frame, event.time_ns, _quoted_stream(event), *_ends(event.quoted)
            ) if event.type in (1, 3, 11, 12) and event.expected else None  # fmt: skip
        elif isinstance(event, listing.Segment) and event.expected:
            annotation = annotator.segment(
                event.frame, event.time_ns, event.stream, *_ends(event), event.flags, event.seq, event.ack, event.length,
                Offer(**offer_of(event)),
            )  # fmt: skip
        else:
            continue
        if annotation:
            values = annotation._asdict()
            said.append({"frame": event.frame} | {name: values[name] for name in FIELDS} | _no_sender(event))
    rows = {stream: _row(connection.row()) for stream, connection in annotator.connections.items()}
    return said, rows


def run_lua(golden: listing.Listing, lua: Any) -> Outcome:
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    tracker = runtime.execute(PLUGIN.read_text(encoding="utf-8")).new()
    said: list[dict[str, Any]] = []
    for event in golden.events:
        if isinstance(event, listing.NetworkError):
            annotation = tracker.network_error(
                tracker, event.frame, event.time_ns, *_ends(event.quoted), _quoted_stream(event)
            ) if event.expected else None  # fmt: skip
        elif isinstance(event, listing.Segment) and event.expected:
            annotation = tracker.segment(
                tracker, event.stream, event.frame, event.time_ns, *_ends(event), event.flags, event.seq, event.ack, event.length,
                runtime.table_from(offer_of(event)),
            )  # fmt: skip
        else:
            continue
        if annotation:
            values = {name: annotation[name] for name in FIELDS} | {"retransmission": bool(annotation["retransmission"])}
            said.append({"frame": event.frame} | values | _no_sender(event))
    rows = {}
    for stream in {segment.stream for segment in golden.segments}:
        connection = tracker.connection(tracker, stream)
        rows[stream] = {name: connection[name] for name in ON_ROWS}
    return said, rows


def _ends(segment: listing.Segment) -> tuple[str, int, str, int]:
    return segment.source.address, segment.source.port, segment.destination.address, segment.destination.port


def _quoted_stream(event: listing.NetworkError) -> int | None:
    return event.quoted.stream if event.quoted_bytes is None else None


def _no_sender(event: listing.Frame) -> dict[str, Any]:
    return {} if isinstance(event, listing.Segment) else {"sender": None}


def _row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ON_ROWS}


def check(golden: listing.Listing, outcome: Outcome) -> None:
    said, rows = outcome
    assert list(expected_annotations(golden)) == said
    for stream, expected in golden.connections.items():
        told = {name: None if text == "-" else text for name, text in expected.items() if name in ON_ROWS}
        found = rows[stream]
        assert told == {name: None if found[name] is None else str(found[name]) for name in told}


@pytest.mark.parametrize("name", LISTINGS)
def test_the_python_annotator_says_what_the_listing_expects(name: str) -> None:
    check(LISTINGS[name], run_python(LISTINGS[name]))


@pytest.mark.parametrize("lua", [lua52, lua53, lua54], ids=["5.2", "5.3", "5.4"])
@pytest.mark.parametrize("name", LISTINGS)
def test_the_lua_state_machine_says_what_the_listing_expects(name: str, lua: Any) -> None:
    check(LISTINGS[name], run_lua(LISTINGS[name], lua))
