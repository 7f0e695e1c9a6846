# SPDX-License-Identifier: GPL-2.0-or-later
"""From which file, and which frame in it, the rows of a merged capture came.

mergecap leaves the packets of a file in their order, and takes the file whose next packet is the earliest. A packet that is
earlier than one before it in its file thus comes right behind that: the order is that of the running maxima of the times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pybridge.errors import CaptureError
from pybridge.tables import batches
from pybridge.tcp.model import Annotation, ConnectionRow, Segment
from pybridge.wireshark import mergecap, tshark
from pybridge.wireshark.mergecap import File

Integers = NDArray[np.int64]
Block = list[tuple[Segment, Annotation]]


class Alone:
    """The rows of a capture that is one file, as `Origins` gives those of many."""

    segments_schema, connections_schema = batches.SEGMENTS, batches.CONNECTIONS

    def segments(self, blocks: Iterable[Block]) -> Iterator[pa.RecordBatch]:
        """Batches with the columns `SEGMENTS`."""
        return map(batches.segments, blocks)

    def connections(self, rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
        """Batches with the columns `CONNECTIONS`."""
        return batches.connections(rows)

    def passing(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks."""
        return iter(blocks)


class Origins:
    """Puts the file, and the frame in it, in front of the rows of a capture made of many files.

    Parameters
    ----------
    files : sequence of File
        In the order in which packets with the same time come.
    times : callable
        Gives the times of all packets of some files, one file after the other, in nanoseconds. It is asked only for files that
        overlap in time; each of their packets takes about 40 bytes for as long.
    """

    segments_schema, connections_schema = batches.SEGMENTS_OF_MANY, batches.CONNECTIONS_OF_MANY

    def __init__(self, files: Sequence[File], times: Callable[[Sequence[File]], Integers] = mergecap.times) -> None:
        self._names = batches.names([file.name for file in files])
        self._groups = _overlapping(files)
        self._files = files
        self._times = times
        sizes = [sum(files[index].frames for index in group) for group in self._groups]
        self._before = np.cumsum([0, *sizes[:-1]])
        self._ordered: tuple[int, Integers, Integers] = (-1, self._before, self._before)  # the group of the latest frames
        self._began: dict[int, int] = {}  # by stream: the file of its first segment

    def segments(self, blocks: Iterable[Block]) -> Iterator[pa.RecordBatch]:
        """Batches with the columns `SEGMENTS_OF_MANY`."""
        for block, files, frames in self._located(blocks):
            said = batches.segments(block)
            located = [self._names.take(pa.array(files)), pa.array(frames), *said.columns]
            yield pa.record_batch(located, schema=self.segments_schema)

    def connections(self, rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
        """Batches with the columns `CONNECTIONS_OF_MANY`, once all segments have passed."""
        for batch in batches.connections(rows):
            files = pa.array([self._began[stream] for stream in batch.column("stream").to_pylist()], pa.int64())
            yield pa.record_batch([self._names.take(files), *batch.columns], schema=self.connections_schema)

    def passing(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks, with a look at where connections begin."""
        return (block for block, _, _ in self._located(blocks))

    def _located(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Integers, Integers]]:
        for block in blocks:
            files, frames = self._locate(np.array([segment.frame for segment, _ in block], np.int64))
            for (segment, _), file in zip(block, files.tolist(), strict=True):
                if segment.stream not in self._began:
                    self._began[segment.stream] = file
            yield block, files, frames

    def _locate(self, frames: Integers) -> tuple[Integers, Integers]:
        """Of merged frames in ascending order: the file's number, and the frame in it."""
        groups = np.searchsorted(self._before, frames) - 1
        files, numbers = np.empty_like(frames), np.empty_like(frames)
        for group in np.unique(groups).tolist():
            these = groups == group
            places = frames[these] - self._before[group] - 1
            members = self._groups[group]
            if len(members) == 1:
                files[these], numbers[these] = members[0], places + 1
                continue
            if self._ordered[0] != group:
                self._ordered = (group, *self._order(members))
            _, files_there, numbers_there = self._ordered
            if places[-1] >= len(files_there):
                raise CaptureError(f"{self._files[members[0]].name} or a file of its time has grown meanwhile: read them again.")
            files[these], numbers[these] = files_there[places], numbers_there[places]
        return files, numbers

    def _order(self, members: Sequence[int]) -> tuple[Integers, Integers]:
        """As `_locate`, of all frames of files that overlap in time."""
        sizes = [self._files[index].frames for index in members]
        times = self._times([self._files[index] for index in members])
        if len(times) != sum(sizes):
            raise CaptureError(f"{self._files[members[0]].name} or a file of its time has changed meanwhile: read them again.")
        ends = np.cumsum(sizes)[:-1]
        order = np.argsort(np.concatenate([np.maximum.accumulate(part) for part in np.split(times, ends)]), kind="stable")
        return np.repeat(members, sizes)[order], np.concatenate([np.arange(1, size + 1) for size in sizes])[order]


def of(opened: tshark.Source) -> Origins | Alone:
    """What gives the rows of a capture that `mergecap.opened` has opened."""
    return Origins(opened.files) if isinstance(opened, mergecap.Merged) else Alone()


def _overlapping(files: Sequence[File]) -> list[list[int]]:
    """Groups of files, by number and in order, of which all packets come after those of the group before."""
    groups: list[list[int]] = []
    latest = (0, 0)
    for first, index in sorted((file.first, index) for index, file in enumerate(files)):
        if groups and (first, index) < latest:
            groups[-1].append(index)
        else:
            groups.append([index])
        latest = max(latest, (files[index].last, index))
    return [sorted(group) for group in groups]
