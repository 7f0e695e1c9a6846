# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures cut into files, which have to give what the whole gives: `python -m tools.split_points CAPTURE_OR_FOLDER ...` at every frame.

The whole is in the order of time here, as many files are: a capture whose clock stepped back is put in order first.
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
    """Run one of Wireshark's small programs."""
    subprocess.run(command, check=True, capture_output=True)


def in_order(sources: Sequence[Path], whole: Path) -> Path:
    """One capture of all packets, by time."""
    unsorted = whole.with_suffix(".unsorted")
    tool("mergecap", "-w", unsorted, *sources)
    tool("reordercap", unsorted, whole)
    return whole


def cut(whole: Path, folder: Path, frames: int) -> Path:
    """A folder of files with so many frames each."""
    folder.mkdir()
    tool("editcap", "-c", str(frames), whole, folder / "part.pcapng")
    return folder


def differences(whole: pybridge.Capture, parts: pybridge.Capture) -> list[str]:
    """In which tables, and how, many files differ from one."""
    found = []
    for name, more in (("segments", ["capture", "capture_frame"]), ("connections", ["capture"])):
        table = getattr(parts, name)
        if list(table.columns[: len(more)]) != more:
            found.append(f"{name} begins with {list(table.columns[: len(more)])}")
        try:
            pd.testing.assert_frame_equal(getattr(whole, name), table.drop(columns=more))
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def main() -> int:
    """Cut each capture at every frame; exit status 1 if one gives something else then."""
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
