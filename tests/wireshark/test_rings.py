# SPDX-License-Identifier: GPL-2.0-or-later
"""Which files are one capture, by their names and times."""

from __future__ import annotations

import pytest

from pybridge.wireshark.capture_source import MergedFile
from pybridge.wireshark.rings import SECOND, unrelated


def files(*rows: tuple[str, float, float]) -> list[MergedFile]:
    return [MergedFile(name, name, 10, int(first * SECOND), int(last * SECOND)) for name, first, last in rows]


@pytest.mark.parametrize("names", [
    ["r_00001_20240101120000.pcapng", "r_00002_20240101120010.pcapng", "r_00003_20240101120020.pcapng"],
    ["x.pcap", "x.pcap1", "x.pcap2"],
    ["t-2024-01-01.pcap.gz", "t-2024-01-02.pcap.gz", "t-2024-01-03.pcap.gz"],
])  # fmt: skip
def test_files_of_a_ring_are_one_capture(names: list[str]) -> None:
    made = files((names[0], 0, 10), (names[1], 10.1, 20), (names[2], 19.5, 30))
    assert unrelated(made) == ""
    assert unrelated(made[::-1]) == "", "also where the ring has wrapped around"


def test_files_without_packets_and_single_files_say_nothing() -> None:
    assert unrelated([]) == unrelated(files(("a", 0, 1))) == ""
    assert unrelated([*files(("a", 0, 1)), MergedFile("z", "z", 0, 0, 0)]) == ""


@pytest.mark.parametrize(("made", "reason"), [
    (files(("a.pcap", 0, 10), ("b.pcap", 10, 20)), "their names differ in more than numbers"),
    (files(("x1.pcap", 0, 10), ("x2.pcap", 5, 20)), "x2.pcap begins before x1.pcap ends"),
    (files(("x1.pcap", 0, 0.2), ("x2.pcap", 0, 0.3)), "x2.pcap begins before x1.pcap ends"),
    (files(("x1.pcap", 0, 10), ("x2.pcap", 7200, 7210)), "x2.pcap begins long after x1.pcap ends"),
])  # fmt: skip
def test_unrelated_captures_are_many_and_the_reason_is_said(made: list[MergedFile], reason: str) -> None:
    assert unrelated(made) == reason


def test_a_ring_with_long_files_may_be_silent_for_long() -> None:
    assert unrelated(files(("x1.pcap", 0, 7200), ("x2.pcap", 9000, 16000))) == ""
