# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the golden listings: packets and their expected annotations, as plain dataclasses.

`pcaps/README.md` explains the notation. This module needs only the standard library, so that tests can feed a state machine from
a listing, without a capture file and without a dissector.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

PCAPS = Path(__file__).resolve().parent.parent.parent / "pcaps"
GOLDEN = PCAPS / "golden"
REAL = PCAPS / "real"
FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128, "AE": 256}
ACK = FLAGS["ACK"]
SHORT_FORMS = {"FIN": 17, "PSH": 24, "SYN-ACK": 18, "NONE": 0}
STATES = (
    *("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED"),
    *("FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"),
)
ROLES = ("SYN", "SYN-ACK", "HANDSHAKE-ACK", "ACK-OF-FIN", "FIN", "RST")
ANOMALIES = (
    *("syn-retransmission", "syn-ack-retransmission", "fin-retransmission"),
    *("connection-refused", "unreachable", "handshake-aborted", "simultaneous-open", "simultaneous-close"),
    *("syn-with-data", "half-close-data", "data-after-fin", "rst-after-fin", "segment-after-close", "port-reuse"),
    *("ack-mismatch", "invalid-flags", "syn-on-established", "duplicate", "rst-ignored", "challenge-ack", "seq-mismatch"),
    *("ack-beyond-sent", "old-connection"),
)
COLUMNS = (
    *("client", "client_port", "server", "server_port", "start", "duration"),
    *("client_segments", "server_segments", "client_bytes", "server_bytes"),
    *("establishment", "termination", "closed_by", "reset_by", "captured", "client_from", "client_last_seen", "server_last_seen"),
    *("diagnosis", "suspect", "evidence", "retransmission_delay"),
    *("still_waiting", "idle_before_end", "client_unacknowledged", "server_unacknowledged", "client_state", "server_state"),
    *("handshake_time", "server_response_time", "client_response_time", "teardown_time"),
    *("client_isn", "server_isn", "client_mss", "server_mss", "client_window_scale", "server_window_scale"),
    *("client_fast_open", "server_fast_open", "sack_permitted", "timestamps", "ecn"),
    *(
        "syn_retransmissions",
        "syn_ack_retransmissions",
        "fin_retransmissions",
        "completeness",
        "conn_state",
        "history",
        "anomalies",
    ),
)
RESOLUTIONS = {"nanoseconds": 9, "microseconds": 6}
OPTIONS = ("mss", "ws", "sack", "ts", "nop", "eol", "tfo")
NUMBERS = {"win": "window", "id": "ip_id", "ip-length": "ip_length", "ttl": "ttl", "snap": "snap", "cksum": "checksum"}
TOKEN = re.compile(r'[^\s"]*"(?:[^"\\]|\\.)*"|\S+')


class ListingError(ValueError):
    """A listing that cannot be read."""


@dataclass(frozen=True)
class End:
    """One end of a connection, or a router (port 0)."""

    name: str
    address: str
    port: int

    @property
    def version(self) -> int:
        """The version of IP: 4 or 6."""
        return ipaddress.ip_address(self.address).version


@dataclass(frozen=True)
class Interface:
    """An interface that captures: the kind of link with its numbers, and the number of decimal digits of its times."""

    link: str = "ethernet"
    numbers: tuple[int, ...] = ()
    digits: int = 9


@dataclass(frozen=True)
class Tunnel:
    """A tunnel for all packets: its ends on the client's and on the server's side, and its kind."""

    near: str
    far: str
    kind: str = "ip"


@dataclass(frozen=True)
class Expected:
    """The expected annotation of one segment, or of a network error that has an effect.

    The two times are None if the listing does not mention them; that does not mean that they are absent.
    """

    sender: str
    client_state: str
    server_state: str
    roles: tuple[str, ...] = ()
    handshake_step: int | None = None
    teardown_step: str | None = None
    responds_to: int | None = None
    anomalies: tuple[str, ...] = ()
    handshake_time_ns: int | None = None
    teardown_time_ns: int | None = None

    @property
    def retransmission(self) -> bool:
        """Whether one of the anomalies is a retransmission (rule A3)."""
        return any(anomaly.endswith("-retransmission") for anomaly in self.anomalies)


