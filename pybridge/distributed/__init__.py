# SPDX-License-Identifier: GPL-2.0-or-later
"""The same annotations on a cluster, by Dask: many captures as one, dissected where they lie, annotated flow by flow.

A task for each file gives its segments as raw rows. Dask's shuffle brings the rows of a flow into one partition, where they are
put in order and pass through the annotator. Dask schedules, moves, keeps and, when a worker is lost, computes again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from packaging.version import Version

try:
    import dask.dataframe as dd
    import distributed
    from dask.delayed import delayed
except ImportError:
    raise ImportError("pybridge.distributed needs Dask: pip install 'pybridge-tcp[distributed]'.") from None

from pybridge.distributed import rows
from pybridge.distributed.streams import StreamNumbering
from pybridge.errors import PybridgeError, TSharkError
from pybridge.tables import batches, frames
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.connection_row import row_of
from pybridge.tcp.model import ConnectionRow, NetworkError, Segment
from pybridge.wireshark import segments
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.installation import tshark_version

ROWS = 500_000  # of a partition, on average
PLACES = 10_000  # more than headers in a frame: the largest that Wireshark takes holds 6,553 of 40 bytes

Source = str | os.PathLike[str]
Workers = str | Sequence[str]


class Captures:
    """Many captures as one, annotated on a cluster.

    Attributes
    ----------
    files : pandas.DataFrame
        A row per file, in the order given: `path`; `frames` and `segments`, how many; `offset`, by how much a frame's number here
        is more than in the file; `problem`, why the file was not read, or not to its end, else missing.
    segments : dask.dataframe.DataFrame
        As `pybridge.Capture.segments`, with `connection` in place of `stream`. Each partition is in the order of the capture.
    connections : dask.dataframe.DataFrame
        As `pybridge.Capture.connections`, index `connection`.
    """

    def __init__(self, files: pd.DataFrame, segments: dd.DataFrame, connections: dd.DataFrame) -> None:
        self.files = files
        self.segments = segments
        self.connections = connections

    def __repr__(self) -> str:
        return f"<Captures: {len(self.files)} files, {self.files['segments'].sum()} segments, {len(self.problems)} problems>"

    @property
    def problems(self) -> pd.DataFrame:
        """The files that were not read, or not to their ends: `path` and `problem`."""
        return self.files.loc[self.files["problem"].notna(), ["path", "problem"]]


def read(
    paths: Source | Iterable[Source] | Mapping[Source, Workers],
    client: distributed.Client | None = None,
    *,
    npartitions: int | None = None,
) -> Captures:
    """Annotate captures as one, in the order of their times, on a cluster.

    Returns when all files are dissected. Their segments stay with the workers as long as the result lives; the tables are
    computed when they are asked for, both at once by ``dask.compute`` or ``dask.persist``.

    Parameters
    ----------
    paths : path-like, iterable of path-like, or mapping
        Captures as the workers name them. The values of a mapping say where each lies: hosts, or addresses of workers, as
        `distributed.Client.submit` takes them.
    client : distributed.Client, optional
        By default the current one.
    npartitions : int, optional
        Of the tables; each must fit into a worker. By default one for every 500,000 segments, and at least one for every thread.

    Returns
    -------
    Captures

    Raises
    ------
    TSharkError
        A worker has no tshark, or not the version that others have; it is named.
    ValueError
        There is no path, or no client.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise ValueError("No captures are given: name at least one.")
    where = paths if isinstance(paths, Mapping) else {}
    client = client or distributed.get_client()
    version = client.submit(_version, pure=False).result()
    dissected = [
        client.submit(_dissect, os.fspath(path), number, version, workers=where.get(path), pure=False)
        for number, path in enumerate(given)
    ]
    rows = [client.submit(itemgetter(0), future) for future in dissected]
    files = _files(client.gather([client.submit(itemgetter(1), future) for future in dissected]))
    if npartitions is None:
        npartitions = max(1 + int(files["segments"].sum()) // ROWS, sum(client.nthreads().values()))
    persisted = client.persist(dd.from_delayed(rows, meta=_frame([]), verify_meta=False))
    shuffled = persisted.shuffle("flow", npartitions=npartitions)
    annotate = delayed(_annotate, nout=2)
    offsets = delayed(files["offset"].tolist(), traverse=False)
    made = [annotate(part, offsets, version) for part in shuffled.to_delayed()]
    return Captures(
        files,
        dd.from_delayed([both[0] for both in made], meta=_segments([])),
        dd.from_delayed([both[1] for both in made], meta=_connections([])),
    )


class _Summary(NamedTuple):
    path: str
    frames: int
    segments: int
    start: int
    problem: str | None


def _files(summaries: Iterable[_Summary]) -> pd.DataFrame:
    """Frames are numbered through all files, in the order of their first packets, as in one file made of them."""
    files = pd.DataFrame(summaries, columns=list(_Summary._fields))
    frames = files.sort_values("start", kind="stable")["frames"]
    files["offset"] = frames.cumsum() - frames
    return files[["path", "frames", "segments", "offset", "problem"]].astype({"problem": "string"})


def _version() -> Version:
    try:
        return tshark_version()
    except TSharkError as error:
        raise TSharkError(f"Worker {_worker()}: {error}") from None


def _worker() -> str:
    return str(distributed.get_worker().address)


def _dissect(path: str, number: int, version: Version) -> tuple[pd.DataFrame, _Summary]:
    """The rows of one file, as far as it can be read."""
    own = _version()
    if own != version:
        raise TSharkError(f"Worker {_worker()} has tshark {own}, another has {version}: install the same version on all.")
    file = rows.FileRows(number)
    blocks = []
    problems: list[str] = []
    try:
        source = CaptureSource(path, path)
        for batch in read_columns(source, segments.FIELDS, every_packet=True, on_cut_short=problems.append):
            blocks.append(file.rows(batch))
    except PybridgeError as error:
        problems.append(str(error))
        if not file.segments:  # what is no capture has no frames, though Wireshark takes a picture for one
            file = rows.FileRows(number)
    return _frame(blocks), _Summary(path, file.frames, file.segments, file.start, " ".join(problems) or None)


def _frame(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    table: pd.DataFrame = pa.Table.from_batches(blocks, rows.SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)
    return table


def _annotate(part: pd.DataFrame, offsets: Sequence[int], version: Version) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of the flows of one partition."""
    table = pa.Table.from_pandas(part, rows.SCHEMA, preserve_index=False)
    files = table.group_by("flow").aggregate([("file", "count_distinct")])
    cut = files.filter(pc.greater(files["file_count_distinct"], 1))["flow"].to_pylist()
    numbering = StreamNumbering(set(cut), version)
    annotator = Annotator()

    def events(block: Iterable[rows.Row]) -> Iterator[Segment | NetworkError]:
        for row in block:
            frame = row.event.frame + offsets[row.file]
            stream: Any = numbering.stream_of(row, frame * PLACES + row.place)
            yield row.event._replace(frame=frame, stream=stream)

    segment_table = _segments(batches.segments(list(annotator.annotate(events(block)))) for block in rows.in_order(table))
    return segment_table, _connections(map(row_of, annotator.connections.each()))


def _segments(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    return frames.segments(blocks).rename(columns={"stream": "connection"})


def _connections(rows: Iterable[ConnectionRow]) -> pd.DataFrame:
    return frames.connections(batches.connections(rows)).rename_axis("connection")
