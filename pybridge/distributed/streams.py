# SPDX-License-Identifier: GPL-2.0-or-later
"""Where connections begin in a flow that lies in several captures, as Wireshark decides it within one (G4).

Wireshark forgets a conversation where the file ends. What it decides by are, for each end, the number of its SYN or what it takes
for it, and whether there was a FIN or an RST. All of it follows from the headers, so that the same can be decided over borders.
"""

from __future__ import annotations

from collections.abc import Set

from packaging.version import Version

from pybridge.distributed.rows import Row
from pybridge.tcp.annotator import KIND
from pybridge.tcp.connection_row import completeness_of
from pybridge.tcp.model import NetworkError, Segment
from pybridge.tcp.state import MODULO
from pybridge.tcp.vocabulary import ACK, SYN

RENEWED_WHEN_OVER = Version("4.4")  # and by another SYN-ACK
OVER = 16 | 32  # C15: a FIN, an RST
NO_CONNECTION = -1


class Conversation:
    """What Wireshark keeps of the latest conversation of a flow.

    Parameters
    ----------
    version : packaging.version.Version
        Of the tshark that dissected it: 4.4 begins more streams than 4.0.
    """

    __slots__ = ("_bases", "_later", "_over")

    def __init__(self, version: Version) -> None:
        self._later = version >= RENEWED_WHEN_OVER
        self._bases: dict[tuple[str, int], int] = {}
        self._over = False

    def begins(self, segment: Segment) -> bool:
        """Take in the flow's next segment: whether it begins a connection. The first one of the flow does."""
        sender = segment.source, segment.source_port
        opening = segment.flags & (SYN | ACK)
        base = self._bases.get(sender)
        begins = not self._bases
        if base is None:
            self._over &= opening != SYN
        elif segment.flags & SYN and (segment.seq != base or (self._later and self._over)):
            if self._later or opening == SYN:
                begins = True
            else:
                self._bases[sender] = segment.seq
        if begins:
            self._bases, self._over = {}, False
        self._bases.setdefault(sender, segment.seq if segment.flags & SYN else (segment.seq - 1) % MODULO)
        if segment.flags & ACK:
            self._bases.setdefault((segment.destination, segment.destination_port), (segment.ack - 1) % MODULO)
        self._over |= bool(completeness_of(segment.flags & KIND, segment.length) & OVER)
        return begins


class StreamNumbering:
    """Which connection a segment or network error of several captures belongs to.

    Where a flow lies in one capture, Wireshark's streams say it; where it lies in several, `Conversation` does.

    Parameters
    ----------
    cut : set of int
        The flows that lie in several captures.
    version : packaging.version.Version
        Of the tshark that dissected them.
    """

    def __init__(self, cut: Set[int], version: Version) -> None:
        self._cut = cut
        self._version = version
        self._streams: dict[tuple[int, int | None], int] = {}  # by file
        self._conversations: dict[int, Conversation] = {}  # by flow
        self._latest: dict[int, int] = {}

    def stream_of(self, row: Row, number: int) -> int | None:
        """The connection of the next row: `number` if it begins one; None for the latest between the row's ends (N1)."""
        event = row.event
        if isinstance(event, NetworkError):
            if event.stream is None or row.flow in self._cut:
                return None
            return self._streams.get((row.file, event.stream), NO_CONNECTION)
        if row.flow not in self._cut:
            return self._streams.setdefault((row.file, event.stream), number)
        if row.flow not in self._conversations:
            self._conversations[row.flow] = Conversation(self._version)
        if self._conversations[row.flow].begins(event):
            self._latest[row.flow] = number
        return self._latest[row.flow]
