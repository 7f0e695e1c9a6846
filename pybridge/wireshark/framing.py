# SPDX-License-Identifier: GPL-2.0-or-later
"""Find where packets begin in a stream of pcap or pcapng, so that another reader can continue it.

Pure: bytes in, bytes out. Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct

PCAP_ORDERS = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
"""Byte orders of pcap, by magic number; two of them stand for microseconds, two for nanoseconds."""

PCAPNG_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
"""Byte orders of pcapng, by byte-order magic."""

PCAP_HEADER, PACKET_HEADER, BLOCK_HEADER = 24, 16, 12  # bytes
SECTION, INTERFACE, PACKETS = 0x0A0D0D0A, 1, {2, 3, 6}  # types of blocks
LARGEST = 1 << 28
"""Bytes of the largest packet or block; a larger length is an error in the stream."""


class Framing:
    """Splits a stream at the ends of packets.

    A stream in another format is passed on as it comes, and so is everything after an impossible length.

    Attributes
    ----------
    header : bytes
        The bytes that another reader needs before the next packet.
    """

    def __init__(self) -> None:
        self.header = b""
        self._data = bytearray()
        self._order = ""
        self._blocks = False  # whether the format is pcapng
        self._lost = False

    def add(self, data: bytes) -> None:
        """Add the next bytes of the stream."""
        self._data += data

    def take(self, most: int) -> tuple[bytes, int]:
        """Return the bytes up to the end of a packet, of at most `most` packets, and the number of packets in them."""
        at = packets = 0
        while packets < most and (size := self._size(at)) and at + size <= len(self._data):
            packets += self._is_packet(at, size)
            at += size
        if self._lost:
            at = len(self._data)
        taken = bytes(self._data[:at])
        del self._data[:at]
        return taken, packets

    def rest(self) -> bytes:
        """Return the bytes that are left when the stream has ended: none, unless it was cut short."""
        return bytes(self._data)

    def _size(self, at: int) -> int:
        """Return the size of the header, packet or block that begins at `at`; 0 if it is unknown, or not known yet."""
        data = self._data
        if len(data) < at + BLOCK_HEADER or self._lost:
            return 0
        begin = bytes(data[at : at + 4])
        if not self._order and begin in PCAP_ORDERS:
            return PCAP_HEADER
        if begin == b"\n\r\r\n" and (self._blocks or not self._order):
            self._order, self._blocks = PCAPNG_ORDERS.get(bytes(data[at + 8 : at + 12]), ""), True
        size, least = 0, BLOCK_HEADER
        if self._order:
            (size,) = struct.unpack_from(f"{self._order}I", data, at + (4 if self._blocks else 8))
            size, least = (size, BLOCK_HEADER) if self._blocks else (size + PACKET_HEADER, PACKET_HEADER)
        self._lost = not least <= size <= LARGEST
        return 0 if self._lost else size

    def _is_packet(self, at: int, size: int) -> bool:
        """Whether a packet begins at `at`; keep the bytes if it is a header."""
        data = self._data
        if not self._order:
            self.header = bytes(data[at : at + size])
            self._order = PCAP_ORDERS[self.header[:4]]
            return False
        if not self._blocks:
            return True
        (kind,) = struct.unpack_from(f"{self._order}I", data, at)
        if kind == SECTION:
            self.header = b""
        if kind in (SECTION, INTERFACE):
            self.header += data[at : at + size]
        return kind in PACKETS
