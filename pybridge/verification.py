# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the two implementations against each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import tee
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import pyarrow as pa

from pybridge.capture import Capture
from pybridge.engine import PythonEngine, Run
from pybridge.errors import CaptureError
from pybridge.progress import counting
from pybridge.tables import frames
from pybridge.tables.batches import HEADERS
from pybridge.wireshark import plugin_engine, plugin_files
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.plugin_engine import FROM_HEADERS, PluginEngine
from pybridge.wireshark.sources import open_source

Tables = tuple[pa.Table, pa.Table]
"""Segments and connections."""

COLUMNS = ("table", "stream", "frame", "column", "python", "plugin")
SUFFIXES = (".pcap", ".pcapng", ".cap", ".ntar", ".snoop", ".erf")
COMPRESSED = (".gz", ".zst", ".lz4")

SHARED = {
    "segments": ("capture", "capture_frame", *(field.name for field in HEADERS)),
    "connections": ("capture", *FROM_HEADERS),
}
"""Columns by table that `verify` does not compare: Python works them out from the raw headers in both engines."""


def verify(source: str | os.PathLike[str], *, progress: bool | None = None) -> pd.DataFrame:
    """Annotate a capture with both engines, and compare every column that the plugin says itself.

    Compared are the segments that each engine found, all annotations of each, and all columns of `connections` but those in
    `SHARED`, which Python works out from the raw headers in both engines.

    Parameters
    ----------
    source, progress
        As of `pybridge.read`.

    Returns
    -------
    pandas.DataFrame
        A row per disagreement: `table` (`segments` or `connections`), `stream`, `frame` (missing for connections), `column`,
        and the value of each engine as text. Empty if they agree.

    Raises
    ------
    CaptureError, TSharkError, PluginError

    Examples
    --------
    >>> import pybridge
    >>> len(pybridge.verify("pcaps/refused.pcapng"))
    0
    """
    with open_source(os.fspath(source)) as opened:
        python, plugin = _read(opened, progress)
    if all(_same(name, *both) for name, both in zip(SHARED, zip(python, plugin, strict=True), strict=True)):
        return _table([])
    return compare(*(Capture(opened.label, *_frames(*tables)) for tables in (python, plugin)))


def compare(python: Capture, plugin: Capture) -> pd.DataFrame:
    """Return the disagreements between two annotations of the same capture; see `verify`."""
    found = [
        *_disagreements("segments", _by_place(python.segments), _by_place(plugin.segments)),
        *_disagreements("connections", python.connections, plugin.connections),
    ]
    return _table(found)


def captures(source: str) -> list[str]:
    """Return the capture files below a folder, by the endings of their names, in order; of anything else, itself.

    Raises
    ------
    CaptureError
        The folder, or one in it, cannot be read, or there are none in it.
    """
    if not os.path.isdir(source):
        return [source]
    paths = (Path(place, name) for place, _, names in os.walk(source, onerror=_unreadable) for name in names)
    found = sorted(str(path) for path in paths if path.is_file() and _is_capture(path))
    if not found:
        raise CaptureError(f"{source} holds no capture files: name a file or another folder.")
    return found


def _table(found: list[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=list(COLUMNS)).astype({"stream": "Int64", "frame": "Int64"})


def _read(source: CaptureSource, progress: bool | None) -> tuple[Tables, Tables]:
    """Return the tables of both engines; one tshark, with the plugin, prints the headers for both.

    The engines take turns with the batches, so that each batch is kept no longer than it is used.
    """
    python, plugin = PythonEngine(), PluginEngine(plugin_files.path())
    with counting(Path(source.label).name, "segments", shown=progress) as count:
        headers, fields = tee(read_columns(source, plugin_engine.FIELDS, plugin=plugin_files.path()))
        runs = Run(source, python, python.blocks(headers)), Run(source, plugin, plugin.blocks(source, fields))
        segments = []
        for blocks in zip(*(run.segments() for run in runs), strict=True):
            segments.append(blocks)
            count(len(blocks[0]))
    one, other = (
        (pa.Table.from_batches([pair[place] for pair in segments], run.segments_schema), _connections(run))
        for place, run in enumerate(runs)
    )
    return one, other


def _connections(run: Run) -> pa.Table:
    return pa.Table.from_batches(run.connections(), run.connections_schema)


def _frames(segments: pa.Table, connections: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    return (
        frames.frame(segments.to_batches(), segments.schema),
        frames.frame(connections.to_batches(), connections.schema).set_index("stream"),
    )


def _same(name: str, python: pa.Table, plugin: pa.Table) -> bool:
    """Whether all columns that are compared are equal; Arrow sees that at once, pandas takes as long as tshark."""
    compared = [column for column in python.column_names if column not in SHARED[name]]
    same: bool = python.select(compared).equals(plugin.select(compared))
    return same and len(python) == len(plugin)


def _unreadable(error: OSError) -> NoReturn:
    raise CaptureError(f"{error.filename} cannot be read ({error.strerror}): check its permissions.")


def _is_capture(path: Path) -> bool:
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name.endswith(SUFFIXES)


def _by_place(segments: pd.DataFrame) -> pd.DataFrame:
    """Index segments by frame and place in the frame."""
    return segments.set_index([segments["frame"], segments.groupby("frame").cumcount()], drop=False)


def _disagreements(table: str, python: pd.DataFrame, plugin: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that one engine lacks, then the values that differ."""
    for one, other, values in ((python, plugin, ("present", "absent")), (plugin, python, ("absent", "present"))):
        for label in one.index.difference(other.index):
            yield (table, *_where(one, label), "", *values)
    common = python.index.intersection(plugin.index)
    python, plugin = python.loc[common], plugin.loc[common]
    for column in python.columns.difference(list(SHARED[table]), sort=False):
        for place in _different(python[column], plugin[column]):
            values = (_text(python[column].iloc[place]), _text(plugin[column].iloc[place]))
            yield (table, *_where(python, common[place]), column, *values)


def _where(table: pd.DataFrame, label: Any) -> tuple[Any, Any]:
    """Return stream and frame of a segment, or the stream of a connection."""
    return (table.loc[label, "stream"], label[0]) if isinstance(label, tuple) else (label, None)


def _different(python: pd.Series, plugin: pd.Series) -> list[int]:
    if python.dtype != plugin.dtype:
        raise TypeError(f"{python.name}: {python.dtype} is not {plugin.dtype}")
    same = (python == plugin).fillna(False).astype(bool) | (python.isna() & plugin.isna())
    return [place for place, value in enumerate(same) if not value]


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)
