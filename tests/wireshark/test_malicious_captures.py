# SPDX-License-Identifier: GPL-2.0-or-later
"""Malicious captures cost a bounded amount of memory per connection, and change no rows but their own."""

from __future__ import annotations

import gc
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lupa import lua52, lua54
from scapy.layers.inet import TCP
from scapy.packet import Raw

import pybridge
from pybridge.engine import ENGINES, EngineName, PythonEngine
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Offer
from pybridge.tcp.vocabulary import ACK, FIN, SYN
from tests.conftest import Run
from tests.support.machines import PLUGIN
from tools.goldens import build, listing
from tools.goldens.capture_file import Device, Record, pcapng
from tools.goldens.layers import ethernet, ip_packet
from tools.goldens.listing import find

ETHERNET = [Device(1, 9)]
START = 1_704_067_200 * 10**9  # 2024
TEXT = "\x1b]0;gone\x07\x1b[31m<script>alert(1)</script>\"'&\u202e"
ABSURD = [
    bytes([2, 0, 5, 180]), bytes([2, 1, 5, 180]), bytes([2, 2]), bytes([2, 3, 5]), bytes([2, 255, 5, 180]),
    bytes([2, 5, 5, 180, 0]), bytes([2]), bytes([2, 4]), bytes([2, 4, 5]), bytes([1] * 37 + [2, 4, 5]), bytes([3, 3, 255]),
    bytes([3, 0, 7]), bytes([3, 2]), bytes([3, 4, 7, 7]), bytes([4, 0]), bytes([4, 3, 0]), bytes([4]), bytes([5, 255]),
    bytes([8, 10, 0, 0, 0, 1]), bytes([8, 2]), bytes([8, 11] + [0] * 9), bytes([34, 0]), bytes([34, 1]), bytes([34, 2]),
    bytes([34, 3, 1]), bytes([34, 5, 1, 2, 3]), bytes([34, 20, *range(18)]), bytes([34, 40, *range(38)]), bytes([34, 255]),
    bytes([34]), bytes([0, 2, 4, 5, 180]), bytes([2, 4, 5, 180] * 10), bytes([2, 4, 0, 0, 2, 4, 255, 255]),
    bytes([3, 3, 1, 3, 3, 2]), bytes([4, 2] * 20), bytes([8, 10] * 20), bytes([34, 2, 34, 4, 1, 2]),
    bytes([34, 4, 1, 2, 34, 2]), bytes([34, 4, 1, 2, 34, 4, 3, 4]), bytes([253, 4, 0xF9, 0x89]), bytes([254, 255]),
    bytes([254, 6, 0xF9, 0x89, 1, 2]), bytes([255, 0]), bytes([255] * 40), bytes([0] * 40), bytes([1] * 40),
]  # fmt: skip


def tcp_frame(
    source: tuple[str, int],
    destination: tuple[str, int],
    flags: int,
    *,
    options: bytes = b"",
    payload: bytes = b"",
    data_offset: int | None = None,
) -> bytes:
    """Return a frame whose TCP header claims any length."""
    options += bytes(-len(options) % 4)
    offset = 5 + len(options) // 4 if data_offset is None else data_offset
    header = TCP(sport=source[1], dport=destination[1], seq=100, ack=300, flags=flags, dataofs=offset)
    return ethernet(bytes(ip_packet(source[0], destination[0], header / Raw(options + payload))))


def capture(path: Path, frames: list[bytes]) -> Path:
    records = (Record(0, START + number * 1000, frame, len(frame)) for number, frame in enumerate(frames))
    path.write_bytes(pcapng(ETHERNET, records, "<"))
    return path


def flood(count: int, target: tuple[str, int], first: int = 0) -> list[bytes]:
    """Return a SYN from each of `count` addresses."""
    frame = bytearray(tcp_frame(("66.0.0.0", 1024), target, SYN, options=bytes([2, 4, 5, 180])))
    place = frame.index(bytes([66, 0, 0, 0]), 14)
    frames = []
    for number in range(first, first + count):
        struct.pack_into("!I", frame, place, 66 << 24 | number)
        frames.append(bytes(frame))
    return frames


# --------------------------------------------------------------------------------------------------------- Options


