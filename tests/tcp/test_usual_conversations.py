# SPDX-License-Identifier: GPL-2.0-or-later
"""Of usual conversations the plugin keeps less. It says the same all the same, also where a conversation is usual no longer."""

from __future__ import annotations

from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pybridge.tcp.model import NetworkError, Offer, Segment
from pybridge.tcp.vocabulary import ACK, FIN, RST, SYN
from tests.support.conversations import EFFORT, HALF, MODULO
from tests.support.machines import PythonMachine
from tests.tcp.test_dissected_again import UnwatchedMachine

ENDS = ("10.0.0.1", 50000), ("10.0.0.2", 80)
PSH = 8
MOST = (1 << 30) - 1  # more than any segment carries, so that ends get far ahead of each other within a few segments
CHANGES = (
    "lost", "copied", "repeated", "earlier", "error", "numbers", "flags", "length", "probed", "sent again", "reset",
)  # fmt: skip


class Ends:
    """Two ends that open, send data and close, mostly as usual; `segment` returns what one of them sends next."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        isns = [chance.choice([100, MODULO - 3, HALF - 2, chance.randrange(MODULO)]) for _ in range(2)]
        self.next, self.acked, self.isns = isns.copy(), [0, 0], isns
        self.frame, self.time = 0, 0
        self.hurry = chance.choice([1, 10, 100])

    def segment(self, sender: int, flags: int, length: int = 0, *, late: bool = False) -> Segment:
        self.frame += 1
        self.time += self.pause()
        peer = 1 - sender
        if flags & ACK and not late:
            self.acked[sender] = self.next[peer]
        seq, ack = self.next[sender], self.acked[sender] if flags & ACK else 0
        self.next[sender] = (seq + length + bool(flags & SYN) + bool(flags & FIN)) % MODULO
        offer = Offer(1460, 7, True, True, None, self.frame, 5) if flags & SYN else None
        place = self.frame, self.time, 0, *ENDS[sender], *ENDS[peer]
        return Segment(*place, flags, seq, ack, length, offer, self.identity(), self.hop_limit(sender))

    def pause(self) -> int:
        often = [1_000, 1_000_000, 200_000_000] * self.hurry
        return self.chance.choice([*often, 50_000_000, 110_000_000, 1_100_000_000, 10_000_000_000, 60_000_000_000])

    def hop_limit(self, sender: int) -> int | None:
        return self.chance.choice([*[64 - 7 * sender] * 20, 63, 44, None])

    def identity(self) -> int | None:
        return self.chance.choice([self.frame + 1, 0, 7, None, 1 << 16])

    def conversation(self) -> list[Segment]:
        chance = self.chance
        length = chance.choice([5, 1460, MOST])
        segments = [self.segment(0, SYN), self.segment(1, SYN | ACK), self.segment(0, ACK, chance.choice([0, 0, 5]))]
        for _ in range(chance.choice([0, 1, 3, 8])):
            late = chance.random() < 0.4
            psh = chance.choice([0, PSH])
            segments.append(self.segment(chance.randrange(2), ACK | psh, chance.choice([0, length, length]), late=late))
        first = chance.randrange(2)
        second = 1 - first
        close = chance.choice(["reset", "three-way", "four-way", "half-closed", "none"])
        if close == "reset":
            segments.append(self.segment(first, chance.choice([RST, RST | ACK, RST | ACK | PSH]), chance.choice([0, 0, 9])))
        elif close != "none":
            late = chance.random() < 0.2
            segments.append(self.segment(first, FIN | ACK | chance.choice([0, PSH]), chance.choice([0, 0, 5]), late=late))
            if close != "three-way":
                segments.append(self.segment(second, ACK))
            if close != "half-closed":
                segments.append(self.segment(second, FIN | ACK, chance.choice([0, 0, 0, 5])))
                segments.append(self.segment(first, ACK))
        return segments

    def disturbed(self, segments: list[Segment]) -> list[Segment | NetworkError]:
        """Lose, copy, exchange or change a few of the segments, or let the network answer one."""
        chance = self.chance
        events: list[Segment | NetworkError] = list(segments)
        for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
            index = chance.randrange(len(events))
            event = events[index]
            change = chance.choice(CHANGES)
            if isinstance(event, NetworkError):
                continue
            if change == "lost" and len(events) > 1:
                del events[index]
            elif change == "copied":
                events.insert(chance.randrange(index, len(events)) + 1, event)
            elif change == "repeated":
                events.insert(chance.randrange(index, len(events)) + 1, event._replace(identity=self.identity()))
            elif change == "earlier":
                events.insert(max(0, index - chance.choice([1, 1, 2, 4])), events.pop(index))
            elif change == "probed":
                probe = event._replace(seq=(event.seq - 1) % MODULO, flags=ACK, length=0, time=event.time + self.pause())
                events[index + 1 : index + 1] = [probe] * chance.choice([1, 2, 3])
            elif change == "sent again":
                events[index + 1 : index + 1] = [event._replace(identity=None)] * chance.choice([1, 2, 3])
            elif change == "reset":
                events.insert(index + 1, event._replace(flags=chance.choice([RST, RST | ACK]), hop_limit=self.hop_limit(0)))
            elif change == "error":
                known = chance.choice([event.stream, None])
                said = chance.choice([(4, 3, 0), (4, 3, 1), (4, 3, 13), (4, 11, 0)])
                events.insert(index + 1, NetworkError(event.frame, event.time, known, *event[3:7], said, "10.0.0.3"))
            elif change == "numbers":
                off = chance.choice([1, MODULO - 1, HALF, HALF - 1, HALF + 1, 5, MODULO - 5, 1 << 30])
                name = chance.choice(["seq", "ack"])
                value = (getattr(event, name) + off) % MODULO
                events[index] = event._replace(**{name: chance.choice([value, value, self.isns[0], self.isns[1] + 1]) % MODULO})
            elif change == "flags":
                events[index] = event._replace(
                    flags=chance.choice([event.flags ^ (1 << chance.randrange(5)), event.flags | 0x40])
                )
            else:
                events[index] = event._replace(length=chance.choice([0, 1, 5, MOST]))
        if chance.random() < 0.3:
            return [event._replace(frame=frame) for frame, event in enumerate(events, start=1)]
        time = 0
        for index, event in enumerate(events):  # in the order of their times, which lie apart as before or more
            time += max(self.pause(), event.time - events[index - 1].time if index else 0)
            events[index] = event._replace(frame=index + 1, time=time)
        return events


@settings(max_examples=EFFORT or 1000, derandomize=not EFFORT)
@given(st.integers(0, 1 << 40))
@example(15174)  # a client that was revived by its third step resets once more (D5)
def test_the_plugin_says_of_usual_conversations_and_others_what_the_annotator_says(seed: int) -> None:
    chance = Random(seed)  # noqa: S311 - the same again
    ends = Ends(chance)
    happened = ends.disturbed(ends.conversation())
    looks_at = chance.choice([0, 0, chance.randrange(20)])
    asks_at = chance.choice([0, 0, chance.randrange(20)])
    python, lua = PythonMachine(), UnwatchedMachine()
    expected = []
    for event in happened:
        said = python.take(event)
        if isinstance(event, NetworkError):
            assert lua.take(event) == said
            continue
        assert said is not None
        expected.append((event, said))
        glimpsed = lua.glimpse(event, said)
        if glimpsed is not None and not asks_at and said["handshake_time"]:
            assert glimpsed["handshake_time"] == said["handshake_time"]
        if len(expected) == looks_at:
            assert lua.recall(event, event.stream) == said
        if len(expected) == asks_at:
            assert python.told() == lua.told()
    if chance.random() < 0.5:
        assert python.told() == lua.told()
    for event, said in expected:
        assert lua.recall(event, event.stream) == said
    assert python.told() == lua.told()