@dataclass(frozen=True)
class Frame:
    """The part that all events share: the frame's number and time (nanoseconds since 1970), and the capturing interface."""

    frame: int
    time_ns: int
    line: int
    interface: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Segment(Frame):
    """A TCP header with its payload; `expected` is None if it is no segment (it is truncated, or a fragment).

    `fragment` is the range of bytes of the IP payload that the frame holds, up to the end if the second number is None.
    """

    stream: int
    source: End
    destination: End
    flags: int
    seq: int
    ack: int
    payload: bytes = b""
    options: tuple[tuple[str, tuple[int, ...]], ...] = ()
    window: int = 64240
    ip_id: int = 0
    ip_length: int | None = None
    fragment: tuple[int, int | None] | None = None
    ttl: int = 64
    snap: int | None = None
    checksum: int | None = None
    expected: Expected | None = None

    @property
    def length(self) -> int:
        """The number of payload bytes (`tcp.len`)."""
        return len(self.payload)

    def option(self, name: str) -> tuple[int, ...] | None:
        """Return the values of the first option with this name (`mss`, `ws`, `sack`, `ts`), or None."""
        return next((values for kind, values in self.options if kind == name), None)


@dataclass(frozen=True)
class NetworkError(Frame):
    """An ICMP or ICMPv6 error about the segment in frame `quotes`; `expected` is None if it has no effect."""

    router: End
    type: int
    code: int
    quoted: Segment
    quoted_bytes: int | None = None
    mtu: int = 0
    expected: Expected | None = None


@dataclass(frozen=True)
class Other(Frame):
    """A frame without any segment, made by the function of this name in build.py."""

    kind: str


Event = Segment | NetworkError | Other


