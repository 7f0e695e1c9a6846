# SPDX-License-Identifier: GPL-2.0-or-later
"""All errors and warnings of the package. The text of each is one sentence that says what to do.

PybridgeError
├── CaptureError         the capture cannot be read: missing, a folder, empty, no permission, not a capture
├── TSharkError          tshark is missing, too old, or failed
├── FilterError          Wireshark does not understand a display filter
├── ColumnError          a table has no such column
├── PluginError          the Lua plugin was not loaded, is not the one that came with the package, or failed
└── OutputError          a result cannot be written

CutShortWarning          the capture ends in the middle of a packet; all whole packets were annotated
LeftOutWarning           one of many files could not be read; all others were annotated
NotCaptureWarning        some files of a folder are no captures; all others were annotated
SameFileWarning          one of many files is a copy of another; it was read once
UnrelatedFilesWarning    files that do not look like those of one capture were read as one
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


class PybridgeError(Exception):
    """Base of all errors that the package raises on purpose."""


class CaptureError(PybridgeError):
    """The capture cannot be read."""


class TSharkError(PybridgeError):
    """tshark is missing, too old, or failed."""


class FilterError(PybridgeError):
    """Wireshark does not understand a display filter."""


class ColumnError(PybridgeError):
    """A table has no such column."""


class PluginError(PybridgeError):
    """The Lua plugin was not loaded, is not the one that came with the package, or failed."""


class OutputError(PybridgeError):
    """A result cannot be written."""


class CutShortWarning(UserWarning):
    """The capture ends in the middle of a packet; everything before that was annotated."""


class LeftOutWarning(UserWarning):
    """One of the files of a capture could not be read; all others were annotated."""


class NotCaptureWarning(UserWarning):
    """Some of the files of a folder, or of those that a pattern matches, are no captures; all others were annotated."""


class SameFileWarning(UserWarning):
    """One of the files of a capture is a copy of another, byte for byte; it was read once."""


class UnrelatedFilesWarning(UserWarning):
    """The files of a folder or pattern were read as one capture, though their names or times say that they are several."""


def warn(text: str, category: type[UserWarning]) -> None:
    """Warn, and name the line that called the package, however deep in the package the cause was found."""
    level, outermost = 1, 1
    frame = sys._getframe()
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "pybridge":
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=outermost + 1)


@contextmanager
def warning_once(captures: int) -> Iterator[None]:
    """Hold warnings back until many captures are read; then warn once of all that end early, and of everything else."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        cut = [warning for warning in caught if issubclass(warning.category, CutShortWarning)]
        if len(cut) > 1:
            text = f"{len(cut)} of {captures} captures were annotated only in part. The first: {cut[0].message}"
            caught = [warning for warning in caught if warning not in cut]
            warn(text, CutShortWarning)
        for warning in caught:
            warn(str(warning.message), cast("type[UserWarning]", warning.category))
