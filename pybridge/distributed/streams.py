# SPDX-License-Identifier: GPL-2.0-or-later
"""Decide where connections begin in a flow that lies in several captures, as Wireshark does within one (rule G4).

Wireshark forgets a conversation at the end of a file. It decides by the sequence number of each end's SYN (or the number that the
SYN must have had), and by whether there was a FIN or an RST. All of that follows from the headers, so that this module can decide
the same across files.
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

RENEWED_WHEN_OVER = Version("4.4")
"""From this version on, Wireshark begins another stream also by another SYN-ACK, or by a repeated SYN after a FIN or RST."""

OVER = 16 | 32
"""Bits of `completeness` for a FIN and an RST (rule C15)."""

NO_CONNECTION = -1
"""Stream of a network error about a connection of which no segment was captured."""


class Conversation:
    """The state that Wireshark keeps of the latest conversation of a flow.

    Parameters
    ----------
    version : packaging.version.Version
        Version of the tshark that dissected the flow: 4.4 begins more streams than 4.0.
    """

    __slots__ = ("_bases", "_later", "_over")

    def __init__(self, version: Version) -> None:
        self._later = version >= RENEWED_WHEN_OVER
        self._bases: dict[tuple[str, int], int] = {}
        self._over = False

    def begins(self, segment: Segment) -> bool:
        """Take in the next segment of the flow, and return whether it begins a connection; the first segment does."""
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
    """Assigns segments and network errors of several captures to connections.

    If a flow lies in one capture, Wireshark's streams decide; if it lies in several, `Conversation` does.

    Parameters
    ----------
    in_several : set of int
        The flows that lie in several captures.
    version : packaging.version.Version
        Version of the tshark that dissected them.
    """

    def __init__(self, in_several: Set[int], version: Version) -> None:
        self._in_several = in_several
        self._version = version
        self._streams: dict[tuple[int, int | None], int] = {}  # by file
        self._conversations: dict[int, Conversation] = {}  # by flow
        self._latest: dict[int, int] = {}

    def stream_of(self, row: Row, number: int) -> int | None:
        """Return the connection of the next row.

        It is `number` if the row begins a connection, and None if a network error is about the latest connection between its
        ends (rule N1).
        """
        event = row.event
        if isinstance(event, NetworkError):
            if event.stream is None or row.flow in self._in_several:
                return None
            return self._streams.get((row.file, event.stream), NO_CONNECTION)
        if row.flow not in self._in_several:
            return self._streams.setdefault((row.file, event.stream), number)
        if row.flow not in self._conversations:
            self._conversations[row.flow] = Conversation(self._version)
        if self._conversations[row.flow].begins(event):
            self._latest[row.flow] = number
        return self._latest[row.flow]
