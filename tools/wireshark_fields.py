# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the tables by Wireshark's own fields: `tcp.completeness` (rule C15), `tcp.analysis.initial_rtt` (rules H10 and C8).

`python -m tools.wireshark_fields FOLDER...` compares every connection of every capture. Where a value differs from
Wireshark's, both are computed again from the headers: the table's by the rule, Wireshark's as its packet-tcp.c does it. A
difference is explained only if both results are exact, to the bit and to the nanosecond; then it gets a name. Else it is a
finding (exit status 1).
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from tqdm.contrib.concurrent import process_map

import pybridge
from pybridge import verification
from pybridge.errors import CutShortWarning, PybridgeError, TSharkError
from pybridge.tcp.state import MODULO, is_beyond
from pybridge.tcp.vocabulary import ACK, FIN, RST, SYN
from pybridge.wireshark.fields import FIELDS, nanoseconds
from pybridge.wireshark.installation import find_program

COMPLETENESS, INITIAL_RTT = "tcp.completeness", "tcp.analysis.initial_rtt"
OWN = ("frame.number", "frame.time_epoch", "tcp.stream", "tcp.flags", "tcp.len", COMPLETENESS, INITIAL_RTT)
EQUAL = "equal"
CUT_SHORT = 2  # tshark's exit status on a capture that ends in the middle of a packet

ONCE = "the only segment of its stream: Wireshark 4.0 looks for a SYN in the first pass, and for the rest in the second"
LATE_SYN = "the SYN is not the first of its stream: Wireshark does not count it"
SYN_PAYLOAD = "payload on a SYN, which Wireshark counts only if it is the first SYN between these ends"
ANNOUNCED = "another dissector announced the connection: Wireshark 4.0 does not count the SYN (but does without that dissector)"
NO_SEGMENT = "Wireshark counts a header that is no segment (G1)"
MOVED = "the second pass put a frame into another stream"

NOT_GIVEN = "Wireshark gives none"
SYN_AGAIN = "the SYN was sent again: Wireshark counts from the latest, the table from the first"
SYN_TWICE = "the SYN was captured twice: Wireshark counts from the second copy"
QUOTED_SYN = "Wireshark counts from a SYN that is no segment: quoted by an ICMP error, or truncated (G1)"
OTHER_SYN = "the other end sent a SYN, too: Wireshark counts from the latest of both"
RESET = "Wireshark's third step is an RST"
SIMULTANEOUS = "simultaneous open: the end that Wireshark takes the third step from has sent a SYN-ACK, and sends none"
OTHER_END = "Wireshark's third step is the answering end's"
MISMATCH = "Wireshark's third step has a number that the other end cannot accept"
SKIPS = "Wireshark's third step comes after segments that the capture lacks (F6, H9)"
SAME_TIME = "SYN and third step have the same time: Wireshark ignores it, and takes a later segment for the third step"


class Header(NamedTuple):
    """A TCP header that Wireshark dissected.

    Attributes
    ----------
    stream : int
        The stream in the second pass.
    flags : int or None
        None if Wireshark did not dissect the whole header.
    segment : row of the table of segments, or None
        None if the header is no segment (rule G1).
    """

    frame: int
    time: int
    stream: int
    flags: int | None
    length: int
    segment: Any

    @property
    def first_stream(self) -> int:
        """The stream in the first pass, which is also that of the tables."""
        return self.stream if self.segment is None else int(self.segment.stream)

    @property
    def is_syn(self) -> bool:
        """Whether the header has SYN and no ACK."""
        return self.flags is not None and self.flags & (SYN | ACK) == SYN

    @property
    def is_syn_ack(self) -> bool:
        """Whether the header has SYN and ACK."""
        return self.flags is not None and self.flags & (SYN | ACK) == SYN | ACK

    @property
    def is_ack(self) -> bool:
        """Whether the header has ACK and no SYN."""
        return self.flags is not None and self.flags & (SYN | ACK) == ACK

    @property
    def end(self) -> tuple[str, int]:
        """Address and port of a segment's sender."""
        return self.segment.source, self.segment.source_port

    def has(self, anomaly: str) -> bool:
        """Whether the header is a segment with this anomaly."""
        return self.segment is not None and anomaly in str(self.segment.anomaly).split("+")


