# SPDX-License-Identifier: GPL-2.0-or-later
"""Check that a capture that is split into files gives the same tables: `python -m tools.split_points CAPTURE_OR_FOLDER ...`.

Each capture is split at every frame. Many files are merged by time: so a capture whose clock stepped back is sorted first.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

import pybridge
from pybridge import verification


def tool(*command: str | Path) -> None:
    """Run one of Wireshark's command-line programs."""
    subprocess.run(command, check=True, capture_output=True)


def in_order(sources: Sequence[Path], whole: Path) -> Path:
    """Write one capture of all packets, sorted by time; return its path."""
    unsorted = whole.with_suffix(".unsorted")
    tool("mergecap", "-w", unsorted, *sources)
    tool("reordercap", unsorted, whole)
    return whole


def cut(whole: Path, folder: Path, frames: int) -> Path:
    """Split a capture into files of `frames` frames; return their folder."""
    folder.mkdir()
    tool("editcap", "-c", str(frames), whole, folder / "part.pcapng")
    return folder


def differences(whole: pybridge.Capture, parts: pybridge.Capture) -> list[str]:
    """Return the differences between the tables of one file and those of its parts."""
    found = []
    for name, added in (("segments", ["capture", "capture_frame"]), ("connections", ["capture"])):
        table = getattr(parts, name)
        if list(table.columns[: len(added)]) != added:
            found.append(f"{name} begins with {list(table.columns[: len(added)])}")
        try:
            pd.testing.assert_frame_equal(getattr(whole, name), table.drop(columns=added))
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def main() -> int:
    """Split each capture at every frame; return exit status 1 if one of them gives other tables then."""
    status = 0
    sources = [path for argument in sys.argv[1:] for path in verification.captures(argument)]
    for source in tqdm(sources, disable=not sys.stderr.isatty()):
        with tempfile.TemporaryDirectory() as scratch:
            whole = in_order([Path(source)], Path(scratch) / "whole.pcapng")
            parts = cut(whole, Path(scratch) / "parts", 1)
            if not any(parts.iterdir()):
                continue
            found = differences(pybridge.read(whole, progress=False), pybridge.read(parts, progress=False))
        for text in found:
            print(f"{source}: {text}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
