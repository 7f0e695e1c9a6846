# SPDX-License-Identifier: GPL-2.0-or-later
"""Write record batches as CSV or JSON as they come; times are ISO 8601 in UTC with nanoseconds, durations seconds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc

Writer = Callable[[Iterable[pa.RecordBatch], pa.Schema, TextIO], None]

ISO = "%Y-%m-%dT%H:%M:%SZ"
"""Times as Arrow writes them: `%S` has the fraction of the second, too."""


def write_csv(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write a header and a line per row."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(schema.names)
    for block in blocks:
        writer.writerows(zip(*as_values(block), strict=True))


def write_json(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write one JSON document, an array of objects."""
    before = "[\n"
    for record in _records(blocks, schema):
        stream.write(before + json.dumps(record))
        before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")


def write_jsonl(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write JSON lines, an object a line."""
    stream.writelines(f"{json.dumps(record)}\n" for record in _records(blocks, schema))


WRITERS: dict[str, Writer] = {"csv": write_csv, "json": write_json, "jsonl": write_jsonl}
"""The writer of each of these formats."""


def as_values(table: pa.RecordBatch | pa.Table) -> list[list[Any]]:
    """Return the columns as lists, with times in ISO 8601 and durations in seconds, exactly, as text."""
    return [_values(column) for column in table.columns]


def _values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column.cast(pa.timestamp("ns")), ISO, locale="C")
    elif pa.types.is_duration(column.type):
        return [None if value is None else seconds_text(value) for value in column.cast(pa.int64()).to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def seconds_text(nanoseconds: int) -> str:
    """Return a number of nanoseconds as seconds, exactly."""
    whole, part = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{'-' if nanoseconds < 0 else ''}{whole}.{part:09d}"


def _records(blocks: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[dict[str, Any]]:
    durations = [name for name in schema.names if pa.types.is_duration(schema.field(name).type)]
    for block in blocks:
        for row in zip(*as_values(block), strict=True):
            record = dict(zip(schema.names, row, strict=True))
            for name in durations:
                record[name] = None if record[name] is None else float(record[name])
            yield record
