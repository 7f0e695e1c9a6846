# SPDX-License-Identifier: GPL-2.0-or-later
"""When Wireshark dissects a packet again, the plugin gives the same annotation as the first time, and as the annotator."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pybridge.tcp.model import NetworkError, Segment
from pybridge.tcp.vocabulary import ACK, FIN, RST, SYN
from tests.support.conversations import THOROUGH, Conversation, conversations, golden_of, printed
from tests.support.listings import events
from tests.support.machines import SAID, LuaMachine, PythonMachine, Said
from tools.goldens import listing


class RecallingMachine(LuaMachine):
    """The plugin's state machine, which is asked for a segment again, as when Wireshark dissects a packet again."""

    def recall(self, event: Segment, stream: int) -> Said:
        place = stream, event.frame, 0, event.source, event.source_port
        said, _ = self._tracker.recall(self._tracker, *place, event.flags, event.seq, event.length)
        return {name: said[name] for name in SAID} | {"retransmission": bool(said["retransmission"])}

    def is_skipped(self, event: Segment) -> bool:
        """Return whether Wireshark shows nothing of the segment's frame where it needs no field."""
        return not self._tracker.is_marked(self._tracker, event.stream, event.frame)


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
                    assert lua.recall(event, stream) == first


class UnwatchedMachine(RecallingMachine):
    """The plugin's state machine in Wireshark's first pass, which shows nothing: segments are logged and annotated on demand."""

    takes = "take"

    def needs(self, event: Segment) -> bool:
        """Return False for a segment of which the plugin follows only the numbers in the first pass."""
        if event.flags & (FIN | SYN | RST | ACK) != ACK:
            return True
        tracker = self._tracker
        place = event.stream, event.source_port, event.destination_port, event.seq, event.ack, event.length
        sender, tells_hop_limit = tracker.follow(tracker, *place, self.seconds(event.time)) or (None, False)
        if tells_hop_limit:
            tracker.note_hop_limit(tracker, event.stream, sender, event.hop_limit)
        return sender is None

    def glimpse(self, event: Segment, said: Said) -> Said | None:
        """Take a segment, and return what the plugin notes of it at once, if it takes it: the same as the annotator said."""
        if not self.needs(event):
            return None
        glimpsed = self.take(event)
        assert glimpsed is not None
        for name in ("role", "handshake_step", "teardown_step", "anomaly"):
            assert glimpsed[name] == said[name]
        return glimpsed


@THOROUGH
@given(conversations, st.integers(0, 30))
def test_the_plugin_annotates_on_demand_what_the_annotator_says_at_once(conversation: Conversation, looks_at: int) -> None:
    with printed(golden_of([conversation])) as golden:
        python, lua = PythonMachine(), UnwatchedMachine()
        expected: list[tuple[Segment, Said]] = []
        for event in events(golden):
            said = python.take(event)
            if isinstance(event, NetworkError):
                assert lua.take(event) == said
                continue
            assert said is not None
            expected.append((event, said))
            lua.glimpse(event, said)
            if len(expected) == looks_at:  # as in a live capture
                assert lua.recall(event, event.stream) == said
        assert python.told() == lua.told()
        evidence = {frame for row in lua.told().values() for frame in (row["evidence"] or "").split("+")}
        for event, said in expected:
            assert lua.recall(event, event.stream) == said
            if lua.is_skipped(event):
                assert not said["role"]
                assert not said["anomaly"]
                assert str(event.frame) not in evidence


def test_segments_that_say_nothing_are_skipped_when_they_are_dissected_again() -> None:
    lua = RecallingMachine()
    segments = [event for event in events(listing.load(listing.find("article-curl.listing"))) if isinstance(event, Segment)]
    quiet = [not (said := lua.take(segment)) or not said["role"] for segment in segments]
    assert any(quiet)
    assert [lua.is_skipped(segment) for segment in segments] == quiet
