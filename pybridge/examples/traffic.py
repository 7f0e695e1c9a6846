# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a capture of generated but lifelike traffic: `python -m pybridge.examples.traffic --frames 500000 OUT.pcapng`.

The traffic is that of an office's uplink: many clients, few popular servers, connections that begin independently of each other
and overlap. The same seed gives the same bytes, and a longer capture begins with the shorter one. Frames are written as they are
made: memory grows with the connections that are open at the same time, not with the frames.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, chain, count, islice, repeat
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

import click
import numpy as np

FIN, SYN, RST, PSH, ACK, ECE, CWR = 0x001, 0x002, 0x004, 0x008, 0x010, 0x040, 0x080
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
MSS = {4: 1460, 6: 1440}
MODULO = 1 << 32
FULL = 1 << 18  # snap length that truncates nothing
START = 1_704_067_200_000_000_000  # 2024-01-01T00:00:00Z
RATE = 200.0  # connections begun per second
DELAYED_ACK = 0.04
INITIAL_WINDOW, LARGEST_WINDOW = 10, 160  # segments in flight

T = TypeVar("T")

# ----------------------------------------------------------------------------------------------------- hosts and headers


class System(NamedTuple):
    """How an operating system fills the header of a SYN."""

    ttl: int
    ports: range
    window: int
    scale: int
    options: str
    options_without_timestamps: str


LINUX = System(64, range(32768, 61000), 64240, 7, "mss sack ts nop ws", "mss nop nop sack nop ws")
WINDOWS = System(128, range(49152, 65536), 64240, 8, "mss nop ws nop nop sack", "mss nop ws nop nop sack")
MACOS = System(64, range(49152, 65536), 65535, 6, "mss nop ws nop nop ts sack eol eol", "mss nop ws sack eol eol eol")
EMBEDDED = System(255, range(10000, 15000), 5840, 0, "mss", "mss")


class Host(NamedTuple):
    """A machine.

    `trip` is the time from the point of capture to it and back, `gap` the time that a full segment takes on its link; both are in
    seconds.
    """

    name: str
    addresses: dict[int, bytes]
    mac: bytes
    system: System
    hops: int
    trip: float
    gap: float


def total_of(data: bytes) -> int:
    """Return a number that equals the sum of the 16-bit words modulo 65,535.

    Modulo 65,535 the number 2^16 is 1: so the sum of wider words serves as well.
    """
    if len(data) < 300:
        return int.from_bytes(data, "big") << (len(data) % 2 * 8)
    return totals_of(data + bytes(-len(data) % 4), 1)[0]


def totals_of(data: bytes, pieces: int) -> list[int]:
    """Return `total_of` each of some pieces of equal length.

    The words are read as little-endian, which is faster; a factor of 256 corrects that.
    """
    words = np.frombuffer(data, "<u4").reshape(pieces, -1)
    return [total << 8 for total in np.add.reduce(words, 1, np.uint64).tolist()]


def checksum(total: int) -> int:
    """Return the Internet checksum of data with this sum."""
    return -total % 65535


class Route:
    """The way from one host to another: all headers below the transport layer."""

    V4, V6 = struct.Struct("!16sHHHHH8s"), struct.Struct("!18sHH32s")

    def __init__(self, source: Host, destination: Host, version: int, label: int = 0) -> None:
        self.version = version
        hop_limit = source.system.ttl - source.hops
        self.addresses = source.addresses[version] + destination.addresses[version]
        kind = b"\x08\x00\x45\x00" if version == 4 else b"\x86\xdd" + struct.pack("!I", 6 << 28 | label)
        self.start = destination.mac + source.mac + kind
        self.total = total_of(self.addresses) % 65535
        self.below = hop_limit << 8 if version == 4 else hop_limit
        self.fixed = 0x4500 + 0x4000 + self.below + self.total

    def frame(self, protocol: int, payload: bytes, identification: int = 0) -> bytes:
        """Return an Ethernet frame."""
        if self.version == 6:
            return self.V6.pack(self.start, len(payload), self.below | protocol << 8, self.addresses) + payload
        length = 20 + len(payload)
        check = -(self.fixed + length + identification + protocol) % 65535
        return self.V4.pack(self.start, length, identification, 0x4000, self.below | protocol, check, self.addresses) + payload

    def datagram(self, port: int, peer_port: int, payload: bytes) -> bytes:
        """Return a frame with a UDP datagram."""
        length = 8 + len(payload)
        check = checksum(self.total + UDP + 2 * length + port + peer_port + total_of(payload)) or 0xFFFF
        return self.frame(UDP, struct.pack("!HHHH", port, peer_port, length, check) + payload)

    def unreachable(self, quoted: bytes) -> bytes:
        """Return a frame with the ICMP error "host unreachable"."""
        if self.version == 4:
            body = bytes(4) + quoted[:28]
            return self.frame(ICMP, struct.pack("!BBH", 3, 1, checksum(0x0301 + total_of(body))) + body)
        body = bytes(4) + quoted
        check = checksum(self.total + ICMPV6 + 4 + len(body) + 0x0103 + total_of(body))
        return self.frame(ICMPV6, struct.pack("!BBH", 1, 3, check) + body)


