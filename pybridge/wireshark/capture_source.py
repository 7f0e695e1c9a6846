# SPDX-License-Identifier: GPL-2.0-or-later
"""The source of a capture: its kind, and the one record that every reader takes."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from pybridge.errors import CaptureError

STANDARD_INPUT = "-"
NON_CAPTURE_ENCAPSULATIONS = {"134": "mime", "175": "json", "202": "rfc7468", "209": "mp4"}
"""Encapsulations of files that Wireshark opens though they are no captures (pictures, JSON, PEM, MP4).

The keys are the numbers that tshark prints, the values the names that capinfos prints.
"""


class SourceKind(Enum):
    """The kinds of source that a name can stand for."""

    STANDARD_INPUT = "standard input"
    FILE = "file"
    PIPE = "named pipe"
    FOLDER = "folder"
    PATTERN = "pattern"
    ABSENT = "nothing on this disk"


class MergedFile(NamedTuple):
    """One of the files that make one capture.

    Attributes
    ----------
    name : str
        Its path as the user would write it.
    path : str
        The file to read: the same, or a copy of its whole packets if the file was cut short.
    frames : int
        Number of packets.
    first, last : int
        Earliest and latest time, nanoseconds since the epoch; 0 where packets have no time.
    """

    name: str
    path: str
    frames: int
    first: int
    last: int


@dataclass(frozen=True)
class CaptureSource:
    """A capture that tshark can read, once or more often.

    Attributes
    ----------
    label : str
        What the user calls it, for messages.
    path : str or None
        The file to read; None if the capture comes through a pipe.
    command : tuple of str
        The program, with its arguments, that writes the capture into tshark's pipe; empty if this process writes it.
    files : tuple of MergedFile
        The files that `command` merges, by name, without those that hold no packets; empty for a single file.
    """

    label: str
    path: str | None = None
    command: tuple[str, ...] = ()
    files: tuple[MergedFile, ...] = ()

    @property
    def is_many(self) -> bool:
        """Whether the capture is made of many files."""
        return bool(self.command)

    def check(self) -> None:
        """Check the file, if there is one; see `check_file`."""
        if self.path is not None:
            check_file(self.path, self.label)


def kind_of(source: str) -> SourceKind:
    """Decide what the name of a source stands for; nothing else in the package does."""
    if source == STANDARD_INPUT:
        return SourceKind.STANDARD_INPUT
    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError):
        is_pattern = re.search(r"[*?]|\[.+\]", source) is not None and not os.path.lexists(source)
        return SourceKind.PATTERN if is_pattern else SourceKind.ABSENT
    if stat.S_ISDIR(mode):
        return SourceKind.FOLDER
    return SourceKind.PIPE if stat.S_ISFIFO(mode) else SourceKind.FILE


def is_many(source: str) -> bool:
    """Whether the source is one capture made of many files: a folder, or a pattern."""
    return kind_of(source) in (SourceKind.FOLDER, SourceKind.PATTERN)


def label_of(source: str) -> str:
    """Return what to call a source in messages."""
    return SourceKind.STANDARD_INPUT.value if source == STANDARD_INPUT else source


def check_file(path: str, label: str | None = None) -> None:
    """Check a path before tshark does, to name the exact problem.

    Raises
    ------
    CaptureError
        The path is missing, a folder, no regular file, empty, or may not be read.
    """
    label = path if label is None else label
    if not path:
        raise CaptureError("The file's name is empty: name a capture file.")
    file = Path(path)
    try:
        if file.is_dir():
            raise CaptureError(f"{label} is a folder: name a capture file in it.")
        if not file.exists():
            raise CaptureError(f"{label} does not exist: check the file's name.")
        if not file.is_file():
            raise CaptureError(f"{label} is not a regular file: name a capture file.")
        with file.open("rb") as opened:
            empty = not opened.read(1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CaptureError(f"{label} cannot be read ({reason}): check its name and permissions.") from None
    if empty:
        raise CaptureError(f"{label} is empty: not a capture.")


def check_standard_input() -> None:
    """Raise `CaptureError` if standard input is a terminal, so that no capture will come."""
    if os.isatty(0):
        raise CaptureError("Nothing comes from standard input: pipe a capture into it, or name a file.")
