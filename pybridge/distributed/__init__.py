# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotate many captures as one on a Dask cluster: dissected where the files are, annotated flow by flow.

One task for each file turns its segments into rows. Dask's shuffle brings all rows of a flow into one partition, where they are
sorted and annotated. Dask schedules the tasks, moves and keeps the data, and repeats the work of a lost worker.

This package may import `tcp`, `wireshark`, `tables` and `errors`.
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
    raise ImportError("pybridge.distributed needs Dask: pip install 'dask[dataframe,distributed]>=2026.1'.") from None

from pybridge.distributed import rows
from pybridge.distributed.streams import StreamNumbering
from pybridge.errors import PybridgeError, TSharkError
from pybridge.tables import batches, frames
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import ConnectionRow, NetworkError, Segment
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.fields import FIELDS
from pybridge.wireshark.installation import tshark_version

ROWS = 500_000
"""Segments in a partition, on average."""

PLACES = 10_000
"""More than a frame has headers: the largest that Wireshark reads holds 6,553 headers of 40 bytes."""

Source = str | os.PathLike[str]
Workers = str | Sequence[str]


class Captures:
    """Many captures as one, annotated on a cluster.

    Attributes
    ----------
    files : pandas.DataFrame
        A row per file, in the order given: `path`; the numbers of `frames` and `segments`; `offset`, which is added to the frame
        numbers of the file; `problem`, the reason why the file was not read, or not to its end, else missing.
    segments : dask.dataframe.DataFrame
        As `pybridge.Capture.segments`, with `connection` instead of `stream`. Each partition is in the order of the capture.
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

    The function returns when all files are dissected. The workers keep the segments as long as the result exists. The tables
    are computed on demand, both together by ``dask.compute`` or ``dask.persist``.

    Parameters
    ----------
    paths : path-like, iterable of path-like, or mapping
        Paths of captures on the workers. The values of a mapping name the workers that have each file: hosts, or addresses of
        workers, as for `distributed.Client.submit`.
    client : distributed.Client, optional
        By default the current client.
    npartitions : int, optional
        Number of partitions of the tables; each must fit into the memory of a worker. By default one for every 500,000
        segments, and at least one for every thread.

    Returns
    -------
    Captures

    Raises
    ------
    TSharkError
        A worker, which the message names, has no tshark, or another version than the other workers.
    ValueError
        There are no paths, or there is no client.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise ValueError("No captures are given: name at least one.")
    workers = paths if isinstance(paths, Mapping) else {}
    client = client or distributed.get_client()
    version = client.submit(_version, pure=False).result()
    dissected = [
        client.submit(_dissect, os.fspath(path), number, version, workers=workers.get(path), pure=False)
        for number, path in enumerate(given)
    ]
    rows = [client.submit(itemgetter(0), future) for future in dissected]
    summaries = client.gather([client.submit(itemgetter(1), future) for future in dissected])
    files, end = _files(summaries), max(summary.end for summary in summaries)
    if npartitions is None:
        npartitions = max(1 + int(files["segments"].sum()) // ROWS, sum(client.nthreads().values()))
    persisted = client.persist(dd.from_delayed(rows, meta=_frame([]), verify_meta=False))
    shuffled = persisted.shuffle("flow", npartitions=npartitions)
    annotate = delayed(_annotate, nout=2)
    offsets = delayed(files["offset"].tolist(), traverse=False)
    tables = [annotate(part, offsets, end, version) for part in shuffled.to_delayed()]
    return Captures(
        files,
        dd.from_delayed([segment_table for segment_table, _ in tables], meta=_segments([])),
        dd.from_delayed([connection_table for _, connection_table in tables], meta=_connections([])),
    )


class _Summary(NamedTuple):
    path: str
    frames: int
    segments: int
    start: int
    end: int
    problem: str | None


def _files(summaries: Iterable[_Summary]) -> pd.DataFrame:
    """Return the table of files. Frames are numbered across all files, by the times of their first packets."""
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
    """Return the rows of one file, as far as tshark can read it."""
    own = _version()
    if own != version:
        raise TSharkError(f"Worker {_worker()} has tshark {own}, another has {version}: install the same version on all.")
    file = rows.FileRows(number)
    blocks = []
    problems: list[str] = []
    try:
        source = CaptureSource(path, path)
        for batch in read_columns(source, FIELDS, every_packet=True, on_cut_short=problems.append):
            blocks.append(file.rows(batch))
    except PybridgeError as error:
        problems.append(str(error))
        if not file.segments:  # Wireshark reads a picture as one frame, which must not count
            file = rows.FileRows(number)
    return _frame(blocks), _Summary(path, file.frames, file.segments, file.start, file.end, " ".join(problems) or None)


def _frame(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    table: pd.DataFrame = pa.Table.from_batches(blocks, rows.SCHEMA).to_pandas(types_mapper=pd.ArrowDtype)
    return table


def _annotate(part: pd.DataFrame, offsets: Sequence[int], end: int, version: Version) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables of the flows of one partition."""
    table = pa.Table.from_pandas(part, rows.SCHEMA, preserve_index=False)
    files = table.group_by("flow").aggregate([("file", "count_distinct")])
    in_several = files.filter(pc.greater(files["file_count_distinct"], 1))["flow"].to_pylist()
    numbering = StreamNumbering(set(in_several), version)
    annotator = Annotator()

    def events(block: Iterable[rows.Row]) -> Iterator[Segment | NetworkError]:
        for row in block:
            frame = row.event.frame + offsets[row.file]
            stream: Any = numbering.stream_of(row, frame * PLACES + row.place)
            yield row.event._replace(frame=frame, stream=stream)

    segment_table = _segments(batches.segments(list(annotator.annotate(events(block)))) for block in rows.in_order(table))
    return segment_table, _connections(annotator.rows(end))


def _segments(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    return frames.segments(blocks).rename(columns={"stream": "connection"})


def _connections(rows: Iterable[ConnectionRow]) -> pd.DataFrame:
    return frames.connections(batches.connections(rows)).rename_axis("connection")