class End:
    """One end of a connection: its own numbers, and those that it received from the peer."""

    HEADER = struct.Struct("!HHIIHHHH")

    def __init__(self, rng: Random, host: Host, route: Route, port: int, peer_port: int) -> None:
        self.host, self.route, self.port, self.peer_port = host, route, port, peer_port
        self.trip = host.trip
        self.seq, self.ack = rng.getrandbits(32), 0
        self.clock = rng.getrandbits(31)  # of its timestamps, in milliseconds
        self.sent_timestamp = self.received_timestamp = 0  # the latest
        self.identification = rng.getrandbits(16)
        self.room = self.window = host.system.window  # the receive window: in bytes, and as in the header
        self.burst = INITIAL_WINDOW  # congestion window
        self.every = rng.choice((2, 2, 2, 1, 4))  # number of segments that one acknowledgement answers
        self.owes_ack = False
        self.fixed = route.total + TCP + port + peer_port

    def segment(
        self, flags: int, seq: int, options: bytes = b"", payload: bytes = b"", total: int = 0, identification: int | None = None
    ) -> bytes:
        """Return a frame with a TCP segment; `total` is `total_of` the payload."""
        if identification is None:
            identification = self.identification = self.identification + 1 & 0xFFFF
        self.owes_ack = False
        start, ack, window = 20 + len(options), self.ack, self.window
        length, word = start + len(payload), start << 10 | flags
        check = -(self.fixed + length + seq + ack + word + window + int.from_bytes(options, "big") + total) % 65535
        header = self.HEADER.pack(self.port, self.peer_port, seq, ack, word, window, check, 0)
        return self.route.frame(TCP, header + options + payload, identification)


Captured = tuple[float, bytes, End | None]
"""A frame at the point of capture: seconds since the start, the bytes, and its sender if it belongs to a connection."""

Frames = Iterator[Captured]

Piece = tuple[bytes, int]
"""Payload of a segment with its total: `totals_of` many at once is cheaper."""


# ----------------------------------------------------------------------------------------------------------- connections


class Message(NamedTuple):
    """A message of an application: its sender, the seconds before it, its bytes."""

    by_server: bool
    after: float
    chunks: Iterable[bytes]


