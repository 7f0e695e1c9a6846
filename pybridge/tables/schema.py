# SPDX-License-Identifier: GPL-2.0-or-later
"""The columns of both tables: names, Arrow types, categories, and which of them can be missing.

A column that cannot be missing is not nullable. `docs/schema.md` describes the columns for users, and a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pybridge.tcp import vocabulary

SCHEMA_VERSION = "2"
"""Version of the columns, their types and categories (`docs/schema.md`); in the metadata of Parquet and Arrow files."""

INTEGER, TEXT, BOOL = pa.int64(), pa.string(), pa.bool_()
TIME, DURATION, CATEGORY = pa.timestamp("ns", tz="UTC"), pa.duration("ns"), pa.dictionary(pa.int8(), pa.string())
SMALL = pa.int8()

CATEGORIES: dict[str, Sequence[str]] = {
    "sender": vocabulary.SENDERS,
    "role": vocabulary.ROLES,
    "teardown_step": vocabulary.TEARDOWN_STEPS,
    "client_state": vocabulary.STATES,
    "server_state": vocabulary.STATES,
    "establishment": vocabulary.ESTABLISHMENTS,
    "termination": vocabulary.TERMINATIONS,
    "closed_by": vocabulary.CLOSERS,
    "reset_by": vocabulary.SENDERS,
    "captured": vocabulary.CAPTURED,
    "client_from": vocabulary.CLIENT_FROM,
    "ecn": vocabulary.ECN,
    "diagnosis": vocabulary.DIAGNOSES,
    "suspect": vocabulary.SUSPECTS,
    "conn_state": vocabulary.CONN_STATES,
}
"""Values of the columns that are categories, in the order in which pandas sorts them."""

LATEST = (1 << 63) - 1
"""Nanoseconds: the latest time and the longest duration that a column can hold."""

EARLIEST = -LATEST
"""Nanoseconds: the earliest time; the number below it stands for a missing time in pandas."""


def _required(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names]


def _optional(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


def _schema(*fields: pa.Field) -> pa.Schema:
    """Return a schema whose metadata lets pandas read a Parquet file with the types of `frames`."""
    columns = [
        {"name": field.name, "field_name": field.name, "pandas_type": str(field.type), "numpy_type": kind, "metadata": None}
        for field in fields
        if (kind := pandas_dtype(field))
    ]
    metadata = {"index_columns": [], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return pa.schema(fields, metadata={"pandas": json.dumps(metadata), "pybridge.schema": SCHEMA_VERSION})


def pandas_dtype(field: pa.Field) -> str | None:
    """Return the pandas type of a column that can be missing, where pyarrow would choose one without missing values."""
    return {INTEGER: "Int64", SMALL: "Int8", BOOL: "boolean"}.get(field.type) if field.nullable else None


SEGMENTS = _schema(
    *_required(INTEGER, "frame"),
    *_required(TIME, "time"),
    *_required(INTEGER, "stream"),
    *_required(TEXT, "source"),
    *_required(INTEGER, "source_port"),
    *_required(TEXT, "destination"),
    *_required(INTEGER, "destination_port"),
    *_required(TEXT, "tcp_flags"),
    *_required(INTEGER, "seq_raw", "ack_raw", "length"),
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
    *_required(INTEGER, "client_segments", "server_segments", "client_bytes", "server_bytes"),
    *_required(CATEGORY, "establishment", "termination"),
    *_optional(CATEGORY, "closed_by", "reset_by"),
    *_required(CATEGORY, "captured", "client_from"),
    *_optional(TIME, "client_last_seen", "server_last_seen"),
    *_optional(DURATION, "idle_before_end"),
    *_optional(INTEGER, "client_unacknowledged", "server_unacknowledged"),
    *_required(BOOL, "still_waiting"),
    *_required(CATEGORY, "diagnosis"),
    *_optional(CATEGORY, "suspect"),
    *_optional(TEXT, "evidence"),
    *_required(CATEGORY, "client_state", "server_state"),
    *_optional(DURATION, "handshake_time", "server_response_time", "client_response_time"),
    *_optional(DURATION, "retransmission_delay", "teardown_time"),
    *_optional(INTEGER, "client_isn", "server_isn", "client_mss", "server_mss", "client_window_scale", "server_window_scale"),
    *_optional(TEXT, "client_fast_open", "server_fast_open"),
    *_optional(BOOL, "sack_permitted", "timestamps"),
    *_optional(CATEGORY, "ecn"),
    *_required(INTEGER, "syn_retransmissions", "syn_ack_retransmissions", "fin_retransmissions", "completeness"),
    *_required(CATEGORY, "conn_state"),
    *_optional(TEXT, "history", "anomalies"),
)
"""Columns of `connections`, in order."""

CAPTURE = pa.field("capture", TEXT, nullable=False)
"""The column that names the file from which a row came."""

SEGMENTS_OF_MANY = SEGMENTS.insert(0, pa.field("capture_frame", INTEGER, nullable=False)).insert(0, CAPTURE)
"""Columns of `segments` of a capture made of many files, in order."""

CONNECTIONS_OF_MANY = CONNECTIONS.insert(0, CAPTURE)
"""Columns of `connections` of a capture made of many files, in order."""


def with_capture(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the column `capture` in front."""
    return schema.insert(0, CAPTURE)


def array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """Return a column; a number that the type cannot hold becomes the nearest that it can (rule H10)."""
    if field.type != CATEGORY:
        try:
            return pa.array(values, field.type)
        except OverflowError:
            return pa.array([None if value is None else min(max(value, EARLIEST), LATEST) for value in values], field.type)
    names = CATEGORIES[field.name]
    codes = {None: None} | {name: code for code, name in enumerate(names)}
    return pa.DictionaryArray.from_arrays(pa.array(map(codes.__getitem__, values), SMALL), pa.array(names, TEXT))
