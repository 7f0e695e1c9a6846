# SPDX-License-Identifier: GPL-2.0-or-later
"""Examples to begin with: small captures, a notebook, and a generator of lifelike traffic.

Only `cli` imports this package, to copy the notebook.

>>> from pybridge import examples
>>> examples.capture("refused").name
'refused.pcapng'
"""

from __future__ import annotations

from pathlib import Path

CAPTURES = ("article-wget", "close-four-way-by-client", "close-simultaneous", "ipv6", "outage", "refused")
"""Names of the captures that come with the package: `outage` is the notebook's, the others are goldens of the test suite."""

_HERE = Path(__file__).resolve().parent


def capture(name: str) -> Path:
    """Return the path of an example capture.

    Beside `outage.pcapng` is `outage.csv`: what the server counted meanwhile.

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
    """Return the path of the notebook that goes from the first look at an outage to its cause."""
    return _HERE / "explore.ipynb"
