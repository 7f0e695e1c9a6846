# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a capture into tables.

What needs pandas is imported when it is needed: it takes longer to load than most captures take to read, and tshark can work
meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any, cast

from pybridge.engine import Engine, EngineName, annotate, engine_by_name
from pybridge.errors import CaptureError
from pybridge.report.explanations import FAILED
from pybridge.report.language import Language
from pybridge.tables import batches, file_origins
from pybridge.text import endpoint
from pybridge.wireshark import mergecap, plugin_files, tshark

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyshark.packet.packet import Packet

    from pybridge.report.ladder.svg import Ladder


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

    def _repr_html_(self) -> str:
        """In Jupyter: the verdict, charts, and the first failures."""
        from pybridge.report import page

        return page.excerpt(self.segments, self.connections, title=self.source)

    @property
    def failed(self) -> pd.DataFrame:
        """The connections that did not open, in order."""
        return self.connections[self.connections["establishment"].isin(FAILED)]

    def slowest(self, n: int = 10) -> pd.DataFrame:
        """The connections whose handshakes took longest, slowest first."""
        return self.connections.dropna(subset="handshake_time").nlargest(n, "handshake_time")

    def filter(self, display_filter: str) -> Capture:
        """The segments in the frames that a Wireshark display filter selects, and their connections.

        The annotations stay those of the whole capture. Fields of the plugin can be used, too.

        Raises
        ------
        FilterError
            Wireshark does not understand the filter.
        CaptureError
            The capture cannot be read again.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read("pcaps/article-wget.pcapng")
        >>> capture.filter("tcp.flags.syn == 1").segments.role.tolist()
        ['SYN', 'SYN-ACK']
        """
        with self._again() as source:
            frames = tshark.matching(source, display_filter, plugin=plugin_files.path())
        segments = self.segments[self.segments["frame"].isin(frames)]
        return Capture(self.source, segments, self.connections[self.connections.index.isin(segments["stream"])])

    def follow(self, stream: int) -> pd.DataFrame:
        """What both ends of a connection sent, put together by Wireshark (*Follow > TCP Stream*).

        Returns
        -------
        pandas.DataFrame
            A row per turn: `sender` (`client` or `server`) and `data` (bytes).

        Raises
        ------
        KeyError
            There is no such connection.
        CaptureError
            The capture cannot be read again.
        """
        connection = self._connection(stream)
        client = endpoint(connection["client"], connection["client_port"])
        with self._again() as source:
            turns = [("client" if node == client else "server", data) for node, data in tshark.follow(source, stream)]
        import pandas as pd

        senders = pd.Categorical([sender for sender, _ in turns], categories=batches.SENDERS)
        return pd.DataFrame({"sender": senders, "data": pd.Series([data for _, data in turns], dtype=object)})

    def ladder(self, stream: int, *, language: Language = "en") -> Ladder:
        """The sequence diagram of a connection, as textbooks draw it; shows itself in Jupyter.

        Parameters
        ----------
        stream : int
            Of which connection.
        language : {"en", "zh"}, default "en"
            English or Chinese. Flags, states, roles and anomalies are names and the same in both.

        Raises
        ------
        KeyError
            There is no such connection.
        ValueError
            There is no such language.
        """
        from pybridge.report.ladder import svg

        return svg.Ladder(svg.ladder_svg(self.segments, self._connection(stream), language=language))

    def packet(self, frame: int) -> Packet:
        """The full pyshark packet behind a row: every field that Wireshark dissects.

        Raises
        ------
        CaptureError
            There is no such frame, or the capture was standard input.
        """
        with self._again() as source:
            return tshark.packet(source, frame)

    def _connection(self, stream: int) -> pd.Series[Any]:
        if stream not in self.connections.index:
            raise KeyError(f"{self.source} has no connection {stream}.")
        return cast("pd.Series[Any]", self.connections.loc[stream])

    def _again(self) -> AbstractContextManager[tshark.Source]:
        """The capture, to be read once more."""
        if self.source == tshark.STANDARD_INPUT:
            raise CaptureError("Standard input can be read only once: save the capture to a file to look into it again.")
        return mergecap.opened(self.source)


def read(source: str | os.PathLike[str], engine: EngineName = "python", *, progress: bool | None = None) -> Capture:
    """Annotate a capture.

    Parameters
    ----------
    source : path-like
        Any capture that Wireshark reads, also compressed; `-` is standard input. A folder, or a pattern (`ring/*.pcapng`), is one
        capture made of many files, ordered by time as Wireshark's `mergecap` does: connections go on from file to file.
        `segments` then begins with `capture` and `capture_frame`, the file and the frame in it; `connections` with `capture`,
        the file of its first segment. `frame` counts through the whole capture.
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
        The capture, or one of its files, ends in the middle of a packet; all whole packets were annotated.
    LeftOutWarning
        One of many files could not be read; all others were annotated.
    SameFileWarning
        One of many files holds the same as another; it was read once.

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
    with mergecap.opened(source) as opened, closing(annotate(engine, opened, progress=progress)) as blocks:
        rows = file_origins.of(opened)
        segments = list(rows.segments(blocks))
    from pybridge.tables import frames

    connections = frames.frame(rows.connections(engine.rows()), rows.connections_schema)
    return Capture(source, frames.frame(segments, rows.segments_schema), connections.set_index("stream"))


def read_all(
    sources: Iterable[str | os.PathLike[str]], engine: EngineName = "python", *, progress: bool | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Annotate several captures, each for itself.

    Parameters
    ----------
    sources : iterable of path-like
    engine, progress
        As for `read`.

    Returns
    -------
    segments, connections : pandas.DataFrame
        The tables of all, with the column `capture` in front, the path; `stream` is a column of both.

    Raises
    ------
    CaptureError, TSharkError, PluginError
    """
    segments: list[pa.RecordBatch] = []
    connections: list[pa.RecordBatch] = []
    for source in [os.fspath(source) for source in sources]:
        judge = engine_by_name(engine)
        with closing(annotate(judge, source, progress=progress)) as blocks:
            segments += batches.named(source, map(batches.segments, blocks))
        connections += batches.named(source, batches.connections(judge.rows()))
    from pybridge.tables import frames

    return (
        frames.frame(segments, batches.with_capture(batches.SEGMENTS)),
        frames.frame(connections, batches.with_capture(batches.CONNECTIONS)),
    )
