# SPDX-License-Identifier: GPL-2.0-or-later
"""Read captures into tables.

Functions import pandas themselves, because it takes longer to load than most captures take to read: tshark works meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pybridge.atomic_file import replacing
from pybridge.engine import Engine, EngineName, Run, open_run
from pybridge.errors import CaptureError, UnrelatedFilesWarning, warn, warning_once
from pybridge.progress import counting
from pybridge.report.language import Language
from pybridge.tables import batches, schema
from pybridge.tcp.vocabulary import FAILED, SENDERS
from pybridge.text import amount, endpoint
from pybridge.version import __version__
from pybridge.wireshark import mergecap, plugin_files, rings
from pybridge.wireshark.capture_source import STANDARD_INPUT, CaptureSource, is_many, label_of
from pybridge.wireshark.columns import matching_frames
from pybridge.wireshark.installation import tshark_version
from pybridge.wireshark.packet_comments import write_commented
from pybridge.wireshark.packets import follow_stream, read_packet
from pybridge.wireshark.sources import open_source

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyshark.packet.packet import Packet

    from pybridge.report.ladder.drawing import Ladder
    from pybridge.report.plots import Plots
    from pybridge.tables.peers import Side


Source = str | os.PathLike[str]


class Capture:
    """An annotated capture.

    Attributes
    ----------
    source : str or tuple of str
        Path of the capture, or the paths of its files.
    segments : pandas.DataFrame
        A row per TCP segment, in the order of the capture.
    connections : pandas.DataFrame
        A row per connection, index `stream`.
    """

    def __init__(self, source: str | tuple[str, ...], segments: pd.DataFrame, connections: pd.DataFrame) -> None:
        self.source = source
        self.segments = segments
        self.connections = connections

    def __repr__(self) -> str:
        return f"<Capture {self._label}: {len(self.segments)} segments, {len(self.connections)} connections>"

    def _repr_html_(self) -> str:
        """Return what Jupyter displays: the verdict, charts, and the first failures."""
        from pybridge.report import page

        return page.excerpt(self.segments, self.connections, title=Path(self._label).name)

    @property
    def _label(self) -> str:
        return label_of(self.source) if isinstance(self.source, str) else amount(len(self.source), "file")

    @property
    def failed(self) -> pd.DataFrame:
        """The connections that did not open, in order; without those whose SYN was still waiting for an answer (rule C23).

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("refused"))
        >>> capture.failed[["establishment", "diagnosis"]].reset_index()
           stream establishment    diagnosis
        0       0       refused  port-closed
        """
        from pybridge.tables import frames

        return self.connections[frames.outcomes(self.connections).isin(FAILED)]

    def slowest(self, n: int = 10) -> pd.DataFrame:
        """Return the `n` connections whose handshakes took longest, slowest first.

        Examples
        --------
        >>> import pybridge
        >>> pybridge.read(pybridge.examples.capture("article-wget")).slowest(1)["handshake_time"].tolist()
        [Timedelta('0 days 00:00:00.000147')]
        """
        return self.connections.dropna(subset="handshake_time").nlargest(n, "handshake_time")

    @property
    def anomalies(self) -> pd.DataFrame:
        """A row per anomaly: `stream`, `frame`, `time`, `sender`, and `anomaly`, a category.

        Where a segment has several anomalies there are several rows. `unreachable` is on no segment, so that its row has no
        frame, time and sender.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("refused"))
        >>> capture.anomalies["anomaly"].tolist()
        ['connection-refused']
        """
        from pybridge.tables import frames

        return frames.anomalies(self.segments, self.connections)

    @property
    def seconds(self) -> pd.DataFrame:
        """The table `connections` with all durations as seconds, which plot and describe as numbers.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("article-wget"))
        >>> capture.seconds["handshake_time"].tolist()
        [0.000147]
        """
        from pybridge.tables import frames

        return frames.in_seconds(self.connections)

    def by_server(self, *, seconds: bool = False) -> pd.DataFrame:
        """Count connections by server and port, those with the most failures and resets first.

        Parameters
        ----------
        seconds : bool, default False
            Return durations as seconds, as `seconds` does, not as timedeltas.

        Returns
        -------
        pandas.DataFrame
            Index `server` and `server_port`. Columns: `connections`; `opened` and `failed`; `failed` by kind (`refused`,
            `unreachable`, `unanswered`, `invalid_answer`, `aborted`, `half_open`); `still_waiting` and `not_captured`;
            `handshake_median` and `handshake_p95`, median and 95th percentile of the handshake times; `waited`, the time lost
            by repeated SYNs and SYN-ACKs; `reset_mid_connection`, `reset_while_closing` and `reset_after_close` (harmless);
            of the resets that were not harmless `reset_by_client` and `reset_by_server`, `reset_unacknowledged` (the most octets
            that one left unacknowledged), and `reset_silence`, the longest before a reset in mid-connection.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("refused"))
        >>> capture.by_server()[["connections", "opened", "refused"]].reset_index()
             server  server_port  connections  opened  refused
        0  10.0.0.2           80            1       0        1
        """
        return self._by_peer("server", seconds=seconds)

    def by_client(self, *, seconds: bool = False) -> pd.DataFrame:
        """Count connections by client as `by_server` does; the index is `client`."""
        return self._by_peer("client", seconds=seconds)

    def _by_peer(self, side: Side, *, seconds: bool) -> pd.DataFrame:
        from pybridge.tables import frames
        from pybridge.tables.peers import by_peer

        table = by_peer(self.connections, side)
        return frames.in_seconds(table) if seconds else table

    @property
    def plot(self) -> Plots:
        """Plots on axes of matplotlib: `handshake_times`, `outcomes` (over time) and `waiting`.

        Examples
        --------
        >>> import pybridge
        >>> capture = pybridge.read(pybridge.examples.capture("article-wget"))
        >>> capture.plot.handshake_times().get_title()
        'Handshake times'
        """
        from pybridge.report.plots import Plots

        return Plots(self.connections)

    def annotate(self, path: str | os.PathLike[str]) -> Path:
        """Write the capture as pcapng with comments on its packets, and return the path.

        The comments say the role, the step, the anomaly and the states of segments that open, close, abort or are unusual; the
        first one of a connection says how the connection went. They are shown by every Wireshark, without the plugin.

        Raises
        ------
        CaptureError
            The capture cannot be read again.
        OutputError
            The file cannot be written.

        Examples
        --------
        >>> import pybridge, tempfile
        >>> capture = pybridge.read(pybridge.examples.capture("refused"))
        >>> path = capture.annotate(f"{tempfile.mkdtemp()}/commented.pcapng")
        >>> pybridge.read(path).filter('frame.comment contains "RST of the server"').segments["frame"].tolist()
        [2]
        """
        from pybridge.report.comments import comments

        target = Path(path)
        with self._again() as source, replacing(target) as temporary, temporary.open("wb") as stream:
            write_commented(source, comments(self.segments, self.connections), stream)
        return target

    def report(self, path: str | os.PathLike[str] = "report.html", *, language: Language = "en") -> Path:
        """Write the page that `pybridge report` writes, and return its path.

        Raises
        ------
        OutputError
            It cannot be written.

        Examples
        --------
        >>> import pybridge, tempfile
        >>> capture = pybridge.read(pybridge.examples.capture("refused"))
        >>> capture.report(f"{tempfile.mkdtemp()}/refused.html").name
        'refused.html'
        """
        from pybridge.report import page
        from pybridge.report.summary import summary

        target = Path(path)
        with replacing(target) as temporary:
            text = page.render(
                self.segments,
                self.connections,
                facts=summary(self.segments, self.connections),
                title=Path(self._label).name,
                versions={"pybridge": __version__, "tshark": str(tshark_version())},
                notes=[],
                language=language,
            )
            temporary.write_text(text, encoding="utf-8")
        return target

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

        Examples
        --------
        >>> import pybridge
        >>> turns = pybridge.read(pybridge.examples.capture("article-wget")).follow(0)
        >>> turns["sender"].tolist(), bytes(turns["data"][0][:3])
        (['client', 'server'], b'GET')
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
        A connection without a name is left out. A name is what the client asked for, not what the server is. To have them
        beside the servers, ``capture.connections.join(capture.names())``.

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
        return pd.Series(names, dtype=self.connections["server"].dtype, name="server_name").rename_axis("stream")

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

        Examples
        --------
        >>> import pybridge
        >>> ladder = pybridge.read(pybridge.examples.capture("refused")).ladder(0)
        >>> print(ladder.written("txt").splitlines()[1].split())
        ['10.0.0.1:50000', '10.0.0.2:80']
        """
        from pybridge.report.ladder.drawing import Ladder

        return Ladder(self.segments, self._connection(stream), language=language)

    def packet(self, frame: int) -> Packet:
        """Return the whole packet behind a row from pyshark, with every field that Wireshark dissects.

        Raises
        ------
        CaptureError
            There is no such frame, or the capture was standard input.

        Examples
        --------
        >>> import pybridge
        >>> packet = pybridge.read(pybridge.examples.capture("article-wget")).packet(2)
        >>> str(packet.tcp.options_mss_val)
        '1460'
        """
        with self._again() as source:
            return read_packet(source, frame)

    def _connection(self, stream: int) -> pd.Series[Any]:
        if stream not in self.connections.index:
            raise KeyError(f"{self._label} has no connection {stream}.")
        return cast("pd.Series[Any]", self.connections.loc[stream])

    def _again(self) -> AbstractContextManager[CaptureSource]:
        """Open the capture again."""
        if self.source == STANDARD_INPUT:
            raise CaptureError("Standard input can be read only once: save the capture to a file to look into it again.")
        return open_source(self.source)


