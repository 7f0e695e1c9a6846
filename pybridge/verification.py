# SPDX-License-Identifier: GPL-2.0-or-later
"""Checking the two implementations against each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from pybridge.capture import Capture, read
from pybridge.errors import CaptureError, CutShortWarning
from pybridge.wireshark.sources import open_source

COLUMNS = ("table", "stream", "frame", "column", "python", "plugin")
SUFFIXES = (".pcap", ".pcapng", ".cap", ".ntar", ".snoop", ".erf")
COMPRESSED = (".gz", ".zst", ".lz4")


def verify(source: str | os.PathLike[str], *, progress: bool | None = None) -> pd.DataFrame:
    """Annotate a capture with both engines and compare every column.

    Returns
    -------
    pandas.DataFrame
        A row per disagreement: `table` (`segments` or `connections`), `stream`, `frame` (missing for connections), `column`,
        and what each engine says, as text. Empty if they agree.

    Raises
    ------
    CaptureError, TSharkError, PluginError
    """
    with open_source(os.fspath(source)) as opened:
        path = opened.path or opened.label
        ours = read(path, progress=progress)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CutShortWarning)  # said once is enough
            theirs = read(path, engine="plugin", progress=progress)
    return compare(ours, theirs)


def compare(python: Capture, plugin: Capture) -> pd.DataFrame:
    """The disagreements between two annotations of the same capture; see `verify`."""
    found = [*_segments(python.segments, plugin.segments), *_connections(python.connections, plugin.connections)]
    return pd.DataFrame(found, columns=list(COLUMNS)).astype({"stream": "Int64", "frame": "Int64"})


def captures(source: str) -> list[str]:
    """The capture files below a folder, by their names' endings, in order; of anything else, itself.

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


def _unreadable(error: OSError) -> NoReturn:
    raise CaptureError(f"{error.filename} cannot be read ({error.strerror}): check its permissions.")


def _is_capture(path: Path) -> bool:
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name.endswith(SUFFIXES)


def _segments(ours: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    ours, theirs = _numbered(ours), _numbered(theirs)
    yield from _unmatched("segments", ours, theirs)
    common = ours.index.intersection(theirs.index)
    ours, theirs = ours.loc[common], theirs.loc[common]
    for column in ours.columns:
        for place in _different(ours[column], theirs[column]):
            yield (
                "segments", ours["stream"].iloc[place], common[place][0], column,
                _text(ours[column].iloc[place]), _text(theirs[column].iloc[place]),
            )  # fmt: skip


def _numbered(segments: pd.DataFrame) -> pd.DataFrame:
    """By frame and place in the frame."""
    return segments.set_index([segments["frame"], segments.groupby("frame").cumcount()], drop=False).drop(columns="frame")


def _connections(ours: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    yield from _unmatched("connections", ours, theirs)
    common = ours.index.intersection(theirs.index)
    ours, theirs = ours.loc[common], theirs.loc[common]
    for column in ours.columns:
        for place in _different(ours[column], theirs[column]):
            yield "connections", common[place], None, column, _text(ours[column].iloc[place]), _text(theirs[column].iloc[place])


def _unmatched(table: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    for mine, other, said in ((ours, theirs, ("present", "absent")), (theirs, ours, ("absent", "present"))):
        for label in mine.index.difference(other.index):
            row = mine.loc[label]
            yield (table, row["stream"], label[0], "", *said) if table == "segments" else (table, label, None, "", *said)


def _different(ours: pd.Series, theirs: pd.Series) -> list[int]:
    if ours.dtype != theirs.dtype:
        raise TypeError(f"{ours.name}: {ours.dtype} is not {theirs.dtype}")
    same = (ours == theirs).fillna(False).astype(bool) | (ours.isna() & theirs.isna())
    return [place for place, value in enumerate(same) if not value]


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)