class Flow:
    """A connection as it passes the point of capture. All methods yield frames in the order of time."""

    TIMESTAMPS = struct.Struct("!III")

    def __init__(self, rng: Random, now: float, client: Host, server: Host, port: int, version: int) -> None:
        self.rng, self.now, self.version = rng, now, version
        source, label = rng.choice(client.system.ports), rng.getrandbits(20)
        self.client = End(rng, client, Route(client, server, version, label), source, port)
        self.server = End(rng, server, Route(server, client, version, label), port, source)
        systems = (client.system, server.system)
        self.timestamps = all("ts" in system.options for system in systems)
        self.modern = all("ws" in system.options for system in systems)  # with window scale and selective acknowledgements
        self.ecn = client.system is MACOS and self.happens(0.2)
        self.mss = MSS[version] - 12 * self.timestamps
        self.gap = max(client.gap, server.gap)
        self.loss = 0.02 if self.happens(0.05) else 0.0005  # a few paths are bad

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.rng.random() < probability

    def other(self, end: End) -> End:
        """Return the peer."""
        return self.server if end is self.client else self.client

    def stamps(self, end: End) -> tuple[int, int]:
        """Return the end's timestamp now, and the one that it echoes."""
        end.sent_timestamp = (end.clock + int(self.now * 1000)) % MODULO
        return end.sent_timestamp, end.received_timestamp

    def offer(self, end: End, flags: int) -> bytes:
        """Return the options of a SYN, or of a SYN-ACK, which has only options that the SYN offered."""
        system = end.host.system
        names = system.options if self.timestamps or not flags & ACK else system.options_without_timestamps
        if flags & ACK and not self.modern:
            names = "mss"
        codes = {
            "mss": struct.pack("!BBH", 2, 4, MSS[self.version]),
            "nop": b"\x01",
            "eol": b"\x00",
            "sack": b"\x04\x02",
            "ws": bytes((3, 3, system.scale)),
            "ts": struct.pack("!BBII", 8, 10, *self.stamps(end)),
        }
        return b"".join(codes[name] for name in names.split())

    def frame(self, end: End, flags: int, seq: int, payload: bytes = b"", total: int = 0, sack: bytes = b"") -> bytes:
        """Return a segment of an open connection."""
        if self.timestamps:
            end.sent_timestamp = (end.clock + int(self.now * 1000)) % MODULO
            return end.segment(
                flags, seq, self.TIMESTAMPS.pack(0x0101080A, end.sent_timestamp, end.received_timestamp) + sack, payload, total
            )
        return end.segment(flags, seq, sack, payload, total)

    def emit(self, end: End, flags: int, payload: bytes = b"", total: int = 0, *, again: bool = False) -> Captured:
        """Send a segment that arrives; `again` repeats the number of the last one."""
        occupied = len(payload) + bool(flags & (SYN | FIN))
        seq = (end.seq - occupied) % MODULO if again else end.seq
        if flags & SYN:
            identification = 0 if flags & ACK and end.host.system is LINUX else None
            frame = end.segment(flags, seq, self.offer(end, flags), identification=identification)
        else:
            frame = self.frame(end, flags, seq, payload, total)
        end.seq = (seq + occupied) % MODULO
        peer = self.other(end)
        peer.ack, peer.received_timestamp = end.seq, end.sent_timestamp
        return self.now, frame, end

    def answer(self, end: End, flags: int) -> Captured:
        """Send a segment as soon as the last one has arrived at the end."""
        self.now += end.trip
        return self.emit(end, flags)

    def later(self, end: End, flags: int, seconds: float) -> Captured:
        """Send the last segment again, because no answer came."""
        self.now += seconds
        return self.emit(end, flags, again=True)

    def wait(self, seconds: float) -> Frames:
        """Let time pass; only acknowledgements that are due are sent."""
        until = self.now + seconds
        for end in (self.client, self.server):
            if end.owes_ack and seconds > DELAYED_ACK:
                self.now += DELAYED_ACK
                yield self.emit(end, ACK)
        self.now = max(self.now, until)

    def open(self) -> Frames:
        """Yield the handshake, in which a segment may be lost."""
        offered, agreed = (ECE | CWR, ECE) if self.ecn else (0, 0)
        yield self.emit(self.client, SYN | offered)
        if self.happens(0.01):
            yield self.later(self.client, SYN | offered, 1)
        yield self.answer(self.server, SYN | ACK | agreed)
        if self.happens(0.005):
            yield self.later(self.server, SYN | ACK | agreed, 1)
        for end in (self.client, self.server):
            if self.modern:  # from here on windows are scaled
                end.room *= self.rng.choice((1, 1, 2, 4))
                end.window = end.room >> end.host.system.scale
        yield self.answer(self.client, ACK)

    def converse(self, messages: Iterable[Message]) -> Frames:
        """Yield the segments of all messages."""
        last = None
        for message in messages:
            sender, receiver = (self.server, self.client) if message.by_server else (self.client, self.server)
            yield from self.wait(message.after)
            if sender is not last:
                self.now += sender.trip
            last = sender
            pieces = cut(message.chunks, self.mss)
            first, second = next(pieces), next(pieces, None)
            if second or self.happens(self.loss):
                yield from Transfer(self, sender, chain((first, second), pieces) if second else iter((first,))).frames()
            else:  # most messages fit into one segment
                yield self.emit(sender, PSH | ACK, *first)
                receiver.owes_ack = True

    def close(self, script: str) -> Frames:
        """Yield the close, step by step: in `CF SA`, a FIN of the client and an ACK of the server.

        `*` marks a repeated step, `!` one that was sent before the last step arrived.
        """
        for step in script.split():
            end = self.client if step[0] == "C" else self.server
            flags = {"F": FIN | ACK, "A": ACK, "R": RST | ACK}[step[1]]
            if step.endswith("*"):
                yield self.later(end, flags, 0.3)
            elif step.endswith("!"):
                acknowledged = end.ack
                end.ack = (acknowledged - 1) % MODULO
                yield self.emit(end, flags)
                end.ack = acknowledged
            else:
                yield self.answer(end, flags)


class Acknowledgement(NamedTuple):
    """An acknowledgement under way.

    `time` is when it passes the point of capture, `expected` the next segment that the receiver expects, `run` a block beyond a
    gap, `arrivals` the number of segments that it acknowledges.
    """

    time: float
    expected: int
    run: tuple[int, int] | None
    arrivals: int


