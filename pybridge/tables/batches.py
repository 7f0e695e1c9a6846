# SPDX-License-Identifier: GPL-2.0-or-later
"""Build Arrow record batches from annotated segments and connection rows, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import attrgetter

import pyarrow as pa

from pybridge.tables.schema import CONNECTIONS, SEGMENTS, TEXT, array, with_capture
from pybridge.tcp.model import Annotation, ConnectionRow, Segment

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
ROWS = 10_000
"""Rows of a batch of connections."""

HEADERS, ANNOTATIONS = list(SEGMENTS)[:11], list(SEGMENTS)[11:]
TCP_FLAGS = SEGMENTS.names.index("tcp_flags")


def segments(block: Sequence[tuple[Segment, Annotation]]) -> pa.RecordBatch:
    """Return a batch with the columns `schema.SEGMENTS`."""
    if not block:
        return pa.record_batch([array(field, []) for field in SEGMENTS], schema=SEGMENTS)
    headers, annotations = zip(*block, strict=True)
    columns = list(zip(*headers, strict=True))[: len(HEADERS)]
    columns[TCP_FLAGS] = tuple(map(flags_text, columns[TCP_FLAGS]))
    arrays = [array(field, values) for field, values in zip(HEADERS, columns, strict=True)]
    # Most segments share the annotation of others: each is turned into columns once.
    distinct = {id(annotation): annotation for annotation in annotations}
    place = {key: index for index, key in enumerate(distinct)}
    places = pa.array([place[id(annotation)] for annotation in annotations], pa.int32())
    for field, values in zip(ANNOTATIONS, zip(*distinct.values(), strict=True), strict=True):
        arrays.append(array(field, values).take(places))
    return pa.record_batch(arrays, schema=SEGMENTS)


def connections(rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
    """Yield batches with the columns `schema.CONNECTIONS`."""
    values = attrgetter(*CONNECTIONS.names)
    remaining = iter(rows)
    while block := [values(row) for row in islice(remaining, ROWS)]:
        arrays = [array(field, column) for field, column in zip(CONNECTIONS, zip(*block, strict=True), strict=True)]
        yield pa.record_batch(arrays, schema=CONNECTIONS)


def named(source: str, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same batches with the column `capture` in front."""
    name = names([source])[0]
    for block in blocks:
        yield pa.record_batch([pa.repeat(name, len(block)), *block.columns], schema=with_capture(block.schema))


def names(sources: Sequence[str]) -> pa.Array:
    """Return the names of files as a column; bytes of a name that are not UTF-8 are escaped."""
    return pa.array([source.encode(errors="backslashreplace").decode() for source in sources], TEXT)


@cache
def flags_text(flags: int) -> str:
    """Return the flags in Wireshark's words and order, e.g. `SYN, ACK`."""
    return ", ".join(name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1)
