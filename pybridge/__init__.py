# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP handshakes and teardowns as pandas tables.

>>> import pybridge
>>> capture = pybridge.read("pcaps/refused.pcapng")
>>> capture
<Capture pcaps/refused.pcapng: 2 segments, 1 connections>
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pybridge.errors import (
    CaptureError,
    CutShortWarning,
    FilterError,
    LeftOutWarning,
    OutputError,
    PluginError,
    PybridgeError,
    SameFileWarning,
    TSharkError,
)
from pybridge.version import __version__

if TYPE_CHECKING:
    from pybridge import live
    from pybridge.capture import Capture, read, read_all
    from pybridge.verification import verify

__all__ = [
    "Capture",
    "CaptureError",
    "CutShortWarning",
    "FilterError",
    "LeftOutWarning",
    "OutputError",
    "PluginError",
    "PybridgeError",
    "SameFileWarning",
    "TSharkError",
    "__version__",
    "live",
    "read",
    "read_all",
    "verify",
]


def __getattr__(name: str) -> Any:
    """What needs pandas, when it is asked for: the command line starts without it."""
    if name in ("Capture", "read", "read_all"):
        from pybridge import capture

        return getattr(capture, name)
    if name == "live":
        return import_module("pybridge.live")
    if name == "verify":
        from pybridge import verification

        return verification.verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