def read(source: Source | Iterable[Source], engine: EngineName | Engine = "python", *, progress: bool | None = None) -> Capture:
    """Annotate a capture.

    Parameters
    ----------
    source : path-like, or several
        Any capture that Wireshark reads, also compressed; `-` is standard input. A folder, a pattern (`ring/*.pcapng`), or
        several paths are one capture made of many files, which Wireshark's `mergecap` merges by time: connections continue
        from file to file. `segments` then begins with `capture` and `capture_frame`, the file and the frame in it;
        `connections` with `capture`, the file of its first segment. `frame` counts through the whole capture. (`read_all`
        reads files of which each is a capture by itself.)
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
        Some of the files of a folder could not be read; all others were annotated.
    NotCaptureWarning
        Some of the files of a folder are no captures; all others were annotated.
    UnrelatedFilesWarning
        The names or times of the files of a folder or pattern say that they are several captures. Name them in a list to
        say that they are one.
    SameFileWarning
        One of many files is a copy of another; it was read once.

    Examples
    --------
    >>> import pybridge
    >>> capture = pybridge.read(pybridge.examples.capture("refused"))
    >>> capture.connections.establishment.tolist()
    ['refused']
    """
    named = os.fspath(source) if isinstance(source, (str, os.PathLike)) else tuple(os.fspath(each) for each in source)
    if not named and not isinstance(named, str):
        raise CaptureError("No capture is named: name at least one file.")
    with open_run(named, engine, progress=progress) as run:
        capture = capture_of(run)
        reason = rings.unrelated(run.source.files) if isinstance(named, str) else ""
    if reason:
        text = f"{named}: its files were read as one capture, although {reason}: pybridge.read_all reads each by itself."
        warn(text, UnrelatedFilesWarning)
    capture.source = named
    return capture


