# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables as Arrow record batches: columns, their types and categories, built block by block.

A column that cannot be missing is not nullable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pybridge.tcp.model import STATES, Annotation, ConnectionRow, Segment

SCHEMA_VERSION = "1"
"""Of the columns, their types and categories (`docs/schema.md`); in the metadata of Parquet and Arrow files."""

INTEGER, TEXT, BOOL = pa.int64(), pa.string(), pa.bool_()
TIME, DURATION, CATEGORY = pa.timestamp("ns", tz="UTC"), pa.duration("ns"), pa.dictionary(pa.int8(), pa.string())
SMALL = pa.int8()

SENDERS = ("client", "server")
CATEGORIES: dict[str, Sequence[str]] = {
    "sender": SENDERS,
    "role": (
        "SYN", "SYN-ACK", "HANDSHAKE-ACK", "FIN", "ACK-OF-FIN", "RST", "ACK-OF-FIN+FIN", "HANDSHAKE-ACK+FIN",
        "HANDSHAKE-ACK+ACK-OF-FIN", "HANDSHAKE-ACK+ACK-OF-FIN+FIN",
    ),
    "teardown_step": ("1", "2", "3", "4", "2+3", "2+1", "4+1"),
    "client_state": STATES,
    "server_state": STATES,
    "establishment": (
        "complete", "simultaneous", "half-open", "unanswered", "refused", "unreachable", "aborted", "partial", "not-captured",
    ),
    "termination": ("four-way", "three-way", "simultaneous", "half-closed", "unacknowledged", "reset", "none"),
    "closed_by": (*SENDERS, "both"),
    "conn_state": ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"),
}  # fmt: skip
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
LATEST = (1 << 63) - 1  # nanoseconds; the least number stands for a missing time in pandas
EARLIEST = -LATEST
ROWS = 10_000  # of connections in a batch
ROW_GROUP = 100_000  # of a Parquet file


def _required(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names]