@dataclass
class Listing:
    """A golden: its events in the order of capture, and a row of expected values for each connection."""

    name: str
    folder: Path = GOLDEN
    idea: str = ""
    rules: str = ""
    source: str = ""
    ending: str = "pcapng"
    byte_order: str = "<"
    interfaces: list[Interface] = field(default_factory=lambda: [Interface()])
    tunnel: Tunnel | None = None
    start_ns: int = 0
    ends: dict[str, End] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    connections: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The capture file."""
        return self.folder / f"{self.name}.{self.ending}"

    @property
    def segments(self) -> list[Segment]:
        """The headers that are segments (rule G1)."""
        return [event for event in self.events if isinstance(event, Segment) and event.expected]

    def frames(self) -> Iterator[list[Event]]:
        """Yield the events of each frame."""
        frame: list[Event] = []
        for event in self.events:
            if frame and frame[-1].frame != event.frame:
                yield frame
                frame = []
            frame.append(event)
        if frame:
            yield frame


def nanoseconds(text: str) -> int:
    """Convert decimal seconds exactly."""
    return int(Decimal(text) * 10**9)


def filler(seq: int, length: int) -> bytes:
    """Make payload that depends only on its sequence numbers, so that a retransmission repeats it."""
    return bytes(97 + (seq + i) % 26 for i in range(length))


def parse_flags(text: str) -> int:
    """Convert the word for the flags to their bits."""
    if text.startswith("flags="):
        return int(text[6:], 0)
    exact = text.endswith("!")
    words = text.rstrip("!").split(",")
    if len(words) == 1 and not exact and words[0] in SHORT_FORMS:
        return SHORT_FORMS[words[0]]
    return sum(18 if word == "SYN-ACK" else FLAGS[word] for word in words)


def parse_expected(words: list[str], sender: str) -> Expected | None:
    """Parse the words after the semicolon; return None for "none"."""
    if words == ["none"]:
        return None
    states: list[str] = []
    values: dict[str, object] = {"sender": sender}
    anomalies: list[str] = []
    for word in words:
        if word in STATES:
            states.append(word)
        elif word in ANOMALIES:
            anomalies.append(word)
        elif all(part in ROLES for part in word.split("+")):
            values["roles"] = tuple(word.split("+"))
        elif re.fullmatch(r"[123]/3", word):
            values["handshake_step"] = int(word[0])
        elif re.fullmatch(r"[1-4](\+[13])?/4", word):
            values["teardown_step"] = word[:-2]
        elif word.startswith("->"):
            values["responds_to"] = int(word[2:])
        elif word.startswith("sender="):
            values["sender"] = word[7:]
        elif word.startswith("handshake="):
            values["handshake_time_ns"] = nanoseconds(word[10:])
        elif word.startswith("teardown="):
            values["teardown_time_ns"] = nanoseconds(word[9:])
        elif word != "-":
            raise ListingError(f"unknown expectation {word!r}")
    if len(states) != 2:
        raise ListingError("two states are expected")
    if anomalies != sorted(anomalies, key=ANOMALIES.index):
        raise ListingError("anomalies are not in the order of the table")
    return Expected(client_state=states[0], server_state=states[1], anomalies=tuple(anomalies), **values)  # type: ignore


def parse_interface(words: list[str]) -> Interface:
    """Parse the words after `link`."""
    link, *rest = words
    digits = [RESOLUTIONS[word] for word in rest if word in RESOLUTIONS]
    return Interface(link, tuple(int(word) for word in rest if word not in RESOLUTIONS), *digits)


class Parser:
    """Collects a listing, line by line."""

    def __init__(self, name: str) -> None:
        self.listing = Listing(name)
        self.streams: dict[frozenset[tuple[str, int]], int] = {}
        self.new_streams = 0
        self.interfaces: list[Interface] = []

    def parse(self, text: str) -> Listing:
        """Parse the whole text."""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                self.line(number, line.strip())
            except (KeyError, ValueError, IndexError) as error:
                raise ListingError(f"{self.listing.name}.listing:{number}: {error}: {line}") from error
        for stream in range(self.new_streams):
            if stream not in self.listing.connections and any(s.stream == stream for s in self.listing.segments):
                raise ListingError(f"{self.listing.name}: no expected row for stream {stream}")
        return self.listing

    def line(self, number: int, line: str) -> None:
        """Parse one line."""
        listing = self.listing
        if not line:
            return
        if line.startswith("#"):
            self.comment(line[1:].strip())
        elif line.startswith(";"):
            row = dict(word.split("=", 1) for word in line[1:].split())
            if unknown := row.keys() - {"stream", *COLUMNS}:
                raise ListingError(f"unknown columns {sorted(unknown)}")
            listing.connections[int(row.pop("stream", len(listing.connections)))] = row
        elif re.match(r"-?\d", line):
            self.event(number, line)
        else:
            word, *rest = line.split()
            if word == "start":
                moment = datetime.fromisoformat(rest[0].replace("Z", "+00:00"))
                listing.start_ns = int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
            elif word == "file":
                listing.ending, listing.byte_order = rest[0], ">" if rest[1:] == ["big-endian"] else "<"
            elif word == "link":
                self.interfaces.append(parse_interface(rest))
                listing.interfaces = self.interfaces
            elif word == "tunnel":
                listing.tunnel = Tunnel(*rest)
            elif word == "router":
                listing.ends["R"] = End("R", rest[0], 0)
            elif match := re.fullmatch(r"(client|server)(\d*)", word):
                name = match[1][0].upper() + match[2]
                address, port = rest[0].rsplit(":", 1)
                listing.ends[name] = End(name, address.strip("[]"), int(port))
            else:
                raise ListingError(f"unknown word {word!r}")

    def comment(self, text: str) -> None:
        """Parse a comment: the idea, the rules or the source."""
        listing = self.listing
        if text.startswith("rules:"):
            listing.rules = text[6:].strip()
        elif text.startswith("source:"):
            listing.source = text[7:].strip()
        elif not listing.idea:
            listing.idea = text

    def event(self, number: int, line: str) -> None:
        """Parse a line that begins with a time."""
        words = TOKEN.findall(line)
        cut = next((i for i, word in enumerate(words) if word.startswith(";")), len(words))
        expected = [word for word in [words[cut][1:], *words[cut + 1 :]] if word] if cut < len(words) else []
        words = words[:cut]
        events = self.listing.events
        frame = events[-1].frame + 1 if events else 1
        if "same-frame" in words:
            words.remove("same-frame")
            frame -= 1
        on = next((word for word in words if word.startswith("on=")), "on=0")
        words = [word for word in words if word != on]
        place: dict[str, Any] = {
            "frame": frame,
            "time_ns": self.listing.start_ns + nanoseconds(words[0]),
            "line": number,
            "interface": int(on[3:]),
        }
        if words[1] == "icmp":
            events.append(self.network_error(place, words[2:], expected))
        elif words[1] == "other":
            events.append(Other(**place, kind=words[2]))
        else:
            events.append(self.segment(place, words[1:], expected))

    def network_error(self, place: dict[str, Any], words: list[str], expected: list[str]) -> NetworkError:
        """Parse the words after `icmp`."""
        router, kind, _, quotes, *rest = words
        options = dict(word.split("=") for word in rest)
        quoted = next(e for e in self.listing.events if isinstance(e, Segment) and e.frame == int(quotes))
        return NetworkError(
            **place,
            router=self.listing.ends[router],
            type=int(kind.split("/")[0]),
            code=int(kind.split("/")[1]),
            quoted=quoted,
            quoted_bytes=int(options["bytes"]) if "bytes" in options else None,
            mtu=int(options.get("mtu", 0)),
            expected=parse_expected(expected, "client"),
        )

    def segment(self, place: dict[str, Any], words: list[str], expected: list[str]) -> Segment:
        """Parse the words after the time of a segment."""
        ends = self.listing.ends
        who, flags_word, seq_word, *rest = words
        source = ends[who]
        peer = ("S" if who[0] == "C" else "C") + who[1:]
        destination = ends.get(peer) or ends[peer[0]]
        flags, seq, ack = parse_flags(flags_word), int(seq_word), 0
        if flags & ACK or (rest and rest[0].isdecimal()):
            ack = int(rest.pop(0))
        values: dict[str, object] = {}
        options: list[tuple[str, tuple[int, ...]]] = []
        begins: int | None = None
        for word in rest:
            key, _, value = word.partition("=")
            if word.startswith("+"):
                values["payload"] = filler(seq, int(word[1:]))
            elif key == "data":
                values["payload"] = json.loads(value).encode()
            elif key == "stream":
                begins = int(value)
            elif key == "fragment":
                first, end = value.split("-")
                values["fragment"] = (int(first), int(end) if end else None)
            elif key in OPTIONS:
                options.append((key, tuple(int(part, 0) for part in value.split(",")) if value else ()))
            else:
                values[NUMBERS[key]] = int(value, 0)
        if source.version == 6 and "ip_id" in values:
            raise ListingError("IPv6 has no identification")
        pair = frozenset({(source.address, source.port), (destination.address, destination.port)})
        if begins is not None or pair not in self.streams:
            self.streams[pair] = self.new_streams if begins is None else begins
            self.new_streams = self.streams[pair] + 1
        return Segment(
            **place,
            stream=self.streams[pair],
            source=source,
            destination=destination,
            flags=flags,
            seq=seq,
            ack=ack,
            options=tuple(options),
            expected=parse_expected(expected, "client" if who[0] == "C" else "server"),
            **values,  # type: ignore[arg-type]
        )


def parse(name: str, text: str) -> Listing:
    """Parse the text of the listing with this name."""
    return Parser(name).parse(text)


def find(file: str) -> Path:
    """Return the path of a golden's file by its name alone: `find("refused.pcapng")`."""
    found = list(GOLDEN.glob(f"*/{file}"))
    if len(found) != 1:
        raise FileNotFoundError(f"{len(found)} files are called {file} in {GOLDEN}.")
    return found[0]


def load(path: Path) -> Listing:
    """Read one listing."""
    golden = parse(path.stem, path.read_text(encoding="utf-8"))
    golden.folder = path.parent
    return golden


def load_all(folder: Path = GOLDEN) -> list[Listing]:
    """Read all goldens, by name."""
    return sorted((load(path) for path in folder.glob("*/*.listing")), key=lambda golden: golden.name)
