# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that the bridge reports as a failure, each as one sentence that says what to do.

PybridgeError
├── CaptureError         the capture cannot be read: missing, a folder, empty, no permission, not a capture
├── TSharkError          tshark is missing, too old, or failed
├── FilterError          a display filter that Wireshark does not understand
├── PluginError          the Lua plugin was not loaded, is not the bridge's own, or failed
└── OutputError          a result cannot be written

CutShortWarning          the capture ends in the middle of a packet; all whole packets were annotated
LeftOutWarning           one of many files could not be read; all others were
SameFileWarning          one of many files holds the same as another; it was read once
"""

from __future__ import annotations

import sys
import warnings


class PybridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""


class CaptureError(PybridgeError):
    """The capture cannot be read."""


class TSharkError(PybridgeError):
    """tshark is missing, too old, or failed."""


class FilterError(PybridgeError):
    """A display filter that Wireshark does not understand."""


class PluginError(PybridgeError):
    """The Lua plugin was not loaded, is not the one that came with the bridge, or failed."""


class OutputError(PybridgeError):
    """A result cannot be written."""


class CutShortWarning(UserWarning):
    """The capture ends in the middle of a packet; everything before that was annotated."""


class LeftOutWarning(UserWarning):
    """One of the files of a capture could not be read; all others were annotated."""


class SameFileWarning(UserWarning):
    """One of the files of a capture holds the same as another, byte for byte; it was read once."""


def warn(text: str, category: type[UserWarning]) -> None:
    """Warn the caller of the package, however deep inside the package the reason was found."""
    level, outermost = 1, 1
    frame = sys._getframe()
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "pybridge":
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=outermost + 1)