def _optional(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


def _schema(*fields: pa.Field) -> pa.Schema:
    """With what pandas needs to know to give a Parquet file the types of `tables`."""
    columns = [
        {"name": field.name, "field_name": field.name, "pandas_type": str(field.type), "numpy_type": kind, "metadata": None}
        for field in fields
        if (kind := pandas_dtype(field))
    ]
    about = {"index_columns": [], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return pa.schema(fields, metadata={"pandas": json.dumps(about), "pybridge.schema": SCHEMA_VERSION})


def pandas_dtype(field: pa.Field) -> str | None:
    """The pandas type of a column that can be missing, where pyarrow would choose one that cannot say so."""
    return {INTEGER: "Int64", SMALL: "Int8", BOOL: "boolean"}.get(field.type) if field.nullable else None


SEGMENTS = _schema(
    *_required(INTEGER, "frame"),
    *_required(TIME, "time"),
    *_required(INTEGER, "stream"),
    *_required(TEXT, "source"),
    *_required(INTEGER, "source_port"),
    *_required(TEXT, "destination"),
    *_required(INTEGER, "destination_port"),
    *_required(TEXT, "flags"),
    *_required(INTEGER, "seq", "ack", "length"),
    *_required(CATEGORY, "sender"),
    *_optional(CATEGORY, "role"),
    *_optional(SMALL, "handshake_step"),
    *_optional(CATEGORY, "teardown_step"),
    *_required(CATEGORY, "client_state", "server_state"),
    *_required(BOOL, "retransmission"),
    *_optional(INTEGER, "responds_to"),
    *_optional(DURATION, "response_time", "handshake_time"),
    *_optional(TEXT, "anomaly"),
)
"""Columns of `segments`, in order."""

CONNECTIONS = _schema(
    *_required(INTEGER, "stream"),
    *_required(TEXT, "client"),
    *_required(INTEGER, "client_port"),
    *_required(TEXT, "server"),
    *_required(INTEGER, "server_port"),
    *_required(TIME, "start"),
    *_required(DURATION, "duration"),
    *_required(INTEGER, "segments_client", "segments_server", "bytes_client", "bytes_server"),
    *_required(CATEGORY, "establishment", "termination"),
    *_optional(CATEGORY, "closed_by"),
    *_required(CATEGORY, "client_state", "server_state"),
    *_optional(DURATION, "handshake_time", "server_response_time", "client_response_time", "teardown_time"),
    *_optional(INTEGER, "client_isn", "server_isn", "client_mss", "server_mss", "client_window_scale", "server_window_scale"),
    *_optional(TEXT, "client_fast_open", "server_fast_open"),
    *_optional(BOOL, "sack_permitted", "timestamps", "ecn"),
    *_required(INTEGER, "syn_retransmissions", "syn_ack_retransmissions", "fin_retransmissions", "completeness"),
    *_required(CATEGORY, "conn_state"),
    *_optional(TEXT, "history", "anomalies"),
)
"""Columns of `connections`, in order."""

_CAPTURE = pa.field("capture", TEXT, nullable=False)
SEGMENTS_OF_MANY = SEGMENTS.insert(0, pa.field("capture_frame", INTEGER, nullable=False)).insert(0, _CAPTURE)
"""Columns of `segments` of a capture made of many files, in order."""

CONNECTIONS_OF_MANY = CONNECTIONS.insert(0, _CAPTURE)
"""Columns of `connections` of a capture made of many files, in order."""

HEADERS, ANNOTATIONS = list(SEGMENTS)[:11], list(SEGMENTS)[11:]


def segments(block: Sequence[tuple[Segment, Annotation]]) -> pa.RecordBatch:
    """A batch with the columns `SEGMENTS`."""
    if not block:
        return pa.record_batch([array(field, []) for field in SEGMENTS], schema=SEGMENTS)
    headers, said = zip(*block, strict=True)
    columns = list(zip(*headers, strict=True))[: len(HEADERS)]
    columns[7] = tuple(map(flags_text, columns[7]))
    arrays = [array(field, values) for field, values in zip(HEADERS, columns, strict=True)]
    # Most segments share the annotation of others: each is turned into columns once.
    distinct = {id(annotation): annotation for annotation in said}
    place = {key: index for index, key in enumerate(distinct)}
    places = pa.array([place[id(annotation)] for annotation in said], pa.int32())
    for field, values in zip(ANNOTATIONS, zip(*distinct.values(), strict=True), strict=True):
        arrays.append(array(field, values).take(places))
    return pa.record_batch(arrays, schema=SEGMENTS)


def connections(rows: Iterable[ConnectionRow]) -> Iterator[pa.RecordBatch]:
    """Batches with the columns `CONNECTIONS`."""
    values = attrgetter(*CONNECTIONS.names)
    remaining = iter(rows)
    while block := [values(row) for row in islice(remaining, ROWS)]:
        arrays = [array(field, column) for field, column in zip(CONNECTIONS, zip(*block, strict=True), strict=True)]
        yield pa.record_batch(arrays, schema=CONNECTIONS)


def array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """A column; of a number that it cannot hold, the nearest that it can."""
    if field.type != CATEGORY:
        try:
            return pa.array(values, field.type)
        except OverflowError:  # H10
            return pa.array([None if value is None else min(max(value, EARLIEST), LATEST) for value in values], field.type)
    names = CATEGORIES[field.name]
    codes = {None: None} | {name: code for code, name in enumerate(names)}
    return pa.DictionaryArray.from_arrays(pa.array(map(codes.__getitem__, values), SMALL), pa.array(names, TEXT))


def named(source: str, blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches with the column `capture` in front."""
    name = names([source])[0]
    for block in blocks:
        yield pa.record_batch([pa.repeat(name, len(block)), *block.columns], schema=with_capture(block.schema))


def names(sources: Sequence[str]) -> pa.Array:
    """What to call files in a table: a file's name need not be UTF-8."""
    return pa.array([source.encode(errors="backslashreplace").decode() for source in sources], TEXT)


def with_capture(schema: pa.Schema) -> pa.Schema:
    """The schema of `named`."""
    return schema.insert(0, _CAPTURE)


def write_parquet(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, target: Path | BinaryIO) -> None:
    """Write a Parquet file as the batches come."""
    with pq.ParquetWriter(target, schema) as writer:
        waiting: list[pa.RecordBatch] = []
        for block in blocks:
            waiting.append(block)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, schema))


def write_arrow(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, target: Path | BinaryIO) -> None:
    """Write an Arrow file (Feather 2) as the batches come."""
    with pa.ipc.new_file(str(target) if isinstance(target, Path) else target, schema) as writer:
        for block in blocks:
            writer.write_batch(block)


@cache
def flags_text(flags: int) -> str:
    """The flags in Wireshark's words and order, e.g. `SYN, ACK`."""
    return ", ".join(name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1)