@dataclass
class Connection:
    """A connection: its headers in each of the two passes, and the last values of Wireshark's two fields."""

    first: list[Header] = field(default_factory=list)
    second: list[Header] = field(default_factory=list)
    completeness: int | None = None
    initial_rtt: int | None = None


@dataclass
class Verdict:
    """The number of findings by field and reason, and the differences without a reason."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    connections: int = 0
    captures: int = 0

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.counts + other.counts,
            self.unexplained + other.unexplained,
            self.unread + other.unread,
            self.connections + other.connections,
            self.captures + other.captures,
        )

    def __str__(self) -> str:
        lines = [f"{self.captures:7} captures", f"{self.connections:7} connections"]
        for name in (COMPLETENESS, INITIAL_RTT):
            lines.append(name)
            found = [(count, reason) for (field_name, reason), count in self.counts.items() if field_name == name]
            lines += [f"{count:7} {reason}" for count, reason in sorted(found, key=lambda item: (item[1] != EQUAL, -item[0]))]
        return "\n".join([*lines, f"{len(self.unexplained):7} unexplained", f"{len(self.unread):7} captures could not be read"])


def examine(source: Path) -> Verdict:
    """Compare every connection of a capture, as `pybridge.read` returns it, with Wireshark's fields."""
    return compare(source, listen(source), pybridge.read(source, progress=False))


def compare(source: Path, fields: pa.Table, capture: pybridge.Capture) -> Verdict:
    """Compare the tables of a capture with Wireshark's fields, as `listen` returns them."""
    verdict = Verdict(captures=1, connections=len(capture.connections))
    by_stream = connections(fields, capture)
    rows: Iterator[Any] = capture.connections.itertuples()
    for row in rows:
        connection = by_stream[row.Index]
        completeness = int(row.completeness)
        if completeness == connection.completeness:
            reason: str | None = EQUAL
        else:
            reason = completeness_reason(connection, completeness) or announced(source, connection, completeness)
        _note(verdict, f"{source}: connection {row.Index}", COMPLETENESS, reason, completeness, connection.completeness)

        handshake_time = None if pd.isna(row.handshake_time) else row.handshake_time.value
        if connection.initial_rtt is None:
            reason = NOT_GIVEN
        elif handshake_time == connection.initial_rtt:
            reason = EQUAL
        else:
            reason = initial_rtt_reason(connection, handshake_time)
        _note(verdict, f"{source}: connection {row.Index}", INITIAL_RTT, reason, handshake_time, connection.initial_rtt)
    return verdict


def _note(verdict: Verdict, where: str, name: str, reason: str | None, in_table: int | None, in_wireshark: int | None) -> None:
    if reason is None:
        verdict.unexplained.append(f"{where}: {name} is {in_wireshark}, in the table {in_table}")
    else:
        verdict.counts[name, reason] += 1


def completeness_reason(connection: Connection, completeness: int) -> str | None:
    """Return why `tcp.completeness` differs from the table's value; None if no known reason explains both."""
    first, second, in_wireshark = connection.first, connection.second, connection.completeness
    if completeness != _by_rule(first):
        return None
    if first != second and in_wireshark in (shown(first, second), shown(first, second, new=False)):
        return MOVED
    if in_wireshark != shown(first, second):
        return None
    if in_wireshark != shown(_segments(first), _segments(second)):
        return NO_SEGMENT
    if first[0].is_syn and completeness ^ in_wireshark == 8:
        return SYN_PAYLOAD
    return ONCE if len(first) == 1 else LATE_SYN


def _by_rule(headers: Iterable[Header]) -> int:
    """Return the completeness of the table (rule C15)."""
    return reduce(or_, map(_bits, _segments(headers)), 0)


def _segments(headers: Iterable[Header]) -> list[Header]:
    return [header for header in headers if header.segment is not None]


def _bits(header: Header) -> int:
    flags = header.flags or 0
    bits = {SYN: 1 | (8 if header.length else 0), SYN | ACK: 2, ACK: 8 if header.length else 4}.get(flags & (SYN | ACK), 0)
    return bits | (16 if flags & (FIN | ACK) == FIN | ACK else 0) | (32 if flags & RST else 0)


