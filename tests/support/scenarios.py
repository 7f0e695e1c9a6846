# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios for the tests of ladders and pages: conversations in the notation of pcaps/README.md, and their tables."""

from __future__ import annotations

from functools import cache

import pandas as pd

from pybridge.tables import batches, frames
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Annotation, ConnectionRow, NetworkError, Segment
from tests.support.listings import events
from tools.goldens import listing

HEAD = """
client 10.0.0.1:50000
server 192.0.2.80:80
router 192.0.2.1
start 2024-05-01T12:00:00Z
"""

NORMAL = """
    0       C SYN      250118291            mss=1460 sack ts=1,0 ws=7
    0.012   S SYN-ACK 2336326088  250118292 mss=1400 sack ts=9,1
    0.0121  C ACK      250118292 2336326089
    0.02    C PSH      250118292 2336326089 +142
    0.033   S PSH     2336326089  250118434 +267
    0.034   C ACK      250118434 2336326356
    0.04    C FIN      250118434 2336326356
    0.052   S FIN     2336326356  250118435
    0.0521  C ACK      250118435 2336326357
"""
HANDSHAKE = """
    0       C SYN 100
    0.012   S SYN-ACK 300 101
    0.0121  C ACK 101 301
"""
HALF_OPEN = """
    0       C SYN 100
    0.012   S SYN-ACK 300 101
"""
REFUSED = """
    1       C SYN 100
    1.0005  S RST,ACK 0 101
"""
UNANSWERED = """
    2    C SYN 700
    3    C SYN 700
    5    C SYN 700
    9.1  C SYN 700
"""
UNREACHABLE = """
    2.5  C SYN 800
    2.6  icmp R 3/1 quotes 1
"""
SIMULTANEOUS_OPEN = """
    0      C SYN 100
    0.001  S SYN 300
    0.002  S SYN-ACK 300 101
    0.003  C SYN-ACK 100 301
"""
SIMULTANEOUS_CLOSE = """
    client [2001:db8:85a3:1111:2222:8a2e:370:7334]:65535
    server [2001:db8::1]:443
    0       C SYN 100
    0.012   S SYN-ACK 4294967295 101
    0.0121  C ACK 101 0
    0.5     C FIN 101 0
    0.501   S FIN 0 101 +10
    0.502   C ACK 102 11
    0.503   S ACK 11 102
"""
HALF_CLOSED = HANDSHAKE + "1 C FIN 101 301\n"
FIN_ACKNOWLEDGED = HALF_CLOSED + "1.1 S ACK 301 102\n"
UNACKNOWLEDGED = FIN_ACKNOWLEDGED + "1.2 S FIN 301 102\n"
FOUR_WAY = UNACKNOWLEDGED + "1.3 C ACK 102 302\n"
MIDSTREAM = """
    4      S ACK 90000 5000 +1460
    4.001  C ACK 5000 91460
    4.9    C ACK 4999 91460
    5      S RST 91460
"""
MISMATCH = """
    6    C SYN 100
    6.1  S SYN-ACK 300 91
    6.2  C RST 91
"""


def transfer(count: int = 300, marked: int = 0) -> str:
    """Return a handshake and `count` segments: two of data by the server, one that acknowledges them; `marked` have no flags."""
    lines, seq = [HANDSHAKE], 301
    for number in range(count):
        time = 0.02 + number * 0.001 + (3 if number > count // 2 else 0)
        if number % 3 == 2:
            lines.append(f"{time:.3f} C ACK 101 {seq}\n")
        else:
            lines.append(f"{time:.3f} S ACK {seq} 101 +1000\n")
            seq += 1000
    lines += [f"{10 + number * 0.01:.2f} C NONE 5\n" for number in range(marked)]
    return "".join(lines)


def only(sender: str, scenario: str) -> str:
    """Return the segments of one end, as captured where the other's do not pass."""
    return "".join(line for line in scenario.splitlines(keepends=True) if f" {sender} " in line)


@cache
def _events(scenario: str) -> list[Segment | NetworkError]:
    """Parse a scenario: a listing without the head that all have, and without expectations."""
    lines = [line.strip() for line in (HEAD + scenario).splitlines()]
    text = "\n".join(f"{line} ; none" if line[:1] in set("-0123456789") else line for line in lines)
    return list(events(listing.parse("scenario", text)))


def tables(*scenarios: str, later: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `segments` and `connections` of scenarios, one after the other in a capture; each is annotated by itself.

    The capture ends so many seconds after the last segment of each.
    """
    segments: list[tuple[Segment, Annotation]] = []
    rows: list[ConnectionRow] = []
    frame = 0
    for stream, scenario in enumerate(scenarios):
        annotator = Annotator()
        moved = [event._replace(frame=event.frame + frame, stream=stream) for event in _events(scenario)]
        segments += annotator.annotate(moved)
        rows += annotator.rows(annotator.end + later * 1_000_000_000)
        frame = moved[-1].frame
    return frames.segments([batches.segments(segments)]), frames.connections(batches.connections(rows))


def renamed(given: tuple[pd.DataFrame, pd.DataFrame], client: str, server: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of connections between the same two ends with names, which no capture holds, instead of addresses."""
    segments, connections = given
    names = {connections["client"].iloc[0]: client, connections["server"].iloc[0]: server}
    segments = segments.assign(**{name: segments[name].replace(names) for name in ("source", "destination")})
    return segments, connections.assign(client=client, server=server)
