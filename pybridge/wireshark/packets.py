# SPDX-License-Identifier: GPL-2.0-or-later
"""Read whole packets through pyshark, and the payload that a connection carried through tshark."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pyshark.packet.packet import Packet

from pybridge.errors import CaptureError
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.installation import tshark_version
from pybridge.wireshark.process import TSharkProcess


def read_packet(source: CaptureSource, frame: int) -> Packet:
    """Return one whole packet, dissected as Wireshark does, parsed by pyshark.

    Raises
    ------
    CaptureError
        There is no such frame, or the capture cannot be read.
    """
    found = list(read_packets(source, f"frame.number == {frame}", last=frame))
    if not found:
        raise CaptureError(f"{source.label} has no frame {frame}.")
    return found[0]


def read_packets(source: CaptureSource, display_filter: str, *, plugin: Path | None = None, last: int = 0) -> Iterator[Packet]:
    """Yield the whole packets that a display filter selects, parsed by pyshark; up to frame `last` if given."""
    source.check()
    tshark_version()
    arguments = ["-T", "pdml", "-Y", display_filter]
    if last:
        arguments += ["-c", str(last)]
    with TSharkProcess(source, arguments, plugin=plugin, lean=plugin is not None) as process:
        parser = process.pdml_parser()
        stream = _Pipe(process.output.fileno())
        data = b""
        first = True
        while True:
            try:
                found, data = process.wait(parser.get_packets_from_stream(stream, data, got_first_packet=not first))
            except EOFError:
                break
            if found:
                first = False
                yield found
        process.finish()


def follow_stream(source: CaptureSource, stream: int) -> list[tuple[str, bytes]]:
    """Return what *Follow > TCP Stream* shows: in turns, the sender (address and port) and its data, reassembled by Wireshark.

    Raises
    ------
    CaptureError
    """
    source.check()
    tshark_version()
    with TSharkProcess(source, ["-q", "-z", f"follow,tcp,raw,{stream}"], lean=False) as process:
        lines = process.call(process.output.read).decode().splitlines()
        process.finish()
    nodes = [line.partition(": ")[2] for line in lines if line.startswith("Node ")]
    data = [line for line in lines if re.fullmatch(r"\t?(?:[0-9a-f]{2})+", line)]
    return [(nodes[line.startswith("\t")], bytes.fromhex(line)) for line in data]


class _Pipe:
    """The part of an asyncio stream that pyshark's parser needs, over a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def read(self, size: int) -> bytes:
        return await asyncio.to_thread(os.read, self._descriptor, size)
