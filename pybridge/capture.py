# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a capture into tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import pandas as pd
from tqdm.auto import tqdm

from pybridge import batches, ladder, plugin, segments, tables, tshark
from pybridge.annotator import Annotator
from pybridge.model import Annotation, ConnectionRow, NetworkError, Segment
from pybridge.plugin_engine import PluginEngine
from pybridge.text import printable

if TYPE_CHECKING:
    from pyshark.packet.packet import Packet

EngineName = Literal["python", "plugin"]
ENGINES: tuple[EngineName, ...] = ("python", "plugin")


class Engine(Protocol):
    """Annotates a capture; `rows` is complete once `annotate` is exhausted."""

    def annotate(self, source: str) -> Generator[list[tuple[Segment, Annotation]]]:
        """Blocks of segments with their annotations, in order."""
        ...

    def rows(self) -> Iterable[ConnectionRow]:
        """The rows of all connections, by stream."""
        ...


class PythonEngine:
    """The `python` engine: raw headers from tshark, annotated here."""

    def __init__(self) -> None:
        self._annotator = Annotator()

    def annotate(self, source: str) -> Generator[list[tuple[Segment, Annotation]]]:
        """Blocks of segments with their annotations, in order."""
        annotator = self._annotator
        for batch in tshark.columns(source, segments.FIELDS):
            annotated = []
            for event in segments.events(batch):
                if isinstance(event, NetworkError):
                    annotator.network_error(*event)
                else:
                    annotated.append((event, annotator.segment(*event)))
            yield annotated

    def rows(self) -> Iterator[ConnectionRow]:
        """The rows of all connections, by stream."""
        connections = self._annotator.connections
        return (connections[stream].row() for stream in sorted(connections))


def engine_by_name(name: EngineName) -> Engine:
    """The engine of that name.

    Raises
    ------
    ValueError
        There is none.
    """
    if name == "python":
        return PythonEngine()
    if name == "plugin":
        return PluginEngine(plugin.path())
    raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {name!r}.")


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


def annotate(
    engine: Engine, source: str, *, progress: bool | None = None
) -> Generator[list[tuple[Segment, Annotation]], None, None]:
    """Blocks of annotated segments as tshark delivers them, in constant memory; close what you do not exhaust."""
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    name = printable(os.path.basename(tshark.name(source)))
    bar = tqdm(desc=name, unit=" segments", unit_scale=True, delay=1, disable=not progress, leave=False)
    with tshark.on_disk(source) as path, bar, closing(engine.annotate(path)) as blocks:
        for block in blocks:
            yield block
            bar.update(len(block))
