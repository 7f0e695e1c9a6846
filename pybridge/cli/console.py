# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles that print to the terminal, or to a pipe."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

PIPED_WIDTH = 100_000
"""Columns of output that is not on a terminal, so that nothing is folded."""


class _Console(Console):
    """A console that lets the caller handle a closed pipe."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console_for(stream: TextIO) -> Console:
    """Return a console that writes to a stream: as wide as the terminal, or without limit."""
    return _Console(file=stream, width=None if stream.isatty() else PIPED_WIDTH, highlight=False)
