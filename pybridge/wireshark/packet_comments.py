# SPDX-License-Identifier: GPL-2.0-or-later
"""Copy a capture as pcapng with comments on packets: editcap or mergecap writes pcapng, the comments are added as it comes."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, BinaryIO

from pybridge.errors import CaptureError
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.installation import find_program

SECTION_HEADER, ENHANCED_PACKET = 0x0A0D0D0A, 6
FRAMES = frozenset((2, 3, ENHANCED_PACKET, 9, 0x204, 0x208))
"""Blocks that Wireshark counts as frames: packets, the systemd journal, and events of sysdig."""

LITTLE, BIG = "<", ">"
MAGIC = {b"\x4d\x3c\x2b\x1a": LITTLE, b"\x1a\x2b\x3c\x4d": BIG}
COMMENT, END_OF_OPTIONS = 1, 0
LONGEST_COMMENT = 65_000  # bytes; the length has 16 bits
SHORTEST_BLOCK, LONGEST_BLOCK = 12, 1 << 28


def write_commented(source: CaptureSource, comments: Mapping[int, str], target: BinaryIO) -> None:
    """Write a capture as pcapng; frames that have a comment get it in addition to those that they have.

    Raises
    ------
    CaptureError
        The capture cannot be read; what could be read before is written.
    """
    source.check()
    command = source.command or (find_program("editcap"), "-F", "pcapng", os.path.realpath(source.path or ""), "-")
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        if process.stdout is None:
            return
        try:
            frame = 0
            for order, kind, block in _blocks(process.stdout, source.label):
                frame += kind in FRAMES
                comment = comments.get(frame) if kind == ENHANCED_PACKET else None
                target.write(_commented(order, block, comment) if comment else block)
        except BaseException:
            process.kill()
            raise
        process.wait()
        complaints.seek(0)
        complaint = complaints.read().decode(errors="replace")
    if process.returncode and "cut short" not in complaint:
        raise CaptureError(f"{source.label} cannot be written as pcapng: it has packets that this format cannot hold.")


def _blocks(stream: IO[bytes], label: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield the byte order, the kind and the bytes of each block."""
    order = LITTLE
    while head := stream.read(8):
        if len(head) < 8:
            return
        rest = b""
        if head[:4] == struct.pack("<I", SECTION_HEADER):  # the same in both orders
            rest = stream.read(4)
            order = MAGIC.get(rest, order)
        kind, size = struct.unpack(f"{order}II", head)
        if not SHORTEST_BLOCK <= size <= LONGEST_BLOCK:
            raise CaptureError(f"{label} cannot be copied: Wireshark wrote a block of {size} bytes.")
        rest += stream.read(size - len(head) - len(rest))
        if len(rest) < size - len(head):
            return
        yield order, kind, head + rest


def _commented(order: str, block: bytes, comment: str) -> bytes:
    """Return a packet's block with a comment before its other options."""
    (captured,) = struct.unpack_from(f"{order}I", block, 20)
    packet_end = 28 + _padded(captured)
    text = comment.encode()[:LONGEST_COMMENT].decode(errors="ignore").encode()
    option = struct.pack(f"{order}HH", COMMENT, len(text)) + text + bytes(_padded(len(text)) - len(text))
    options = block[packet_end:-4] or struct.pack(f"{order}HH", END_OF_OPTIONS, 0)
    size = struct.pack(f"{order}I", packet_end + len(option) + len(options) + 4)
    return block[:4] + size + block[8:packet_end] + option + options + size


def _padded(size: int) -> int:
    return (size + 3) & ~3
