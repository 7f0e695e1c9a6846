# SPDX-License-Identifier: GPL-2.0-or-later
"""Wireshark's own `tcp.completeness` and `tcp.analysis.initial_rtt` agree with the tables, or the reason is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import pytest
from packaging.version import Version

import pybridge
from pybridge import engine, verification
from pybridge.wireshark.installation import tshark_version
from tools import wireshark_fields
from tools.goldens import build, listing
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

CAPTURES = wireshark_fields.captures([str(listing.PCAPS)])
CHUNKS = 8  # for as many workers
HEAD = """# What Wireshark says otherwise.
# rules: C15, H10
# source: own
client 10.0.0.1:50000
server 10.0.0.2:{port}
client2 10.0.0.1:50001
server2 10.0.0.2:1025
router 10.0.0.254
start 2024-01-01T00:00:00Z

"""
OPENING = "0.0 C SYN 100\n0.1 S SYN-ACK 300 101\n0.2 C ACK 101 301\n"
FTP = '0.0 S PSH 300 101 data="227\\u0020Passive\\u0020(10,0,0,2,4,1)\\r\\n"\n'
VNC = 'data="RFB\\u0020003.008\\n"\n'
DIFFERENT = {
    "only segment": (80, "0.0 C ACK 101 301\n", wireshark_fields.ONCE),
    "late SYN": (80, "0.0 S SYN-ACK 300 101\n0.1 C SYN 100\n0.2 C ACK 101 301\n", wireshark_fields.LATE_SYN),
    "payload on a repeated SYN": (80, "0.0 C SYN 100\n0.1 C SYN 100 +5\n", wireshark_fields.SYN_PAYLOAD),
    "payload on the SYN of a reused port": (80, "0.0 C SYN 100\n0.1 C SYN 900 +5 stream=1\n", wireshark_fields.SYN_PAYLOAD),
    "FTP data": (
        21,
        FTP + "0.1 C ACK 101 350\n0.1 C2 SYN 100\n0.2 S2 SYN-ACK 300 101\n0.3 C2 ACK 101 301\n",
        wireshark_fields.ANNOUNCED,
    ),
    "quoted data": (80, "0.0 C SYN 100\n0.1 C PSH 101 301 +5\n0.2 icmp R 3/1 quotes 2\n", wireshark_fields.NO_SEGMENT),
    "VNC": (6900, OPENING + f"0.3 S PSH 301 101 {VNC}0.4 C ACK 101 313\n", wireshark_fields.MOVED),
    "SYN again": (80, "0.0 C SYN 100\n1.0 C SYN 100\n1.1 S SYN-ACK 300 101\n1.2 C ACK 101 301\n", wireshark_fields.SYN_AGAIN),
    "SYN twice": (
        80,
        "0.0 C SYN 100 id=7\n" + OPENING.replace("0.0 C SYN 100", "0.01 C SYN 100 id=7"),
        wireshark_fields.SYN_TWICE,
    ),
    "quoted SYN": (80, OPENING.replace("0.1 S", "0.05 icmp R 3/1 quotes 1\n0.1 S"), wireshark_fields.QUOTED_SYN),
    "both SYN": (80, OPENING.replace("0.1 S", "0.05 S SYN 300\n0.1 S"), wireshark_fields.OTHER_SYN),
    "refusal": (80, "0.0 C SYN 100\n0.1 S RST,ACK 0 101\n", wireshark_fields.RESET),
    "server first": (80, OPENING.replace("0.2 C", "0.15 S PSH 301 101 +5\n0.2 C"), wireshark_fields.OTHER_END),
    "wrong number": (80, OPENING.replace("0.2 C", "0.15 C ACK 101 999999\n0.2 C"), wireshark_fields.MISMATCH),
    "no time between": (
        80,
        OPENING.replace("0.1", "0.0").replace("0.2", "0.0") + "0.3 C PSH 101 301 +5\n",
        wireshark_fields.SAME_TIME,
    ),
}
LIKE_US_SINCE_4_4 = {"only segment", "payload on the SYN of a reused port", "FTP data"}
CHANGES: list[tuple[str, Callable[[pd.Series], object]]] = [
    ("completeness", lambda column: column ^ 2),
    ("completeness", lambda column: column ^ 32),
    ("handshake_time", lambda _: pd.Timedelta(1, "us")),
]


def made(folder: Path, port: int, text: str) -> Path:
    lines = "".join(f"{line} ; none\n" for line in text.splitlines())
    path = folder / "made.pcapng"
    path.write_bytes(build.capture(listing.parse("made", HEAD.format(port=port) + lines)))
    return path


def read(path: Path, heard: pa.Table) -> pybridge.Capture:
    """Read a capture from fields that tshark has printed already: starting tshark again takes most of a test's time."""
    with patch.object(engine, "read_columns", lambda *_: iter(heard.to_batches())):
        return pybridge.read(path, progress=False)


def examine(path: Path) -> wireshark_fields.Verdict:
    heard = wireshark_fields.listen(path)
    return wireshark_fields.compare(path, heard, read(path, heard))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_wireshark_agrees_or_the_difference_has_a_reason(chunk: int) -> None:
    verdict = sum(map(examine, CAPTURES[chunk::CHUNKS]), wireshark_fields.Verdict())
    assert verdict.unexplained == []
    assert 2 * verdict.connections == verdict.counts.total() > 0


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_difference_has_its_own_reason(name: str, tmp_path: Path) -> None:
    port, text, reason = DIFFERENT[name]
    expected = set() if name in LIKE_US_SINCE_4_4 and tshark_version() >= Version("4.4") else {reason}
    path = made(tmp_path, port, text)
    verdict = (wireshark_fields.examine if reason == wireshark_fields.MOVED else examine)(path)
    assert verdict.unexplained == []
    assert {found for _, found in verdict.counts} - {wireshark_fields.EQUAL, wireshark_fields.NOT_GIVEN} == expected


@pytest.mark.parametrize("name", ["ipv6", "late-syn-midstream", "syn-retransmission", "refused"])
def test_a_wrong_table_is_reported_as_unexplained(name: str) -> None:
    path = find(f"{name}.pcapng")
    heard = wireshark_fields.listen(path)
    for column, change in CHANGES:
        capture = read(path, heard)
        capture.connections[column] = change(capture.connections[column])
        assert len(wireshark_fields.compare(path, heard, capture).unexplained) == 1


@pytest.mark.parametrize("name", ["ipv6", "syn-retransmission"])
def test_a_missing_handshake_time_is_reported_as_unexplained(name: str) -> None:
    path = find(f"{name}.pcapng")
    heard = wireshark_fields.listen(path)
    capture = read(path, heard)
    for table in (capture.connections, capture.segments):
        table["handshake_time"] = pd.Timedelta("NaT")
    assert len(wireshark_fields.compare(path, heard, capture).unexplained) == 1


@pytest.mark.parametrize("name", ["amsdu-one-connection", "icmp-then-syn-ack"])
def test_reading_from_printed_fields_gives_the_tables_of_read(name: str) -> None:
    path = find(f"{name}.pcapng")
    assert verification.compare(pybridge.read(path, progress=False), read(path, wireshark_fields.listen(path))).empty
