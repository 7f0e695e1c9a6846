# SPDX-License-Identifier: GPL-2.0-or-later
"""Write record batches as CSV or JSON as they come; times are ISO 8601 in UTC with nanoseconds, durations seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa

from pybridge.tables import frames


def write_csv(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write a header and a line per row."""
    as_text(frames.frame([], schema)).to_csv(stream, index=False, lineterminator="\n")
    for block in blocks:
        as_text(frames.frame([block], schema)).to_csv(stream, index=False, header=False, lineterminator="\n")


def write_json(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write one JSON document, an array of objects."""
    before = "[\n"
    for block in blocks:
        for record in _records(frames.frame([block], schema)):
            stream.write(before + json.dumps(record))
            before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")


def write_jsonl(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write JSON lines, an object a line."""
    for block in blocks:
        stream.writelines(f"{json.dumps(record)}\n" for record in _records(frames.frame([block], schema)))


WRITERS: dict[str, Callable[[Iterable[pa.RecordBatch], pa.Schema, TextIO], None]] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
}
"""The writer of each format."""


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of the table with times in ISO 8601 and durations in seconds, exactly, as text."""
    text = table.copy()
    for name in table.columns:
        if isinstance(table[name].dtype, pd.DatetimeTZDtype):
            text[name] = [None if pd.isna(value) else _iso(value) for value in table[name]]
        elif table[name].dtype.kind == "m":
            text[name] = [None if pd.isna(value) else _seconds(value) for value in table[name]]
    return text


def _iso(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond * 1000 + time.nanosecond:09d}Z"


def _seconds(duration: pd.Timedelta) -> str:
    sign = "-" if duration.value < 0 else ""
    whole, part = divmod(abs(duration.value), 1_000_000_000)
    return f"{sign}{whole}.{part:09d}"


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    seconds = [name for name in table.columns if table[name].dtype.kind == "m"]
    values = as_text(table).astype(object)
    values = values.where(values.notna(), None)
    for name in seconds:
        values[name] = pd.Series([None if value is None else float(value) for value in values[name]], dtype=object)
    return values.to_dict(orient="records")
