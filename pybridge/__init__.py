# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP handshakes and teardowns as pandas tables.

>>> import pybridge
>>> capture = pybridge.read("pcaps/refused.pcapng")
>>> capture
<Capture pcaps/refused.pcapng: 2 segments, 1 connections>
"""

from pybridge.capture import Capture, read
from pybridge.errors import CaptureError, CutShortWarning, OutputError, PluginError, PybridgeError, TSharkError
from pybridge.verification import verify
from pybridge.version import __version__

__all__ = [
    "Capture",
    "CaptureError",
    "CutShortWarning",
    "OutputError",
    "PluginError",
    "PybridgeError",
    "TSharkError",
    "__version__",
    "read",
    "verify",
]
