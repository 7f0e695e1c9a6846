# SPDX-License-Identifier: GPL-2.0-or-later
"""Write capture files: pcapng and pcap, in either byte order, compressed or not.

scapy's writers know no captured length, and only one byte order. Compressed files hold stored blocks, because every version of a
compressor would give other bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

SNAP_LENGTH = 262144
PCAP_MAGIC = {6: 0xA1B2C3D4, 9: 0xA1B23C4D}


@dataclass(frozen=True)
class Device:
    """An interface of a capture: its LINKTYPE, and how many digits of a second its times have (6 or 9)."""

    link_type: int
    digits: int

    def ticks(self, time_ns: int) -> int:
        """Convert nanoseconds to the unit of this interface."""
        unit: int = 10 ** (9 - self.digits)
        ticks, rest = divmod(time_ns, unit)
        if rest:
            raise ValueError(f"{time_ns} ns is finer than the capture's resolution.")
        return ticks


@dataclass(frozen=True)
class Record:
    """A frame as it was captured, perhaps truncated by the snap length."""

    device: int
    time_ns: int
    data: bytes
    length: int


def pcapng(devices: Sequence[Device], records: Iterable[Record], order: str) -> bytes:
    """Make a pcapng file; `order` is `<` for little-endian, `>` for big-endian."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        length = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + length + body + length

    content = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    for device in devices:
        resolution = struct.pack(order + "HHB3xHH", 9, 1, device.digits, 0, 0) if device.digits != 6 else b""
        content += block(1, struct.pack(order + "HHI", device.link_type, 0, SNAP_LENGTH) + resolution)
    for record in records:
        time = devices[record.device].ticks(record.time_ns)
        numbers = (record.device, time >> 32, time & 0xFFFFFFFF, len(record.data), record.length)
        content += block(6, struct.pack(order + "IIIII", *numbers) + record.data)
    return content


def pcap(devices: Sequence[Device], records: Iterable[Record], order: str) -> bytes:
    """Make a classic pcap file, which has one interface."""
    (device,) = devices
    content = struct.pack(order + "IHHiIII", PCAP_MAGIC[device.digits], 2, 4, 0, 0, SNAP_LENGTH, device.link_type)
    for record in records:
        seconds, fraction = divmod(device.ticks(record.time_ns), 10**device.digits)
        content += struct.pack(order + "IIII", seconds, fraction, len(record.data), record.length) + record.data
    return content


def gzip(content: bytes) -> bytes:
    """Make a gzip file (RFC 1952) of stored blocks."""
    parts = [content[start : start + 0xFFFF] for start in range(0, len(content), 0xFFFF)]
    blocks = b"".join(
        struct.pack("<BHH", number == len(parts), len(part), len(part) ^ 0xFFFF) + part for number, part in enumerate(parts, 1)
    )
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + blocks + struct.pack("<II", zlib.crc32(content), len(content))


def zstandard(content: bytes) -> bytes:
    """Make a Zstandard file (RFC 8878) of one raw block, which holds up to 128 KiB."""
    return struct.pack("<IBI", 0xFD2FB528, 0xA0, len(content)) + (len(content) << 3 | 1).to_bytes(3, "little") + content


FORMATS: dict[str, Callable[[Sequence[Device], Iterable[Record], str], bytes]] = {"pcap": pcap, "pcapng": pcapng}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gz": gzip, "zst": zstandard}


def capture_file(ending: str, devices: Sequence[Device], records: Iterable[Record], order: str) -> bytes:
    """Make a file whose name has this ending: `pcap`, `pcapng.gz` and so on."""
    form, _, compression = ending.partition(".")
    return COMPRESSIONS[compression](FORMATS[form](devices, records, order))
