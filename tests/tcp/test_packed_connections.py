# SPDX-License-Identifier: GPL-2.0-or-later
"""Packing a connection to bytes and unpacking it changes nothing."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybridge.tcp.annotator import Annotator
from pybridge.tcp.vocabulary import SYN
from tests.support.conversations import THOROUGH, Conversation, conversations, golden_of, printed
from tests.support.listings import LISTINGS, events, expectations
from tests.support.machines import PythonMachine

STRANGERS = count(1_000_000)


def crowd(annotator: Annotator) -> None:
    for stream in (next(STRANGERS), next(STRANGERS)):
        annotator.segment(0, 0, stream, "192.0.2.1", stream % 65_536, "192.0.2.2", 80, SYN, 1, 0, 0)


@pytest.mark.parametrize("name", LISTINGS)
def test_packing_a_connection_between_any_two_segments_changes_nothing(name: str) -> None:
    alone, crowded = PythonMachine(), PythonMachine(live_objects=1)
    for event, _ in expectations(LISTINGS[name]):
        crowd(crowded.annotator)
        assert crowded.take(event) == alone.take(event)
    rows = alone.rows()
    assert rows == {stream: row for stream, row in crowded.rows().items() if stream in rows}


def test_connections_are_listed_in_the_order_of_their_first_segments_packed_or_not() -> None:
    annotator = Annotator(live_objects=1)
    for stream in (3, 1, 2, 3, 1):
        annotator.segment(0, 0, stream, "192.0.2.1", stream, "192.0.2.2", 80, SYN, 1, 0, 0)
    assert list(annotator.connections) == [3, 1, 2]
    assert [connection.stream for connection in annotator.connections.values()] == [3, 1, 2]
    assert [connection.stream for connection in annotator.connections.each()] == [1, 2, 3]
    assert annotator.connections.get(4) is None


@settings(THOROUGH, max_examples=THOROUGH.max_examples // 4)
@given(st.lists(conversations, min_size=3, max_size=3))
def test_packing_changes_no_annotation_of_random_conversations(many: list[Conversation]) -> None:
    with printed(golden_of(many)) as golden:
        usual, packing = PythonMachine(), PythonMachine(live_objects=1)
        for event in events(golden):
            said = packing.take(event)
            assert usual.take(event) == said
        assert packing.rows() == usual.rows()
