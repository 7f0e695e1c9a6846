# SPDX-License-Identifier: GPL-2.0-or-later
"""Read captures into tables.

Functions import pandas themselves, because it takes longer to load than most captures take to read: tshark works meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from pybridge.engine import Engine, EngineName, Run, open_run
from pybridge.errors import CaptureError
from pybridge.report.language import Language
from pybridge.tables import batches, schema
from pybridge.tcp.vocabulary import FAILED, SENDERS
from pybridge.text import endpoint
from pybridge.wireshark import plugin_files
from pybridge.wireshark.capture_source import STANDARD_INPUT, CaptureSource
from pybridge.wireshark.columns import matching_frames
from pybridge.wireshark.packets import follow_stream, read_packet
from pybridge.wireshark.sources import open_source

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyshark.packet.packet import Packet

    from pybridge.report.ladder.svg import Ladder


class Capture:
    """An annotated capture.

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
        """Return what Jupyter displays: the verdict, charts, and the first failures."""
        from pybridge.report import page

        return page.excerpt(self.segments, self.connections, title=self.source)

    @property
    def failed(self) -> pd.DataFrame:
        """The connections that did not open, in order; without those whose SYN was still waiting for an answer (rule C23)."""
        from pybridge.tables import frames

        return self.connections[frames.outcomes(self.connections).isin(FAILED)]

    def slowest(self, n: int = 10) -> pd.DataFrame:
        """Return the `n` connections whose handshakes took longest, slowest first."""
        return self.connections.dropna(subset="handshake_time").nlargest(n, "handshake_time")

    def filter(self, display_filter: str) -> Capture:
        """Return the segments in the frames that a Wireshark display filter selects, and their connections.

        The annotations stay those of the whole capture. The filter may use fields of the plugin.

        Raises
        ------
        FilterError
            Wireshark does not understand the filter.
        CaptureError
            The capture cannot be read again.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("article-wget"))
        >>> capture.filter("tcp.flags.syn == 1").segments.role.tolist()
        ['SYN', 'SYN-ACK']
        """
        with self._again() as source:
            frames = matching_frames(source, display_filter, plugin=plugin_files.path())
        segments = self.segments[self.segments["frame"].isin(frames)]
        return Capture(self.source, segments, self.connections[self.connections.index.isin(segments["stream"])])

    def follow(self, stream: int) -> pd.DataFrame:
        """Return the data that both ends of a connection sent, as Wireshark reassembles it (*Follow > TCP Stream*).

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
            turns = [("client" if node == client else "server", data) for node, data in follow_stream(source, stream)]
        import pandas as pd

        senders = pd.Categorical([sender for sender, _ in turns], categories=SENDERS)
        return pd.DataFrame({"sender": senders, "data": pd.Series([data for _, data in turns], dtype=object)})

    def names(self) -> pd.Series[str]:
        """Return the names of the servers that the capture holds, by stream: TLS (SNI), HTTP (Host), or an answer of DNS.

        tshark reads the capture a second time and dissects it in full: a third of the time of `read` for generated traffic.
        A connection without a name is left out. A name is what the client asked for, not what the server is.

        Raises
        ------
        CaptureError
            The capture cannot be read again.

        Examples
        --------
        >>> import pybridge
        >>> pybridge.read(pybridge.examples.capture("article-wget")).names().to_dict()  # asked for by its address
        {}
        """
        from pybridge.wireshark.names import read_names

        with self._again() as source:
            by_stream, by_address = read_names(source)
        import pandas as pd

        ends = zip(self.connections.index, self.connections["server"], self.connections["server_port"], strict=True)
        names = {
            stream: name
            for stream, server, port in ends
            if (name := by_stream.get(stream) or by_address.get(server)) and name not in (server, endpoint(server, port))
        }
        return pd.Series(names, dtype=self.connections["server"].dtype, name="name").rename_axis("stream")

    def ladder(self, stream: int, *, language: Language = "en") -> Ladder:
        """Return the sequence diagram of a connection, as textbooks draw it. Jupyter displays it as a picture.

        Parameters
        ----------
        stream : int
            The connection.
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
        """Return the whole packet behind a row from pyshark, with every field that Wireshark dissects.

        Raises
        ------
        CaptureError
            There is no such frame, or the capture was standard input.
        """
        with self._again() as source:
            return read_packet(source, frame)

    def _connection(self, stream: int) -> pd.Series[Any]:
        if stream not in self.connections.index:
            raise KeyError(f"{self.source} has no connection {stream}.")
        return cast("pd.Series[Any]", self.connections.loc[stream])

    def _again(self) -> AbstractContextManager[CaptureSource]:
        """Open the capture again."""
        if self.source == STANDARD_INPUT:
            raise CaptureError("Standard input can be read only once: save the capture to a file to look into it again.")
        return open_source(self.source)


def read(source: str | os.PathLike[str], engine: EngineName | Engine = "python", *, progress: bool | None = None) -> Capture:
    """Annotate a capture.

    Parameters
    ----------
    source : path-like
        Any capture that Wireshark reads, also compressed; `-` is standard input. A folder, or a pattern (`ring/*.pcapng`), is one
        capture made of many files, which Wireshark's `mergecap` merges by time: connections continue from file to file.
        `segments` then begins with `capture` and `capture_frame`, the file and the frame in it; `connections` with `capture`,
        the file of its first segment. `frame` counts through the whole capture.
    engine : {"python", "plugin"} or Engine
        Annotate with the Python implementation, or read the fields of the Lua plugin. Both give the same tables.
    progress : bool, optional
        Show the number of segments on standard error, or as a widget in Jupyter, when it takes longer than a second. By
        default on a terminal and in Jupyter.

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
        One of many files is a copy of another; it was read once.

    Examples
    --------
    >>> import pybridge
    >>> capture = pybridge.read(pybridge.examples.capture("refused"))
    >>> capture.connections.establishment.tolist()
    ['refused']
    """
    with open_run(os.fspath(source), engine, progress=progress) as run:
        capture = capture_of(run)
    capture.source = os.fspath(source)
    return capture


def capture_of(run: Run) -> Capture:
    """Exhaust a run, and return both tables."""
    segments = list(run.segments())
    from pybridge.tables import frames

    connections = frames.frame(run.connections(), run.connections_schema).set_index("stream")
    return Capture(run.source.label, frames.frame(segments, run.segments_schema), connections)


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
        The tables of all captures. The first column, `capture`, is the path; `stream` is a column of both tables.

    Raises
    ------
    CaptureError, TSharkError, PluginError
    """
    segments: list[pa.RecordBatch] = []
    connections: list[pa.RecordBatch] = []
    for source in [os.fspath(source) for source in sources]:
        with open_run(source, engine, progress=progress) as run:
            segments += batches.named(source, run.segments())
            connections += batches.named(source, run.connections())
    from pybridge.tables import frames

    return (
        frames.frame(segments, schema.with_capture(schema.SEGMENTS)),
        frames.frame(connections, schema.with_capture(schema.CONNECTIONS)),
    )
