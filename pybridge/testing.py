# SPDX-License-Identifier: GPL-2.0-or-later
"""For the tests of others, on their own captures."""

from __future__ import annotations

import os

from pybridge.verification import verify

SHOWN = 20


def assert_agreement(source: str | os.PathLike[str]) -> None:
    """Annotate a capture with both engines; fail if they differ in any column.

    Raises
    ------
    AssertionError
        They differ; the message lists the first disagreements.
    CaptureError, TSharkError, PluginError
        See `pybridge.verify`.
    """
    found = verify(source, progress=False)
    if not found.empty:
        raise AssertionError(f"{len(found)} disagreements about {os.fspath(source)}:\n{found.head(SHOWN).to_string(index=False)}")
