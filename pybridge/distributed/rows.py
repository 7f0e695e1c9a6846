# SPDX-License-Identifier: GPL-2.0-or-later
"""Segments and network errors as rows of Arrow tables, in which Dask moves them from one process to another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa

from pybridge.tables import batches, schema
from pybridge.tcp.model import NetworkError, Offer, Segment
from pybridge.wireshark import segments

SCHEMA = pa.schema(
    {
        "flow": pa.int64(), "file": pa.int32(), "order": pa.int64(), "place": pa.int32(),
        "frame": pa.int64(), "time": pa.int64(), "stream": pa.int64(),
        "source": pa.string(), "source_port": pa.int32(), "destination": pa.string(), "destination_port": pa.int32(),
        "flags": pa.int32(), "seq": pa.int64(), "ack": pa.int64(), "length": pa.int64(),
        "offer": pa.string(), "identity": pa.int64(), "hop_limit": pa.int32(),
    }
)  # fmt: skip
"""The columns of a `Row`, with its event as columns, too. A network error has no flags. `offer` is JSON."""

ORDER = [(name, "ascending") for name in ("order", "file", "frame", "place")]
FLAGS = Segment._fields.index("flags")
"""Position of the flags; the fields before it are those of a network error, too."""

PADDING = (None,) * (Segment._fields.index("offer") - FLAGS)


class Row(NamedTuple):
    """An event and its place in the order of all captures.

    Attributes
    ----------
    flow : int
        Hash of both ends, the same for both directions and in all files. Flows that differ only in VLAN or tunnel are one flow,
        as in Wireshark.
    file : int
        Position in the list of files.
    order : int
        The latest time up to this packet in its file, in nanoseconds since the epoch. Thus the packets of a file stay in their
        order where the clock stepped back.
    place : int
        Position among the events of its frame.
    event : Segment or NetworkError
    """

    flow: int
    file: int
    order: int
    place: int
    event: Segment | NetworkError


class FileRows:
    """Makes rows from the packets of one file.

    Attributes
    ----------
    frames, segments : int
        Numbers of frames and segments so far.
    start : int
        Time of the first packet, in nanoseconds since the epoch.
    end : int
        Latest time of a segment or network error.
    """

    def __init__(self, number: int) -> None:
        self.frames = self.segments = self.start = 0
        self.end = schema.EARLIEST
        self._number = number
        self._latest = schema.EARLIEST
        self._flows: dict[int | None, int] = {}

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of the next block of `read_columns`, called with `every_packet`."""
        times = segments.times(batch)
        if not self.frames:
            self.start = times[0]
        orders = list(accumulate(times, max, initial=self._latest))
        rows = []
        frame = place = 0
        for event in segments.events(batch):
            place = place + 1 if event.frame == frame else 0
            frame = event.frame
            rows.append((self._flow(event), self._number, orders[frame - self.frames], place, *_values(event)))
            self.segments += isinstance(event, Segment)
            self.end = max(self.end, event.time)
        self.frames += len(batch)
        self._latest = orders[-1]
        columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
        return pa.record_batch(list(map(schema.array, SCHEMA, columns)), schema=SCHEMA)

    def _flow(self, event: Segment | NetworkError) -> int:
        flow = self._flows.get(event.stream)
        if flow is None:
            flow = _flow(event)
            if event.stream is not None:
                self._flows[event.stream] = flow
        return flow


def _flow(event: Segment | NetworkError) -> int:
    ends = sorted([(event.source, event.source_port), (event.destination, event.destination_port)])
    return int.from_bytes(hashlib.blake2b(repr(ends).encode(), digest_size=8).digest(), "little", signed=True)


def _values(event: Segment | NetworkError) -> tuple[Any, ...]:
    if isinstance(event, NetworkError):
        return (*event[:FLAGS], *PADDING, json.dumps((event.message, event.reporter)), None, None)
    return (*event[:-3], event.offer and json.dumps(event.offer), event.identity, event.hop_limit)


def in_order(table: pa.Table) -> Iterator[list[Row]]:
    """Yield the rows of a table in the order of the capture, block by block."""
    for batch in table.sort_by(ORDER).to_batches(max_chunksize=batches.ROWS):
        flows, files, orders, places, *events = (column.to_pylist() for column in batch.columns)
        yield list(map(Row, flows, files, orders, places, map(_event, *events)))


def _event(*values: Any) -> Segment | NetworkError:
    *header, offer, identity, hop_limit = values
    if header[FLAGS] is None:
        message, reporter = json.loads(offer)
        return NetworkError._make((*header[:FLAGS], tuple(message), reporter))
    return Segment._make((*header, Offer(*json.loads(offer)) if offer else None, identity, hop_limit))