@pytest.mark.tshark
def test_both_engines_say_the_same_of_absurd_options(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - the same again
    options = ABSURD + [
        bytes(chance.choices([0, 1, 2, 2, 3, 3, 4, 5, 8, 10, 34, 255], k=chance.randrange(1, 41))) for _ in range(500)
    ]
    frames = []
    for number, content in enumerate(options):
        client, server = (f"10.1.{number >> 8}.{number & 255}", 50000), ("10.0.0.2", 80)
        frames += [tcp_frame(client, server, SYN, options=content), tcp_frame(server, client, SYN | ACK, options=content)]
    path = capture(tmp_path / "options.pcapng", frames)
    assert pybridge.verify(path, progress=False).to_dict(orient="records") == []


@pytest.mark.tshark
def test_both_engines_say_the_same_of_headers_that_claim_another_length(tmp_path: Path) -> None:
    frames = []
    for number in range(16 * 3):
        client, server = (f"10.2.0.{number}", 50000), ("10.0.0.2", 80)
        for flags in (SYN, ACK, FIN | ACK):
            content = [b"", bytes([2, 4, 5, 180]), bytes(40)][number // 16]
            frames.append(tcp_frame(client, server, flags, options=content, data_offset=number % 16))
    path = capture(tmp_path / "lengths.pcapng", frames)
    assert pybridge.verify(path, progress=False).to_dict(orient="records") == []


# ----------------------------------------------------------------------------------------------------------- Names


def blocks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of each block of a pcapng file."""
    place = 0
    while place < len(content):
        kind, length = struct.unpack_from("<II", content, place)
        yield kind, content[place + 8 : place + length - 4]
        place += length


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def option(code: int, text: str) -> bytes:
    content = text.encode()
    return struct.pack("<HH", code, len(content)) + content + bytes(-len(content) % 4)


def with_names(content: bytes, addresses: list[str]) -> bytes:
    """Add hostile text to a capture wherever pcapng has room: comments, programs, interfaces, hosts."""
    end = bytes(4)
    found = b""
    for kind, body in blocks(content):
        if kind == 0x0A0D0D0A:  # of the section: comment, hardware, operating system, application
            found += block(kind, body + b"".join(option(code, TEXT) for code in (1, 2, 3, 4)) + end)
        elif kind == 1:  # of the interface: comment, name, description, filter, operating system
            assert body.endswith(end)
            found += block(kind, body[:-4] + b"".join(option(code, TEXT) for code in (1, 2, 3, 12)) + end)
            records = b""
            for address in addresses:
                record = bytes(map(int, address.split("."))) + TEXT.encode() + b"\0"
                records += struct.pack("<HH", 1, len(record)) + record + bytes(-len(record) % 4)
            found += block(4, records + end)
        else:
            found += block(kind, body + bytes(-len(body) % 4) + option(1, TEXT) + end)
    return found


@pytest.fixture
def named(tmp_path: Path) -> Path:
    path = tmp_path / "named.pcapng"
    path.write_bytes(with_names((find("article-wget.pcapng")).read_bytes(), ["192.168.101.25", "192.168.101.5"]))
    return path


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
def test_names_and_comments_in_a_capture_change_no_table(named: Path, engine: EngineName) -> None:
    found, usual = pybridge.read(named, engine, progress=False), pybridge.read(find("article-wget.pcapng"), progress=False)
    pd.testing.assert_frame_equal(found.segments, usual.segments)
    pd.testing.assert_frame_equal(found.connections, usual.connections)


@pytest.mark.tshark
def test_names_and_comments_in_a_capture_reach_no_terminal_and_no_page(run: Run, tmp_path: Path, named: Path) -> None:
    shown = [run(command, named) for command in ("segments", "report")]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in [page, *(done.stdout + done.stderr for done in shown)]:
        assert [part for part in ("\x1b", "\x07", "\u202e", "<script>alert", "gone") if part in text] == []


# ------------------------------------------------------------------------------------------------- Other connections


def hostile(place: int, target: tuple[str, int]) -> list[bytes]:
    """Return the frames to insert before a frame of the golden: from other ends to the golden's own server."""
    web, files = ("66.200.0.1", 50000 + place), ("66.200.0.2", 21)
    words = f"GET /{TEXT} HTTP/1.1\r\nHost: {TEXT}\r\n\r\n".encode()
    frames = [tcp_frame(("66.100.0.1", 1 + place), target, flags, options=chosen) for flags in (SYN, SYN | ACK, FIN | ACK)
              for chosen in ABSURD[place % len(ABSURD) :: 9]]  # fmt: skip
    frames.append(tcp_frame(web, target, ACK, payload=words))
    if target[0].count(".") == 3:  # FTP announces the golden's server as the end of a data connection
        port = ",".join([*target[0].split("."), str(target[1] >> 8), str(target[1] & 255)])
        frames.append(tcp_frame(web, files, ACK, payload=f"PORT {port}\r\n".encode()))
        frames.append(tcp_frame(files, web, ACK, payload=f"227 Entering Passive Mode ({port})\r\n".encode()))
    return frames + flood(250, target, first=250 * place)


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["article-wget", "icmp-eight-bytes", "port-reuse", "simultaneous-open-one-syn-ack"])
def test_a_golden_among_hostile_traffic_keeps_its_rows(tmp_path: Path, name: str, engine: EngineName) -> None:
    golden = listing.load(find(f"{name}.listing"))
    server = golden.segments[0].destination
    records, frames = [], {}
    for place, record in enumerate(build.records(golden)):
        records += [Record(0, START, frame, len(frame)) for frame in hostile(place, (server.address, server.port))] + [record]
        frames[len(records)] = place + 1
    path = tmp_path / "among.pcapng"
    path.write_bytes(pcapng(ETHERNET, records, "<"))
    chosen = PythonEngine(live_objects=100) if engine == "python" else engine  # packs the golden's connection meanwhile
    among, alone = pybridge.read(path, chosen, progress=False), pybridge.read(golden.path, progress=False)
    segments = among.segments[among.segments["frame"].isin(list(frames))]
    connections = among.connections.loc[sorted(set(segments["stream"]))]
    streams = {stream: number for number, stream in enumerate(connections.index)}
    assert len(among.segments) > 250 * len(frames)
    expected_segments, expected_connections = alone.segments, alone.connections
    pd.testing.assert_frame_equal(
        segments.assign(
            frame=segments["frame"].map(frames),
            stream=segments["stream"].map(streams),
            responds_to=segments["responds_to"].map(frames).astype("Int64"),
        ).reset_index(drop=True),
        expected_segments,
    )
    evidence = (
        connections["evidence"]
        .map(lambda texts: "+".join(str(frames[int(text)]) for text in texts.split("+")), "ignore")
        .astype("str")
    )
    found = connections.assign(evidence=evidence).rename(index=streams)
    pd.testing.assert_frame_equal(found, expected_connections)


# ------------------------------------------------------------------------------------------------------------- Memory

CONNECTIONS = 20_000
BYTES_OF_ANNOTATOR, BYTES_OF_PLUGIN = 1_500, 8_000  # per connection; measured: 760, and 5,070 in Lua 5.2


def syn(number: int) -> tuple[Any, ...]:
    source = f"66.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return source, 50000, "10.0.0.2", 80, SYN, number, 0, 0


def test_a_flood_costs_the_annotator_a_bounded_amount_per_connection() -> None:
    annotator = Annotator()
    gc.collect()
    tracemalloc.start()
    for number in range(CONNECTIONS):
        annotator.segment(number + 1, START, number, *syn(number), Offer(1460, 7, True, True), number & 0xFFFF)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / CONNECTIONS < BYTES_OF_ANNOTATOR
    assert len(annotator.connections) == CONNECTIONS


@pytest.mark.parametrize("lua", [lua52, lua54], ids=["Lua 5.2", "Lua 5.4"])
def test_a_flood_costs_the_plugin_a_bounded_amount_per_connection(lua: Any) -> None:
    runtime = lua.LuaRuntime()
    tracker = runtime.execute(PLUGIN.read_text(encoding="utf-8")).new()
    offer = runtime.table_from(Offer(1460, 7, True, True)._asdict())
    size = runtime.eval("function() collectgarbage() return (collectgarbage('count')) end")
    before = size()
    for number in range(CONNECTIONS):
        tracker.segment(tracker, number, number + 1, START, *syn(number), offer, number & 0xFFFF)
    assert (size() - before) * 1024 / CONNECTIONS < BYTES_OF_PLUGIN


def test_a_long_connection_costs_the_annotator_no_more_than_a_short_one() -> None:
    annotator = Annotator()
    chance = random.Random(1)  # noqa: S311 - the same again
    ends = [("10.0.0.1", 50000, "10.0.0.2", 80), ("10.0.0.2", 80, "10.0.0.1", 50000)]

    def more(count: int) -> int:
        for _ in range(count):
            numbers = chance.randrange(1 << 32), chance.randrange(1 << 32)
            annotator.segment(1, START, 0, *chance.choice(ends), chance.randrange(32), *numbers, chance.choice([0, 5]), None, 7)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    short, long = more(1_000), more(5_000)
    tracemalloc.stop()
    assert long - short < 10_000


@pytest.mark.parametrize("takes", ["segment", "take"], ids=["looked at", "not looked at"])
def test_invalid_segments_and_plain_data_cost_the_plugin_no_memory(takes: str) -> None:
    runtime = lua54.LuaRuntime()
    tracker = runtime.execute(PLUGIN.read_text(encoding="utf-8")).new()
    size = runtime.eval("function() collectgarbage() return (collectgarbage('count')) end")
    ends = "10.0.0.1", 50000, "10.0.0.2", 80

    def more(count: int) -> float:
        for number in range(count):
            flags = (0, ACK)[number & 1]  # invalid, and data
            tracker[takes](tracker, 0, number, START, *ends, flags, number, 0, 5, None, None)
        return float(size())

    short, long = more(1_000), more(20_000)
    assert (long - short) * 1024 < 10_000
