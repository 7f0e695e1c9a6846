# SPDX-License-Identifier: GPL-2.0-or-later
"""Examples to begin with: small captures, a notebook, and a generator of lifelike traffic.

Only `cli` imports this package, to copy the notebook.

>>> from pybridge import examples
>>> examples.capture("refused").name
'refused.pcapng'
"""

from __future__ import annotations

from pathlib import Path

CAPTURES = ("article-wget", "close-four-way-by-client", "close-simultaneous", "ipv6", "refused")
"""Names of the captures that come with the package; they are goldens of its test suite."""

_HERE = Path(__file__).resolve().parent


def capture(name: str) -> Path:
    """Return the path of an example capture.

    Parameters
    ----------
    name : str
        One of `CAPTURES`.

    Raises
    ------
    ValueError
        There is no such example.
    """
    if name not in CAPTURES:
        raise ValueError(f"name must be one of {', '.join(CAPTURES)}, not {name!r}.")
    installed = _HERE / f"{name}.pcapng"
    if installed.is_file():
        return installed
    (golden,) = (_HERE.parent.parent / "pcaps" / "golden").glob(f"*/{name}.pcapng")  # in a checkout
    return golden


def notebook() -> Path:
    """Return the path of the notebook that explores a capture from the first look to single packets."""
    return _HERE / "explore.ipynb"