def capture_of(run: Run) -> Capture:
    """Exhaust a run, and return both tables."""
    segments = list(run.segments())
    from pybridge.tables import frames

    connections = frames.frame(run.connections(), run.connections_schema).set_index("stream")
    return Capture(run.source.label, frames.frame(segments, run.segments_schema), connections)


def read_all(
    sources: Iterable[Source], engine: EngineName = "python", *, progress: bool | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Annotate several captures, each for itself.

    Parameters
    ----------
    sources : iterable of path-like
        A folder or a pattern stands for the captures in it.
    engine, progress
        As for `read`.

    Returns
    -------
    segments, connections : pandas.DataFrame
        The tables of all captures. The first column, `capture`, is the path; `stream` is a column of both tables.

    Raises
    ------
    CaptureError, TSharkError, PluginError

    Warns
    -----
    CutShortWarning, LeftOutWarning, NotCaptureWarning
        As of `read`; once, however many captures it is about.

    Examples
    --------
    >>> import pybridge
    >>> names = map(pybridge.examples.capture, ("refused", "ipv6"))
    >>> segments, connections = pybridge.read_all(names)
    >>> connections[["stream", "establishment"]]
       stream establishment
    0       0       refused
    1       0      complete
    """
    segments: list[pa.RecordBatch] = []
    connections: list[pa.RecordBatch] = []
    named = [name for given in sources for name in _each(os.fspath(given))]
    alone = len(named) == 1
    with (
        warning_once(len(named)),
        counting(f"{len(named)} captures", "captures", total=len(named), shown=False if alone else progress) as count,
    ):
        for source in named:
            with open_run(source, engine, progress=progress if alone else False) as run:
                segments += batches.named(source, run.segments())
                connections += batches.named(source, run.connections())
            count(1)
    from pybridge.tables import frames

    return (
        frames.frame(segments, schema.with_capture(schema.SEGMENTS)),
        frames.frame(connections, schema.with_capture(schema.CONNECTIONS)),
    )


def _each(source: str) -> list[str]:
    """Return the captures in a folder, or those that a pattern matches; anything else as it is."""
    if not is_many(source):
        return [source]
    with mergecap.surveyed(mergecap.names_in(source)) as survey:
        mergecap.warn_left_out(source, survey)
        return [file.name for file in survey.files]