def shown(first: Sequence[Header], second: Sequence[Header], *, new: bool = True) -> int:
    """Return the value that Wireshark 4.0 shows in the last frame of the stream.

    In each pass, Wireshark shows the value before it counts the header. A SYN counts only if it begins the stream (`new`). Of
    that header nothing else counts but payload, and that only between new ends.
    """
    begins, later = (first[:1], first[1:]) if new else ([], first)
    return reduce(or_, chain(map(_opening_bits, begins), map(_later_bits, chain(later, second[:-1]))), 0)


def _opening_bits(header: Header) -> int:
    return _bits(header) & (1 if header.has("port-reuse") else 9) if header.is_syn else 0


def _later_bits(header: Header) -> int:
    return _bits(header) & ~9 if header.is_syn else _bits(header)


def announced(source: Path, connection: Connection, completeness: int) -> str | None:
    """Return `ANNOUNCED` if Wireshark misses the SYN because another dissector announced the connection.

    The proof is that Wireshark counts the SYN with all other dissectors disabled.
    """
    first, second = connection.first, connection.second
    if not first or completeness != _by_rule(first) or connection.completeness != shown(first, second, new=False):
        return None
    protocols = _run(source, ("frame.protocols",), "tcp or udp")["frame.protocols"].to_pylist()
    above = {name for text in protocols for name in re.sub(r".*:(tcp|udp)(:|$)", "", text or "").split(":") if name}
    disabled = [argument for name in sorted(above) for argument in ("--disable-protocol", name)]
    again = list(_headers(_run(source, OWN, "tcp", *disabled), {}))
    stream = next((header.stream for header, *_ in again if header.frame == first[0].frame), None)
    values = [value for header, value, _ in again if header.stream == stream]
    return ANNOUNCED if values and values[-1] == shown(first, second) else None


def initial_rtt_reason(connection: Connection, handshake_time: int | None) -> str | None:
    """Return why `tcp.analysis.initial_rtt` differs from `handshake_time`; None if no known reason explains both."""
    in_wireshark = third_step(chain(connection.first, connection.second))
    if in_wireshark is None or in_wireshark[1].time - in_wireshark[0].time != connection.initial_rtt:
        return None
    syn, ack = in_wireshark
    step = None
    answered = _answered(connection.first)
    if handshake_time != (answered[1].time - answered[0].time if answered else None):
        return None
    if answered:
        started, step = answered
        if step is ack:
            if syn is started:
                return None
            if syn.segment is None:
                return QUOTED_SYN
            if syn.end != started.end:
                return OTHER_SYN
            return SYN_TWICE if syn.has("duplicate") else SYN_AGAIN
    if step is None and syn.segment is not None and ack.segment is not None and ack.end == syn.end:
        segments = (header for header in connection.first if header.segment is not None)
        if any(header.is_syn_ack and header.end == syn.end for header in segments):
            return SIMULTANEOUS
    return _other_step(syn, ack, step)


def _other_step(syn: Header, ack: Header, step: Header | None) -> str | None:
    """Return why Wireshark takes another segment for the third step than the table."""
    if ack.segment is None:
        return NO_SEGMENT
    if syn.segment is None:
        return QUOTED_SYN
    if step and step.time == syn.time:
        return SAME_TIME
    if (ack.flags or 0) & RST:
        return RESET
    if ack.end != syn.end:
        return OTHER_END
    if ack.has("ack-mismatch") or ack.has("seq-mismatch"):
        return MISMATCH
    after_syn = (syn.segment.seq_raw + syn.length + 1) % MODULO
    return SKIPS if step is None and is_beyond(ack.segment.seq_raw, after_syn) else None


def third_step(headers: Iterable[Header]) -> tuple[Header, Header] | None:
    """Return SYN and third step as Wireshark chooses them: an ACK of either end, and the latest SYN before it.

    Wireshark ignores a time difference of 0.
    """
    syn = None
    for header in headers:
        if header.is_syn:
            syn = header
        elif header.is_ack and syn and syn.time and header.time != syn.time:
            return syn, header
    return None


def _answered(headers: Iterable[Header]) -> tuple[Header, Header] | None:
    """Return the first segment with a handshake time, after the first transmission of its SYN (rules C8 and H10)."""
    started: dict[tuple[str, int, int], Header] = {}
    for header in _segments(headers):
        if header.is_syn:
            started.setdefault((*header.end, header.segment.seq_raw), header)
        elif not pd.isna(header.segment.handshake_time):
            syns = [syn for syn in started.values() if syn.end == header.end]
            return (syns[-1], header) if syns else None
    return None


