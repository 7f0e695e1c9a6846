# SPDX-License-Identifier: GPL-2.0-or-later
"""A stream can be cut between any two packets, and each piece is a capture."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybridge.wireshark.framing import LARGEST, Framing
from tools.goldens.listing import find
from tools.split_points import tool

FRAMES = [bytes([number]) * (14 + number) for number in range(5)]


def pcap(order: str, magic: int) -> tuple[bytes, list[bytes]]:
    """Return the header of a file and its packets."""
    packets = [struct.pack(f"{order}4I", 1, 2, len(frame), 1500) + frame for frame in FRAMES]
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1), packets


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def pcapng(order: str) -> tuple[bytes, list[bytes]]:
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = block(order, 1, struct.pack(f"{order}HHI", 1, 0, 0))
    packets = [block(order, 6, struct.pack(f"{order}5I", 0, 0, 9, len(frame), 1500) + frame) for frame in FRAMES]
    return section + interface, packets


STREAMS = {
    f"{name} {order}": stream
    for order in "<>"
    for name, stream in (
        ("microseconds", pcap(order, 0xA1B2C3D4)),
        ("nanoseconds", pcap(order, 0xA1B23C4D)),
        ("pcapng", pcapng(order)),
    )
}


def pieces(stream: bytes, sizes: list[int], most: int) -> list[bytes]:
    """Return the bytes that each of several readers is given when the stream arrives in portions of these sizes."""
    framing = Framing()
    found, packets = [b""], 0
    while stream:
        portion, stream = stream[: sizes[0]], stream[sizes[0] :]
        sizes = [*sizes[1:], sizes[0]]
        framing.add(portion)
        taken = b"begin"
        while taken:
            taken, count = framing.take(most - packets)
            found[-1] += taken
            packets += count
            if packets == most:
                found.append(framing.header)
                packets = 0
    found[-1] += framing.rest()
    return found


@pytest.mark.parametrize("name", STREAMS)
@given(sizes=st.lists(st.integers(1, 90), min_size=1, max_size=5), most=st.integers(1, 6))
def test_every_piece_begins_with_the_header_and_holds_whole_packets(name: str, sizes: list[int], most: int) -> None:
    header, packets = STREAMS[name]
    expected = [header + b"".join(packets[start : start + most]) for start in range(0, len(packets), most)]
    if len(packets) % most == 0:
        expected.append(header)
    assert pieces(header + b"".join(packets), sizes, most) == expected


def test_an_interface_that_comes_later_is_known_to_the_next_reader() -> None:
    header, packets = pcapng("<")
    late = block("<", 1, struct.pack("<HHI", 113, 0, 0))
    found = pieces(header + packets[0] + late + packets[1], [1000], 1)
    assert found == [header + packets[0], header + late + packets[1], header + late]


def test_a_new_section_replaces_the_header() -> None:
    (first, packets), (second, others) = pcapng("<"), pcapng(">")
    assert pieces(first + packets[0] + second + others[0], [1000], 1) == [first + packets[0], first + second + others[0], second]


@pytest.mark.parametrize(
    "stream", [b"\x1f\x8b" + bytes(100), b"no capture at all", pcap("<", 0xA1B2C3D4)[0] + struct.pack("<4I", 0, 0, LARGEST, 0)]
)
def test_a_stream_without_packets_is_passed_on_unchanged(stream: bytes) -> None:
    assert pieces(stream, [40], 1) == [stream]


def test_a_stream_that_is_cut_short_keeps_its_last_bytes() -> None:
    header, packets = pcapng("<")
    assert pieces(header + packets[0][:-3], [10], 5) == [header + packets[0][:-3]]


@pytest.mark.tshark
def test_a_capture_of_wiresharks_is_cut_at_its_packets(tmp_path: Path) -> None:
    for form in ("pcap", "nsecpcap", "pcapng"):
        tool("editcap", "-F", form, find("article-wget.pcapng"), tmp_path / "capture")
        found = pieces((tmp_path / "capture").read_bytes(), [100], 3)
        assert len(found) > 3
        for piece in found:
            (tmp_path / "piece").write_bytes(piece)
            tool("capinfos", tmp_path / "piece")