class Transfer:
    """A message under way, with slow start and delayed acknowledgements; sometimes segments are lost, doubled or out of order.

    Segments are numbered from 0 here. For each segment that leaves the network, the sender may send another.
    """

    def __init__(self, flow: Flow, sender: End, pieces: Iterator[Piece]) -> None:
        self.flow, self.sender, self.receiver = flow, sender, flow.other(sender)
        self.waiting = pieces
        self.following = next(self.waiting, None)
        self.start, self.size, self.next = sender.seq, 0, 0
        self.limit = min(self.receiver.room // flow.mss, LARGEST_WINDOW)
        self.permits = deque(repeat(flow.now, min(sender.burst, self.limit)))  # times from which one more segment may be sent
        self.repeats: deque[tuple[float, int]] = deque()
        self.flight: dict[int, Piece] = {}  # segments that were sent and have not arrived
        self.expected, self.arrivals = 0, 0  # as the receiver knows
        self.beyond: set[int] = set()
        self.acknowledgements: deque[Acknowledgement] = deque()
        self.reported, self.repetitions = 0, 0  # as the sender knows

    def frames(self) -> Frames:
        """Yield the segments and their acknowledgements."""
        flow, permits, repeats, acknowledgements = self.flow, self.permits, self.repeats, self.acknowledgements
        while self.following is not None or self.flight or acknowledgements:
            sending = math.inf
            if repeats:
                sending = repeats[0][0]
            elif permits and self.following is not None:
                sending = permits[0]
            if acknowledgements and acknowledgements[0].time <= sending:
                yield self.acknowledge(acknowledgements.popleft())
            elif sending == math.inf:
                self.stalled()
            else:
                flow.now = max(flow.now + flow.gap, sending)
                yield from self.repeat() if repeats else self.transmit()
        self.sender.seq = self.receiver.ack = self.position(self.next)
        self.receiver.owes_ack = self.arrivals > 0

    def position(self, number: int) -> int:
        """Return the sequence number of a segment."""
        return (self.start + min(number * self.flow.mss, self.size)) % MODULO

    def segment(self, number: int) -> Captured:
        """Return a segment that is in flight."""
        flags = PSH | ACK if self.following is None else ACK
        seq = (self.start + number * self.flow.mss) % MODULO
        return self.flow.now, self.flow.frame(self.sender, flags, seq, *self.flight[number]), self.sender

    def take(self, following: Piece) -> int:
        """Take the following segment into flight."""
        number = self.next
        self.flight[number] = following
        self.next, self.size, self.following = number + 1, self.size + len(following[0]), next(self.waiting, None)
        return number

    def transmit(self) -> tuple[Captured, ...]:
        """Send the next segment; return the frames that pass the point of capture."""
        self.permits.popleft()
        number = self.take(self.following or (b"", 0))
        captured = self.segment(number)
        fate, loss = self.flow.rng.random(), self.flow.loss
        if fate > 1.6 * loss:
            self.arrive(number)
            return (captured,)
        if fate < loss:
            return (captured,) if fate < loss / 2 else ()  # lost after the point of capture, or before it
        if fate < 1.1 * loss or self.following is None:
            self.arrive(number)
            self.arrive(number)
            return captured, captured
        overtaking = self.take(self.following)
        second = self.segment(overtaking)
        self.arrive(overtaking)
        self.arrive(number)
        return second, captured

    def repeat(self) -> tuple[Captured, ...]:
        """Send the retransmission that is due."""
        _, number = self.repeats.popleft()
        captured = self.segment(number)
        self.arrive(number)
        return (captured,)

    def arrive(self, number: int) -> None:
        """Let a segment arrive.

        The receiver acknowledges at once if the segment leaves or fills a gap or is a copy, else after some segments.
        """
        self.receiver.received_timestamp = self.sender.sent_timestamp
        at_once = bool(self.beyond)
        if self.flight.pop(number, None) is None:
            at_once = True
        elif number == self.expected and not self.beyond:
            self.arrivals += 1
            self.expected += 1
        else:
            self.arrivals += 1
            self.beyond.add(number)
            while self.expected in self.beyond:
                self.beyond.remove(self.expected)
                self.expected += 1
            at_once = True
        if at_once or self.arrivals >= self.receiver.every:
            self.schedule(self.receiver.trip, self.run(number) if number in self.beyond else None)

    def run(self, number: int) -> tuple[int, int]:
        """Return the limits of the block of segments around this one that arrived beyond a gap (RFC 2018)."""
        first = next(before for before in count(number, -1) if before - 1 not in self.beyond)
        return first, next(after for after in count(number + 1) if after not in self.beyond)

    def schedule(self, seconds: float, run: tuple[int, int] | None = None) -> None:
        """Let an acknowledgement pass the point of capture after some seconds."""
        self.acknowledgements.append(Acknowledgement(self.flow.now + seconds, self.expected, run, self.arrivals))
        self.arrivals = 0

    def acknowledge(self, ack: Acknowledgement) -> Captured:
        """Let an acknowledgement pass and arrive at the sender."""
        flow, receiver, sender = self.flow, self.receiver, self.sender
        flow.now = max(flow.now, ack.time)
        receiver.ack = self.position(ack.expected)
        sack = b""
        if ack.run and flow.modern:
            sack = struct.pack("!BBBBII", 1, 1, 5, 10, *map(self.position, ack.run))
        frame = flow.frame(receiver, ACK, receiver.seq, sack=sack)
        sender.received_timestamp = receiver.sent_timestamp
        grown = max(0, min(ack.arrivals, self.limit - sender.burst))  # slow start
        sender.burst += grown
        self.permits.extend(repeat(flow.now + sender.trip, ack.arrivals + grown))
        self.repetitions = self.repetitions + 1 if ack.run and ack.expected == self.reported else 0
        self.reported = ack.expected
        if self.repetitions == 3 and self.reported in self.flight:  # fast retransmit
            self.repeats.append((flow.now + sender.trip, self.reported))
        return flow.now, frame, receiver

    def stalled(self) -> None:
        """Let the sender wait for the delayed acknowledgement, or repeat a segment after a timeout."""
        if self.arrivals:
            self.schedule(self.receiver.trip + DELAYED_ACK)
        else:
            timeout = max(0.2, 2 * (self.sender.trip + self.receiver.trip))
            self.repeats.append((self.flow.now + timeout, min(self.flight)))


def cut(chunks: Iterable[bytes], size: int) -> Iterator[Piece]:
    """Yield the bytes in pieces of this size, the last one perhaps smaller, with their totals."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) // size
        if whole:
            totals = totals_of(rest[: whole * size], whole)
            for start, total in zip(range(0, whole * size, size), totals, strict=True):
                yield rest[start : start + size], total
            rest = rest[whole * size :]
    if rest:
        yield rest, total_of(rest)


# ---------------------------------------------------------------------------------------------------------- applications

VOCABULARY = (
    "time year people way day man thing woman life child world school state family student group country problem hand part "
    "place case week company system program question work government number night point home water room mother area"
)
PIECE = 1 << 14  # largest TLS record
CIPHERS = bytes.fromhex("001e130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f00350100")
GROUPS_SIGNATURES = bytes.fromhex("000a00080006001d00170018000d0012001004030804040105030805050108060601")
ALPN_VERSIONS_MODES = bytes.fromhex("0010000e000c02683208687474702f312e31002b0003020304002d00020101")
SSH_METHODS = "curve25519-sha256,ssh-ed25519,aes128-ctr,aes128-ctr,hmac-sha2-256,hmac-sha2-256,none,none,,"


def string(data: bytes) -> bytes:
    """Return a string as SSH writes it, after its length."""
    return struct.pack("!I", len(data)) + data


class Applications:
    """Makes messages of applications: HTTP and SMTP in plain text, TLS 1.3 and SSH as an observer sees them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.noise = rng.randbytes(1 << 20)
        self.words = VOCABULARY.split()
        self.prose = "\r\n".join(" ".join(rng.choices(self.words, k=rng.randint(6, 14))) for _ in range(8000)).encode()

    def opaque(self, size: int) -> bytes:
        """Return bytes that look encrypted or compressed."""
        start = self.rng.randrange(len(self.noise) - size)
        return self.noise[start : start + size]

    def text(self, size: int) -> bytes:
        """Return lines of words."""
        start = self.rng.randrange(len(self.prose) - size)
        return self.prose[start : start + size]

    def size(self, median: float, spread: float, most: float) -> int:
        """Return a number of bytes, heavy-tailed."""
        return int(min(max(self.rng.lognormvariate(math.log(median), spread), 16), most))

    def think(self) -> float:
        """Return the seconds until the next request."""
        return self.rng.choice((0.002, 0.02, self.rng.expovariate(1)))

    def pieces(self, size: int, make: Callable[[int], bytes], head: bytes = b"") -> Iterator[bytes]:
        """Yield `size` bytes in pieces, after the head."""
        if head:
            yield head
        for start in range(0, size, PIECE):
            yield make(min(size - start, PIECE))

    def record(self, size: int, kind: int = 23, body: bytes = b"") -> bytes:
        """Return a TLS record, by default of application data."""
        body = body or self.opaque(size)
        return struct.pack("!BHH", kind, 0x0303, len(body)) + body

    def hello(self, kind: int, session: bytes, ciphers: bytes, extensions: bytes) -> bytes:
        """Return a TLS record with ClientHello or ServerHello."""
        body = b"\x03\x03" + self.opaque(32) + b"\x20" + session + ciphers + struct.pack("!H", len(extensions)) + extensions
        return self.record(0, 22, struct.pack("!I", kind << 24 | len(body)) + body)

    def tls(self, host: str, exchanges: list[tuple[int, int]]) -> Iterator[Message]:
        """Yield a TLS handshake and requests."""
        name, session, key = host.encode(), self.opaque(32), bytes.fromhex("001d0020") + self.opaque(32)
        extensions = struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
        extensions += GROUPS_SIGNATURES + ALPN_VERSIONS_MODES + bytes.fromhex("003300260024") + key
        padding = max(0, 398 - len(extensions))
        extensions += struct.pack("!HH", 21, padding) + bytes(padding)
        yield Message(False, 0, [self.hello(1, session, CIPHERS, extensions)])
        hello = self.hello(2, session, bytes.fromhex("130100"), bytes.fromhex("002b0002030400330024") + key)
        change = self.record(0, 20, b"\x01")
        yield Message(True, 0.002, [hello, change, self.record(self.rng.randint(1500, 4500)), self.record(69)])
        yield Message(False, 0.003, [change, self.record(69), self.record(exchanges[0][0])])
        yield Message(True, 0.001, [self.record(250), self.record(250)])
        for number, (request, response) in enumerate(exchanges):
            if number:
                yield Message(False, self.think(), [self.record(request)])
            yield Message(True, self.rng.expovariate(20), self.pieces(response, self.record))
        if self.rng.random() < 0.6:
            yield Message(False, self.think(), [self.record(19)])

    def http(self, host: str, exchanges: list[tuple[int, int]]) -> Iterator[Message]:
        """Yield HTTP requests on one connection."""
        for request, response in exchanges:
            path = "/".join(self.rng.choices(self.words, k=3))
            head = f"Host: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
            head += f"Accept: */*\r\nCookie: session={self.opaque(min(request, 1000) // 4).hex()}\r\n"
            if request > 1000:
                head = f"POST /{path} HTTP/1.1\r\n{head}Content-Type: text/plain\r\nContent-Length: {request}\r\n\r\n"
                yield Message(False, self.think(), self.pieces(request, self.text, head.encode()))
            else:
                yield Message(False, self.think(), [f"GET /{path}.html HTTP/1.1\r\n{head}\r\n".encode()])
            kind = self.rng.choice(("html", "css", "plain"))
            head = f"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/{kind}\r\nContent-Length: {response}\r\n\r\n"
            yield Message(True, self.rng.expovariate(20), self.pieces(response, self.text, head.encode()))

    def ssh(self, _: str, exchanges: list[tuple[int, int]]) -> Iterator[Message]:
        """Yield an SSH session: keys are pressed and echoed, and sometimes there is output."""

        def packet(code: int, body: bytes = b"") -> bytes:
            padding = 4 + -(10 + len(body)) % 8
            return struct.pack("!IBB", 2 + len(body) + padding, padding, code) + body + bytes(padding)

        methods = b"".join(string(name.encode()) for name in SSH_METHODS.split(",")) + bytes(5)
        host_key = string(string(b"ssh-ed25519") + string(self.opaque(32)))
        signature = string(string(b"ssh-ed25519") + string(self.opaque(64)))
        yield Message(False, 0, [b"SSH-2.0-OpenSSH_9.6\r\n"])
        yield Message(True, 0.01, [b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"])
        for by_server in (False, True):
            yield Message(by_server, 0, [packet(20, self.opaque(16) + methods)])
        yield Message(False, 0.002, [packet(30, string(self.opaque(32)))])
        yield Message(True, 0.004, [packet(31, host_key + string(self.opaque(32)) + signature), packet(21)])
        yield Message(False, 0.002, [packet(21)])
        for _key in range(5 * len(exchanges)):
            yield Message(False, self.rng.expovariate(4), [self.opaque(36)])
            yield Message(True, 0.001, [self.opaque(self.rng.choice((36, 36, 36, 700)))])

    def smtp(self, host: str, exchanges: list[tuple[int, int]]) -> Iterator[Message]:
        """Yield the delivery of one mail."""
        yield Message(True, 0.01, [f"220 {host} ESMTP\r\n".encode()])
        for line, answer in (
            ("EHLO client.example.com", f"250-{host}\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 HELP"),
            ("MAIL FROM:<a@example.com>", "250 OK"),
            ("RCPT TO:<b@example.net>", "250 Accepted"),
            ("DATA", "354 Enter message"),
        ):
            yield Message(False, 0.001, [f"{line}\r\n".encode()])
            yield Message(True, 0.002, [f"{answer}\r\n".encode()])
        head = (
            "From: a@example.com\r\nTo: b@example.net\r\nSubject: report\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
        )
        body = self.text(min(exchanges[0][1], PIECE))
        yield Message(False, 0.001, [head.encode(), body, b"\r\n.\r\n"])
        yield Message(True, 0.05, [b"250 OK id=1\r\n"])
        yield Message(False, 0.001, [b"QUIT\r\n"])
        yield Message(True, 0.001, [f"221 {host} closing connection\r\n".encode()])


# --------------------------------------------------------------------------------------------------------------- traffic

PORTS = {443: 70, 80: 17, 22: 2, 25: 3, 993: 3, 8080: 5}
SYSTEMS = {LINUX: 30, WINDOWS: 45, MACOS: 20, EMBEDDED: 5}
CLOSES = {
    "CF SA SF CA": 28, "CF SF CA": 20, "SF CA CF SA": 14, "SF CF SA": 9, "CR": 9, "SR": 4, "CF SA CR": 3, "CF SF CR": 2,
    "CF SF! SA CA": 0.5, "CF CF* SA SF CA": 0.5, "CF SA SF SF* CA": 0.5, "CF SA SF": 0.5, "CF SA": 2, "CF": 1, "": 6,
}  # fmt: skip
KINDS = {
    "browse": 78, "fetch": 8, "transfer": 0.25, "idle": 1.5, "refused": 3, "unanswered": 3, "unreachable": 1, "aborted": 2,
    "half_open": 1, "lookup": 12, "arp": 4,
}  # fmt: skip
"""Kinds of traffic with their shares; each is a method of `Network`."""


class Network:
    """The hosts, and the traffic between them. The method of each kind of traffic yields the frames of one connection."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)  # noqa: S311 - nothing secret
        self.applications = Applications(rng)
        self.router = self.host("router", (10, 0, 0, 1), LINUX, 0.0002)
        self.resolver = self.host("resolver", (10, 0, 0, 53), LINUX, 0.0004)
        self.clients = [
            self.host(f"client{n}", (10, 1, n >> 8, n & 255), self.choose(SYSTEMS), rng.lognormvariate(-6.5, 0.8))
            for n in range(1, 801)
        ]
        networks = (192, 0, 2), (198, 51, 100), (203, 0, 113)
        self.servers = [
            self.host(
                f"www{n}.example.com", (*networks[n % 3], n // 3), self.choose({LINUX: 9, WINDOWS: 1}),
                rng.lognormvariate(math.log(0.025), 0.8), rng.randint(5, 20),
            )
            for n in range(3, 750)
        ]  # fmt: skip
        self.popularity = list(accumulate(1 / rank for rank in range(1, len(self.servers) + 1)))

    def host(self, name: str, v4: tuple[int, ...], system: System, trip: float, hops: int = 0) -> Host:
        """Return a host in the office, or (with `hops`) beyond the router."""
        addresses = {4: bytes(v4), 6: bytes.fromhex("20010db8") + bytes(8) + bytes(v4)}
        mac = self.router.mac if hops else b"\x02\x00" + bytes(v4)
        gap = 12_000 / self.rng.choice((20e6, 50e6, 100e6, 1e9))
        return Host(name, addresses, mac, system, hops, max(trip, 0.0001), gap)

    def choose(self, shares: Mapping[T, float]) -> T:
        """Choose a value by its share."""
        return self.rng.choices(list(shares), list(shares.values()))[0]

    def frames(self, only: str | None = None) -> Frames:
        """Yield captured frames in order, without end."""
        order, kinds = count(), {only: 1.0} if only else KINDS
        waiting: list[tuple[float, int, Captured, Frames]] = []
        begin = 0.0
        while True:
            while not waiting or begin <= waiting[0][0]:
                flow: Frames = getattr(self, self.choose(kinds))(begin)
                begin += self.rng.expovariate(RATE)
                if first := next(flow, None):
                    heapq.heappush(waiting, (first[0], next(order), first, flow))
            _, place, captured, flow = waiting[0]
            yield captured
            if following := next(flow, None):
                heapq.heapreplace(waiting, (following[0], place, following, flow))
            else:
                heapq.heappop(waiting)

    def client_and_server(self) -> tuple[Host, Host]:
        """Choose a client and a server; some servers are popular."""
        return self.rng.choice(self.clients), self.rng.choices(self.servers, cum_weights=self.popularity)[0]

    def flow(self, now: float) -> Flow:
        """Return a connection that begins now."""
        return Flow(self.rng, now, *self.client_and_server(), self.choose(PORTS), 6 if self.rng.random() < 0.3 else 4)

    def conversation(self, now: float, exchanges: list[tuple[int, int]]) -> Frames:
        """Yield a connection that is opened, used and mostly closed."""
        flow, make = self.flow(now), self.applications
        messages = {80: make.http, 8080: make.http, 22: make.ssh, 25: make.smtp}.get(flow.server.port, make.tls)
        yield from flow.open()
        yield from flow.converse(messages(flow.server.host.name, exchanges))
        yield from flow.wait(self.rng.choice((0.001, 0.01, self.rng.expovariate(0.5))))
        yield from flow.close(self.choose(CLOSES))

    def browse(self, now: float) -> Frames:
        """Yield a few small exchanges; some connections are captured in part, or twice."""
        size = self.applications.size
        exchanges = [(size(500, 0.6, 9000), size(3500, 1.3, 200_000)) for _ in range(1 + int(self.rng.expovariate(0.9)))]
        frames, fate = self.conversation(now, exchanges), self.rng.random()
        if fate < 0.01:  # the other direction takes another path
            by_client = fate < 0.005
            return (frame for frame in frames if frame[2] and (frame[2].port > frame[2].peer_port) == by_client)
        if fate < 0.02:  # the beginning was not captured
            return islice(frames, self.rng.randint(1, 20), None)
        if fate < 0.025:  # a mirror port copies two ports
            return (frame for frame in frames for _ in range(2))
        return frames

    def fetch(self, now: float) -> Frames:
        """Yield one small exchange."""
        return self.conversation(now, [(300, self.applications.size(800, 1, 50_000))])

    def transfer(self, now: float) -> Frames:
        """Yield a transfer of megabytes."""
        return self.conversation(now, [(400, self.applications.size(2e6, 1, 30e6))])

    def idle(self, now: float) -> Frames:
        """Yield a connection that stays open for notifications, with keep-alives, until an end resets it."""
        flow = self.flow(now)
        yield from flow.open()
        yield from flow.converse(self.applications.tls(flow.server.host.name, [(200, 500)]))
        yield from flow.wait(1)
        for _ in range(self.rng.randint(3, 20)):
            flow.now += 10
            yield flow.now, flow.frame(flow.client, ACK, (flow.client.seq - 1) % MODULO), flow.client
            yield flow.answer(flow.server, ACK)
        yield flow.answer(self.rng.choice((flow.client, flow.server)), RST | ACK)

    def refused(self, now: float) -> Frames:
        """Yield a SYN that a reset answers; Windows tries three times."""
        flow = self.flow(now)
        for attempt in range(3 if flow.client.host.system is WINDOWS else 1):
            yield flow.later(flow.client, SYN, 0.5) if attempt else flow.emit(flow.client, SYN)
            flow.server.window = 0
            flow.now += flow.server.trip
            yield flow.now, flow.server.segment(RST | ACK, 0, identification=0), flow.server

    def unanswered(self, now: float) -> Frames:
        """Yield a SYN and its retransmissions."""
        flow = self.flow(now)
        yield flow.emit(flow.client, SYN)
        for attempt in range(self.rng.randint(0, 5)):
            yield flow.later(flow.client, SYN, 2**attempt)

    def unreachable(self, now: float) -> Frames:
        """Yield a SYN and an ICMP error of a router."""
        flow = self.flow(now)
        _, syn, client = flow.emit(flow.client, SYN)
        yield now, syn, client
        back = Route(self.router, flow.client.host, flow.version)
        yield now + self.rng.uniform(0.01, 3), back.unreachable(syn[14:]), None

    def aborted(self, now: float) -> Frames:
        """Yield a SYN, its SYN-ACK, and the scanner's reset."""
        flow = self.flow(now)
        yield flow.emit(flow.client, SYN)
        yield flow.answer(flow.server, SYN | ACK)
        flow.client.ack = flow.client.window = 0
        flow.now += flow.client.trip
        yield flow.now, flow.client.segment(RST, flow.client.seq, identification=0), flow.client

    def half_open(self, now: float) -> Frames:
        """Yield a SYN and SYN-ACKs that get no answer, because the client is gone."""
        flow = self.flow(now)
        yield flow.emit(flow.client, SYN)
        yield flow.answer(flow.server, SYN | ACK)
        for attempt in range(5):
            yield flow.later(flow.server, SYN | ACK, 2**attempt)

    def lookup(self, now: float) -> Frames:
        """Yield a DNS query and its reply."""
        client, server = self.client_and_server()
        version, port, number = self.rng.choice((4, 6)), self.rng.choice(client.system.ports), self.rng.getrandbits(16)
        kind = struct.pack("!HH", 1 if version == 4 else 28, 1)
        question = b"".join(bytes((len(part),)) + part for part in server.name.encode().split(b".")) + b"\0" + kind
        address = server.addresses[version]
        answer = b"\xc0\x0c" + kind + struct.pack("!IH", 300, len(address)) + address
        query = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + question
        reply = struct.pack("!HHHHHH", number, 0x8180, 1, 1, 0, 0) + question + answer
        yield now, Route(client, self.resolver, 4).datagram(port, 53, query), None
        yield now + self.rng.expovariate(50), Route(self.resolver, client, 4).datagram(53, port, reply), None

    def arp(self, now: float) -> Frames:
        """Yield the router's ARP request for a client, and the reply."""
        head, client, router = bytes.fromhex("080600010800060400"), self.rng.choice(self.clients), self.router
        ends = (router.mac + router.addresses[4], client.mac + client.addresses[4])
        yield now, b"\xff" * 6 + router.mac + head + b"\x01" + ends[0] + bytes(6) + client.addresses[4], None
        yield now + client.trip, router.mac + client.mac + head + b"\x02" + ends[1] + ends[0], None


# ------------------------------------------------------------------------------------------------------------------ file


def write(path: Path, frames: int, seed: int = 1, *, snap: int = FULL, only: str | None = None) -> None:
    """Write a capture as pcapng, with times in nanoseconds.

    Parameters
    ----------
    path : Path
    frames : int
        How many frames to write.
    seed : int
    snap : int
        Snap length in bytes.
    only : str, optional
        One of `KINDS`: write only traffic of this kind.
    """
    start, ends = struct.Struct("<IIIIIII"), [struct.Struct(f"<{padding}xI") for padding in range(4)]
    with path.open("wb", buffering=1 << 20) as file:
        file.write(struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))
        file.write(struct.pack("<IIHHIHHB3xHHI", 1, 32, 1, 0, snap, 9, 1, 9, 0, 0, 32))
        for seconds, frame, _ in islice(Network(seed).frames(only), frames):
            time, data = START + int(seconds * 1e9), frame[:snap]
            padding = -len(data) % 4
            length = 32 + len(data) + padding
            head = start.pack(6, length, 0, time >> 32, time & 0xFFFFFFFF, len(data), len(frame))
            file.write(head + data + ends[padding].pack(length))


@click.command(help=__doc__)
@click.option("--frames", type=click.IntRange(min=0), default=500_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--snap", type=click.IntRange(min=1), default=FULL, show_default=True, help="Snap length in bytes (tcpdump -s).")
@click.option("--only", type=click.Choice(list(KINDS)), help="Only traffic of one kind.")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(out: Path, frames: int, seed: int, snap: int, only: str | None) -> None:
    """Write a capture."""
    write(out, frames, seed, snap=snap, only=only)


if __name__ == "__main__":
    main()
