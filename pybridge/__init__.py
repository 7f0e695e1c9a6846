# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP handshakes and teardowns of captures, as pandas tables.

A short tour, with a capture that comes with the package:

>>> import pybridge
>>> capture = pybridge.read(pybridge.examples.capture("refused"))
>>> capture.connections["establishment"].tolist()
['refused']
>>> capture.segments["role"].tolist()
['SYN', 'RST']

`read` annotates one capture: a file, a folder, or a pattern of files. The `Capture` that it returns has both tables, and answers
further questions by `failed`, `anomalies`, `slowest`, `by_server`, `filter`, `follow` and `packet`, and draws by `plot`, `ladder`
and `report`. `read_all` annotates several captures, each
for itself. `verify` annotates a capture with both engines, and returns the differences.

`live` follows an interface and yields events as they happen. `testing` has helpers for your own test suite. `examples` has small
captures, a notebook and a generator of traffic. `pybridge.distributed` annotates captures on a Dask cluster; import it by that
name. The command `pybridge --help` lists what the command line does.

All errors are kinds of `PybridgeError`; all warnings are kinds of `UserWarning`. `pybridge.errors` lists them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pybridge.errors import (
    CaptureError,
    ColumnError,
    CutShortWarning,
    FilterError,
    LeftOutWarning,
    NotCaptureWarning,
    OutputError,
    PluginError,
    PybridgeError,
    SameFileWarning,
    TSharkError,
    UnrelatedFilesWarning,
)
from pybridge.version import __version__

if TYPE_CHECKING:
    from pybridge import examples, live, testing
    from pybridge.capture import Capture, read, read_all
    from pybridge.verification import verify

__all__ = [
    "Capture",
    "CaptureError",
    "ColumnError",
    "CutShortWarning",
    "FilterError",
    "LeftOutWarning",
    "NotCaptureWarning",
    "OutputError",
    "PluginError",
    "PybridgeError",
    "SameFileWarning",
    "TSharkError",
    "UnrelatedFilesWarning",
    "__version__",
    "examples",
    "live",
    "read",
    "read_all",
    "testing",
    "verify",
]

_MODULES = ("examples", "live", "testing")
_MODULE_OF = {"Capture": "capture", "read": "capture", "read_all": "capture", "verify": "verification"}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used. Thus the command line starts without pandas."""
    if name in _MODULES:
        return import_module(f"pybridge.{name}")
    if name in _MODULE_OF:
        return getattr(import_module(f"pybridge.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return sorted(__all__)
