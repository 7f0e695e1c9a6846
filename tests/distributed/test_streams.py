# SPDX-License-Identifier: GPL-2.0-or-later
"""Across files, a connection begins where Wireshark would begin a stream in one file (G4)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from packaging.version import Version

from pybridge.distributed import rows
from pybridge.distributed.streams import Conversation, StreamNumbering
from pybridge.tcp.model import Segment
from pybridge.tcp.vocabulary import ACK, FIN, RST, SYN
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.fields import FIELDS
from pybridge.wireshark.installation import tshark_version
from tests.support.conversations import Conversation as RandomConversation
from tests.support.conversations import conversations, golden_of
from tools.goldens import build, listing


def assert_wireshark_agrees(path: Path) -> None:
    """Number the streams as if every segment were in a file of its own, and compare with Wireshark.

    Flows are left out in which a header quoted by an ICMP error begins a stream: rows do not keep the rest of that header.
    """
    file = rows.FileRows(0)
    table = pa.Table.from_batches(
        file.rows(batch) for batch in read_columns(CaptureSource(str(path), str(path)), FIELDS, every_packet=True)
    )
    numbering = StreamNumbering(set(table["flow"].to_pylist()), tshark_version())
    found = [row for block in rows.in_order(table) for row in block]
    begun = {row.event.stream: row for row in reversed(found)}.values()
    unknown = {row.flow for row in begun if not isinstance(row.event, Segment) and row.event.stream is not None}
    kept = [row for row in found if isinstance(row.event, Segment) and row.flow not in unknown]
    assert len(kept) > len(found) / 2
    pairs = {(row.event.stream, numbering.stream_of(row, number)) for number, row in enumerate(kept)}
    assert len(pairs) == len({stream for stream, _ in pairs}) == len({connection for _, connection in pairs})


@pytest.mark.tshark
def test_all_goldens_in_one_capture_are_numbered_as_wireshark_does(tmp_path: Path) -> None:
    goldens = [str(path) for path in (*listing.GOLDEN.glob("*/*.pcapng"), *listing.REAL.glob("*.pcapng"))]
    subprocess.run(["mergecap", "-a", "-w", tmp_path / "all.pcapng", *goldens], check=True)
    assert_wireshark_agrees(tmp_path / "all.pcapng")


@pytest.mark.tshark
def test_random_conversations_are_numbered_as_wireshark_does(tmp_path: Path) -> None:
    many: list[RandomConversation] = []

    @settings(max_examples=200, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(conversations)
    def make(conversation: RandomConversation) -> None:
        many.append(conversation)

    make()
    (tmp_path / "many.pcapng").write_bytes(build.capture(golden_of(many)))
    assert_wireshark_agrees(tmp_path / "many.pcapng")


def segment(port: int, flags: int, seq: int, ack: int = 0) -> Segment:
    return Segment(1, 0, 0, f"10.0.0.{port}", port, f"10.0.0.{3 - port}", 3 - port, flags, seq, ack, 0)


@pytest.mark.parametrize(
    ("events", "usual", "later"),
    [
        ([segment(1, SYN, 100), segment(1, SYN, 100)], [True, False], [True, False]),
        ([segment(1, SYN, 100), segment(1, SYN, 101)], [True, True], [True, True]),
        ([segment(1, SYN, 100), segment(2, RST | ACK, 0, 101), segment(1, SYN, 100)], [True, False, False], [True, False, True]),
        ([segment(1, ACK, 101, 301), segment(2, SYN | ACK, 300, 101)], [True, False], [True, False]),
        ([segment(2, SYN | ACK, 300, 101), segment(2, SYN | ACK, 400, 101)], [True, False], [True, True]),
        ([segment(1, FIN | ACK, 101, 301), segment(2, SYN | ACK, 300, 101)], [True, False], [True, True]),
        ([segment(1, ACK, 0, 0), segment(1, SYN, 2**32 - 1)], [True, False], [True, False]),
        ([segment(1, RST, 5), segment(2, SYN, 100), segment(2, SYN, 100)], [True, False, False], [True, False, False]),
    ],
    ids=[
        "a SYN again", "another SYN", "a SYN again after an RST", "a SYN-ACK after what followed it", "another SYN-ACK",
        "a SYN-ACK after a FIN", "numbers wrap", "a SYN after an RST without ACK",
    ],
)  # fmt: skip
def test_streams_begin_as_in_the_given_version_of_wireshark(events: list[Segment], usual: list[bool], later: list[bool]) -> None:
    for version, expected in (("4.0.17", usual), ("4.4.0", later)):
        conversation = Conversation(Version(version))
        assert [conversation.begins(event) for event in events] == expected