def listen(source: Path) -> pa.Table:
    """Read the fields of all TCP packets that both sides need: by tshark with default preferences, in two passes."""
    return _run(source, (*FIELDS, *OWN), "tcp")


def _run(source: Path, fields: Sequence[str], display_filter: str, *arguments: str) -> pa.Table:
    names = list(dict.fromkeys(fields))
    layout = ",".join(f'"c{place}","{name if name.startswith("%") else f"%Cus:{name}:0:U"}"' for place, name in enumerate(names))
    command = [find_program(), "-2", "-n", "-r", str(source), "-Y", display_filter, "-T", "tabs"]
    with tempfile.TemporaryDirectory() as home:  # an empty home: default preferences
        environment = os.environ | {"HOME": home, "APPDATA": home, "WIRESHARK_CONFIG_DIR": home}
        done = subprocess.run(
            [*command, "-o", f"gui.column.format:{layout}", *arguments], capture_output=True, env=environment, check=False
        )
    if done.returncode not in (0, CUT_SHORT):
        raise TSharkError(f"tshark failed on {source}: {done.stderr.decode(errors='replace').strip()}")
    types = dict.fromkeys(names, pa.string())
    if not done.stdout:
        return pa.schema(types).empty_table()
    return pa.csv.read_csv(
        io.BytesIO(done.stdout),
        pa.csv.ReadOptions(column_names=names),
        pa.csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False, ignore_empty_lines=False),
        pa.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
    )


def connections(fields: pa.Table, capture: pybridge.Capture) -> dict[int, Connection]:
    """Return the connections by stream."""
    rows: dict[int, list[Any]] = defaultdict(list)
    table: Iterator[Any] = capture.segments.itertuples(index=False)
    for row in table:
        rows[row.frame].append(row)
    by_stream: dict[int, Connection] = defaultdict(Connection)
    for header, completeness, initial_rtt in _headers(fields, rows):
        by_stream[header.first_stream].first.append(header)
        connection = by_stream[header.stream]
        connection.second.append(header)
        connection.completeness = completeness
        if initial_rtt is not None:
            connection.initial_rtt = initial_rtt
    return by_stream


def _headers(fields: pa.Table, rows: Mapping[int, Sequence[Any]]) -> Iterator[tuple[Header, int | None, int | None]]:
    """Yield every header to which Wireshark gave a stream, with the values of its two fields there."""
    for frame, time, *texts in zip(*(fields[name].to_pylist() for name in OWN), strict=True):
        count = len(texts[0].split(",")) if texts[0] else 0
        in_table = rows.get(int(frame or 0), ())
        at = nanoseconds(time or "")
        each: Iterator[Any] = zip(*(_each(text, count) for text in texts), strict=True)
        for place, (stream, flags, length, completeness, initial_rtt) in enumerate(each):
            row = in_table[place] if place < len(in_table) else None  # the first headers are the segments (rule G2)
            header = Header(int(frame), at, int(stream), int(flags, 16) if flags else None, int(length or 0), row)
            yield header, int(completeness) if completeness else None, nanoseconds(initial_rtt) if initial_rtt else None


def _each(text: str | None, count: int) -> list[str | None]:
    """Return the value at each of `count` headers; None at all of them if there are more or fewer values."""
    values: list[str | None] = [*text.split(",")] if text else []
    return values if len(values) == count else [None] * count


def captures(places: Iterable[str]) -> list[Path]:
    """Return the captures that are named, and those in the folders that are named."""
    return [Path(path) for place in places for path in verification.captures(place)]


def _judge(source: Path) -> Verdict:
    """Return the verdict of `examine`, or one that names the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CutShortWarning)
            return examine(source)
    except PybridgeError as error:
        return Verdict(captures=1, unread=[str(error)])


def main(places: Sequence[str]) -> int:
    """Examine all captures and print the counts; return 1 if something is unexplained or could not be read."""
    if not places:
        print("usage: python -m tools.wireshark_fields FOLDER...", file=sys.stderr)
        return 2
    found = captures(places)
    verdicts = process_map(_judge, found, max_workers=os.cpu_count(), chunksize=1, desc="witness", unit=" captures")
    verdict = sum(verdicts, Verdict())
    print("\n".join([*verdict.unexplained, *verdict.unread, str(verdict)]))
    return 1 if verdict.unexplained or verdict.unread or not verdict.connections else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
