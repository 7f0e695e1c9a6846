# SPDX-License-Identifier: GPL-2.0-or-later
"""Write record batches as Zeek writes its logs: tab-separated, with the names and types of `conn.log` where it has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

import pyarrow as pa

from pybridge.tables.text_writers import seconds_text

UNSET, EMPTY = "-", "(empty)"

ZEEK = {
    "start": "ts", "time": "ts", "client": "id.orig_h", "client_port": "id.orig_p", "server": "id.resp_h",
    "server_port": "id.resp_p", "client_bytes": "orig_bytes", "server_bytes": "resp_bytes", "client_segments": "orig_pkts",
    "server_segments": "resp_pkts", "source": "src_h", "source_port": "src_p", "destination": "dst_h",
    "destination_port": "dst_p",
}  # fmt: skip
"""Zeek's names of columns; all other columns keep theirs."""

FIRST = (
    *("start", "client", "client_port", "server", "server_port", "duration", "client_bytes", "server_bytes", "conn_state"),
    *("history", "client_segments", "server_segments"),
)
"""Columns that come first, in the order of Zeek's `conn.log`."""

ADDRESSES = ("client", "server", "source", "destination")
PORTS = ("client_port", "server_port", "source_port", "destination_port")
SETS = ("anomaly", "anomalies")
"""Columns of names that are joined with a plus."""

_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\\\\]")


def write_zeek(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Write a header as Zeek does, and a line per row.

    The whole table `connections` gets the columns `uid` (the file, if there are several, and the stream) and `proto`, too, and
    begins as `conn.log` does.
    """
    whole = {*FIRST, "stream"} <= set(schema.names)
    names = [*FIRST, *(name for name in schema.names if name not in FIRST)] if whole else schema.names
    fields = [ZEEK.get(name, name) for name in names]
    types = [_type(name, schema.field(name).type) for name in names]
    if whole:
        fields[1:1], types[1:1] = ["uid"], ["string"]
        fields[6:6], types[6:6] = ["proto"], ["enum"]
    path = "segments" if "frame" in schema.names else "conn"
    stream.write("#separator \\x09\n#set_separator\t,\n" + f"#empty_field\t{EMPTY}\n#unset_field\t{UNSET}\n#path\t{path}\n")
    stream.write("\t".join(("#fields", *fields)) + "\n" + "\t".join(("#types", *types)) + "\n")
    for block in blocks:
        columns = [_texts(name, block.column(name)) for name in names]
        if whole:
            columns[1:1] = [_uids(block)]
            columns[6:6] = [["tcp"] * len(block)]
        stream.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))


def _type(name: str, kind: pa.DataType) -> str:
    """Return Zeek's type of a column."""
    if name in ADDRESSES:
        return "addr"
    if name in PORTS:
        return "port"
    if name in SETS:
        return "set[string]"
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_duration(kind):
        return "interval"
    if pa.types.is_boolean(kind):
        return "bool"
    return "count" if pa.types.is_integer(kind) else "string"


def _texts(name: str, column: pa.Array) -> list[str]:
    if pa.types.is_timestamp(column.type) or pa.types.is_duration(column.type):
        return [UNSET if value is None else seconds_text(value) for value in column.cast(pa.int64()).to_pylist()]
    if pa.types.is_boolean(column.type):
        return [UNSET if value is None else "FT"[value] for value in column.to_pylist()]
    if name in SETS:
        return [UNSET if value is None else _escaped(value.replace("+", ",")) for value in column.to_pylist()]
    return [UNSET if value is None else _escaped(value) for value in column.to_pylist()]


def _escaped(value: Any) -> str:
    """Return a value as text that cannot be taken for a separator, or for a value that is missing or empty."""
    text = re.sub(_ESCAPED, lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), str(value))
    if text in (UNSET, EMPTY):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return text or EMPTY


def _uids(block: pa.RecordBatch) -> list[str]:
    streams = block.column("stream").to_pylist()
    if "capture" not in block.schema.names:
        return [f"C{stream}" for stream in streams]
    captures = block.column("capture").to_pylist()
    return [f"C{_escaped(capture)}:{stream}" for capture, stream in zip(captures, streams, strict=True)]
