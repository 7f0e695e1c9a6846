# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the file, and the frame in it, from which each row of a merged capture came.

mergecap leaves the packets of a file in their order, and takes the file whose next packet is the earliest. A packet that is
earlier than one before it in its file thus comes right behind that: the order is that of the running maxima of the times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pybridge.errors import CaptureError
from pybridge.tables import batches, schema
from pybridge.tcp.model import Annotation, ConnectionRow, Segment
from pybridge.wireshark import mergecap
from pybridge.wireshark.capture_source import MergedFile

Integers = NDArray[np.int64]
Block = Sequence[tuple[Segment, Annotation]]


class SingleFile:
    """Makes the record batches of a capture that is one file."""

    segments_schema, connections_schema = schema.SEGMENTS, schema.CONNECTIONS

    def segments(self, block: Block) -> pa.RecordBatch:
        """Return a batch with the columns `schema.SEGMENTS`."""
        return batches.segments(block)

    def note(self, block: Block) -> None:
        """Do nothing: every connection begins in the one file."""

    def connections(self, rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
        """Yield batches with the columns `schema.CONNECTIONS`."""
        return batches.connections(rows)


class ManyFiles:
    """Makes the record batches of a capture made of many files, with the file and the frame in it in front of each row.

    Parameters
    ----------
    files : sequence of MergedFile
        In the order in which packets with the same time come.
    times : callable
        Returns the times of all packets of some files, one file after the other, in nanoseconds. It is called only for files
        that overlap in time; each of their packets takes about 40 bytes meanwhile.
    """

    segments_schema, connections_schema = schema.SEGMENTS_OF_MANY, schema.CONNECTIONS_OF_MANY

    def __init__(
        self, files: Sequence[MergedFile], times: Callable[[Sequence[MergedFile]], Integers] = mergecap.packet_times
    ) -> None:
        self._names = batches.names([file.name for file in files])
        self._groups = _overlapping(files)
        self._files = files
        self._times = times
        sizes = [sum(files[index].frames for index in group) for group in self._groups]
        self._before = np.cumsum([0, *sizes[:-1]])
        self._ordered: tuple[int, Integers, Integers] = (-1, self._before, self._before)  # the group of the latest frames
        self._began: dict[int, int] = {}  # by stream: the file of its first segment

    def segments(self, block: Block) -> pa.RecordBatch:
        """Return a batch with the columns `schema.SEGMENTS_OF_MANY`."""
        files, frames = self._located(block)
        columns = [self._names.take(pa.array(files)), pa.array(frames), *batches.segments(block).columns]
        return pa.record_batch(columns, schema=self.segments_schema)

    def note(self, block: Block) -> None:
        """Note where the connections of these segments begin."""
        self._located(block)

    def connections(self, rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
        """Yield batches with the columns `schema.CONNECTIONS_OF_MANY`, once all segments were seen."""
        for batch in batches.connections(rows):
            files = pa.array([self._began[stream] for stream in batch.column("stream").to_pylist()], pa.int64())
            yield pa.record_batch([self._names.take(files), *batch.columns], schema=self.connections_schema)

    def _located(self, block: Block) -> tuple[Integers, Integers]:
        files, frames = self._locate(np.array([segment.frame for segment, _ in block], np.int64))
        for (segment, _), file in zip(block, files.tolist(), strict=True):
            if segment.stream not in self._began:
                self._began[segment.stream] = file
        return files, frames

    def _locate(self, frames: Integers) -> tuple[Integers, Integers]:
        """Return the file's number and the frame in it, of merged frames in ascending order."""
        groups = np.searchsorted(self._before, frames) - 1
        files, numbers = np.empty_like(frames), np.empty_like(frames)
        for group in np.unique(groups).tolist():
            in_group = groups == group
            places = frames[in_group] - self._before[group] - 1
            members = self._groups[group]
            if len(members) == 1:
                files[in_group], numbers[in_group] = members[0], places + 1
                continue
            if self._ordered[0] != group:
                self._ordered = (group, *self._order(members))
            _, group_files, group_numbers = self._ordered
            if places[-1] >= len(group_files):
                raise CaptureError(f"{self._files[members[0]].name} or a file of its time has grown meanwhile: read them again.")
            files[in_group], numbers[in_group] = group_files[places], group_numbers[places]
        return files, numbers

    def _order(self, members: Sequence[int]) -> tuple[Integers, Integers]:
        """Return the same as `_locate`, of all frames of files that overlap in time."""
        sizes = [self._files[index].frames for index in members]
        times = self._times([self._files[index] for index in members])
        if len(times) != sum(sizes):
            raise CaptureError(f"{self._files[members[0]].name} or a file of its time has changed meanwhile: read them again.")
        ends = np.cumsum(sizes)[:-1]
        order = np.argsort(np.concatenate([np.maximum.accumulate(part) for part in np.split(times, ends)]), kind="stable")
        return np.repeat(members, sizes)[order], np.concatenate([np.arange(1, size + 1) for size in sizes])[order]


def _overlapping(files: Sequence[MergedFile]) -> list[list[int]]:
    """Return groups of files, by number and in order; all packets of a group come after those of the group before."""
    groups: list[list[int]] = []
    latest = (0, 0)
    for first, index in sorted((file.first, index) for index, file in enumerate(files)):
        if groups and (first, index) < latest:
            groups[-1].append(index)
        else:
            groups.append([index])
        latest = max(latest, (files[index].last, index))
    return [sorted(group) for group in groups]
