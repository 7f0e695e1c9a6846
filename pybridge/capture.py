# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a capture into tables."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from pybridge import batches, ladder, tables, tshark
from pybridge.engine import Engine, EngineName, annotate, engine_by_name

if TYPE_CHECKING:
    from pyshark.packet.packet import Packet


class Capture:
    """One capture, annotated.

    Attributes
    ----------
    source : str
        Path of the capture.
    segments : pandas.DataFrame
        A row per TCP segment, in the order of the capture.
    connections : pandas.DataFrame
        A row per connection, index `stream`.
    """

    def __init__(self, source: str, segments: pd.DataFrame, connections: pd.DataFrame) -> None:
        self.source = source
        self.segments = segments
        self.connections = connections

    def __repr__(self) -> str:
        return f"<Capture {self.source}: {len(self.segments)} segments, {len(self.connections)} connections>"

    def ladder(self, stream: int) -> ladder.Ladder:
        """The sequence diagram of a connection, as textbooks draw it; shows itself in Jupyter.

        Raises
        ------
        KeyError
            There is no such connection.
        """
        if stream not in self.connections.index:
            raise KeyError(f"{self.source} has no connection {stream}.")
        rows = self.segments[self.segments["stream"] == stream]
        connection = cast("pd.Series[Any]", self.connections.loc[stream])
        return ladder.Ladder(ladder.ladder_svg(rows, connection))

    def packet(self, frame: int) -> Packet:
        """The full pyshark packet behind a row: every field that Wireshark dissects.

        Raises
        ------
        CaptureError
            There is no such frame, or the capture was standard input.
        """
        return tshark.packet(self.source, frame)


def read(source: str | os.PathLike[str], engine: EngineName = "python", *, progress: bool | None = None) -> Capture:
    """Annotate a capture.

    Parameters
    ----------
    source : path-like
        Any capture that Wireshark reads, also compressed; `-` is standard input.
    engine : {"python", "plugin"}
        Annotated by the Python implementation, or read from the Lua plugin's fields. Both give the same tables.
    progress : bool, optional
        Show the number of segments on standard error, or as a widget in Jupyter, when it takes longer than a second. By
        default where somebody looks: on a terminal and in Jupyter.

    Returns
    -------
    Capture

    Raises
    ------
    CaptureError, TSharkError, PluginError

    Warns
    -----
    CutShortWarning
        The capture ends in the middle of a packet; all whole packets were annotated.

    Examples
    --------
    >>> import pybridge
    >>> capture = pybridge.read("pcaps/refused.pcapng")
    >>> capture.connections.establishment.tolist()
    ['refused']
    """
    return read_with(engine_by_name(engine), os.fspath(source), progress=progress)


def read_with(engine: Engine, source: str, *, progress: bool | None = None) -> Capture:
    """Annotate a capture with an engine made by the caller."""
    with closing(annotate(engine, source, progress=progress)) as blocks:
        segments = tables.segments(map(batches.segments, blocks))
    return Capture(source, segments, tables.connections(batches.connections(engine.rows())))
