# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers for your own test suite, on your own captures."""

from __future__ import annotations

import os

from pybridge.verification import verify

DISAGREEMENTS_SHOWN = 20
"""Disagreements that the message of a failed assertion lists."""


def assert_agreement(source: str | os.PathLike[str]) -> None:
    """Annotate a capture with both engines, and fail if they differ in any column.

    Parameters
    ----------
    source : path-like
        As of `pybridge.read`.

    Raises
    ------
    AssertionError
        The engines differ; the message lists the first disagreements.
    CaptureError, TSharkError, PluginError
        See `pybridge.verify`.
    """
    disagreements = verify(source, progress=False)
    if not disagreements.empty:
        listed = disagreements.head(DISAGREEMENTS_SHOWN).to_string(index=False)
        raise AssertionError(f"{len(disagreements)} disagreements about {os.fspath(source)}:\n{listed}")
