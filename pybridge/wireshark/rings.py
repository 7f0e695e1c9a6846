# SPDX-License-Identifier: GPL-2.0-or-later
"""Tell the files of one capture, such as the ring of `dumpcap -b`, from unrelated captures: by their names and their times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pybridge.wireshark.capture_source import MergedFile

SECOND = 1_000_000_000
OVERLAP = SECOND
"""Nanoseconds by which one file may begin before the one before it ends: interfaces hand over packets late."""

SILENCE = 60 * SECOND
"""Nanoseconds that a network may be silent between two files, however short these are."""


def unrelated(files: Sequence[MergedFile]) -> str:
    """Return why these files are not one capture, as the rest of a sentence; empty if they are.

    One capture is one file, or files with names that differ in numbers only (`ring_00001_20240101120000.pcapng`; tcpdump's
    `x.pcap`, `x.pcap1`), each of which begins where the one before it ends. Files without packets say nothing.
    """
    timed = sorted((file for file in files if file.frames), key=lambda file: (file.first, file.last))
    if len(timed) < 2:
        return ""
    if len({_pattern(file.name) for file in timed}) > 1:
        return "their names differ in more than numbers"
    silence = max(SILENCE, *(file.last - file.first for file in timed))
    for before, after in pairwise(timed):
        shorter = min(before.last - before.first, after.last - after.first)
        if before.last - after.first > min(OVERLAP, shorter // 2):
            return f"{Path(after.name).name} begins before {Path(before.name).name} ends"
        if after.first - before.last > silence:
            return f"{Path(after.name).name} begins long after {Path(before.name).name} ends"
    return ""


def _pattern(name: str) -> str:
    """Return a file's name with every number replaced; a number at the end, which tcpdump adds, is left out."""
    base = re.sub(r"(\.(?:gz|zst|lz4))$", "", Path(name).name)
    return re.sub(r"\d+", "#", re.sub(r"(?<=[a-z])\d+$", "", base))
