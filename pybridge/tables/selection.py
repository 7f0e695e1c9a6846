# SPDX-License-Identifier: GPL-2.0-or-later
"""Choose rows and columns of record batches: which connections, in which order, how many, with which columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from pybridge.errors import ColumnError
from pybridge.tcp.vocabulary import FAILED

DESCENDING = "-"
"""Before the name of a column: the greatest value first."""

ON_TERMINAL = {
    "opening": "establishment", "handshake": "handshake_time", "closing": "termination", "by": "closed_by", "flags": "tcp_flags",
    "bytes": "client_bytes", "step": "handshake_step",
}  # fmt: skip
"""Columns by what people may call them; some are headings on a terminal."""

Blocks = Iterable[pa.RecordBatch]


def check_columns(names: Iterable[str], schema: pa.Schema) -> None:
    """Raise if a table lacks a column.

    Raises
    ------
    ColumnError
        The message names the nearest column.
    """
    known = schema.names
    for name in names:
        if name in known:
            continue
        near = get_close_matches(name, [*known, *ON_TERMINAL], 1)
        advice = f"did you mean {ON_TERMINAL.get(near[0], near[0])}?" if near else f"choose from {', '.join(known)}."
        raise ColumnError(f"There is no column {name!r}: {advice}")


def failed(connections: pa.RecordBatch) -> pa.BooleanArray:
    """Return which connections did not open, without those that still waited for an answer (rules C4, C23)."""
    kinds = connections.column("establishment").cast(pa.string())
    return pc.and_(pc.is_in(kinds, pa.array(FAILED)), pc.invert(connections.column("still_waiting")))


def failed_streams(connections: Blocks) -> set[int]:
    """Return the streams of the connections that did not open."""
    return {stream for block in connections for stream in block.filter(failed(block)).column("stream").to_pylist()}


def where(blocks: Blocks, column: str, values: Collection[int]) -> Iterator[pa.RecordBatch]:
    """Yield the rows that have one of these values."""
    chosen = pa.array(list(values), pa.int64())
    for block in blocks:
        yield block.filter(pc.is_in(block.column(column), chosen))


def ordered(blocks: Blocks, schema: pa.Schema, column: str) -> list[pa.RecordBatch]:
    """Return the rows in the order of a column, missing values last; descending if its name begins with a minus.

    Categories are in the order of their texts. Rows with equal values keep their order.
    """
    name = column.removeprefix(DESCENDING)
    table = pa.Table.from_batches(blocks, schema)
    values = table.column(name)
    if pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    keys = pa.table({"value": values, "place": pa.array(range(len(table)), pa.int64())})
    order = "descending" if column.startswith(DESCENDING) else "ascending"
    places = pc.sort_indices(keys, sort_keys=[("value", order), ("place", "ascending")], null_placement="at_end")
    sorted_batches: list[pa.RecordBatch] = table.take(places).to_batches()
    return sorted_batches


def first(blocks: Blocks, limit: int) -> Iterator[pa.RecordBatch]:
    """Yield the first rows, and read no further."""
    left = limit
    for block in blocks:
        yield block.slice(0, left)
        left -= min(left, len(block))
        if not left:
            return


def columns(blocks: Blocks, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows with these columns only, in this order."""
    for block in blocks:
        yield block.select(names)
