# SPDX-License-Identifier: GPL-2.0-or-later
"""Make pandas tables from record batches."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from pybridge.tables import schema as table_schema
from pybridge.tcp.vocabulary import STILL_WAITING


def segments(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Return the table of segments, typed also when empty."""
    return frame(blocks, table_schema.SEGMENTS)


def connections(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Return the table of connections, index `stream`, typed also when empty."""
    return frame(blocks, table_schema.CONNECTIONS).set_index("stream")


def frame(blocks: Iterable[pa.RecordBatch], schema: pa.Schema) -> pd.DataFrame:
    """Return one table made of batches with this schema."""
    table = pa.Table.from_batches(blocks, schema)
    return pd.DataFrame({field.name: _series(field, table.column(field.name)) for field in schema})


def outcomes(connections: pd.DataFrame) -> pd.Series:
    """Return how each connection opened: its `establishment`, or `still-waiting` (rules C4, C23)."""
    establishment = connections["establishment"].astype(object)
    return establishment.where(~connections["still_waiting"], STILL_WAITING)


def steps(segments: pd.DataFrame) -> pd.Series:
    """Return the steps of `segments` as one column of text: of the handshake, of the teardown, both, or none."""
    handshake, teardown = (segments[name].astype("string") for name in ("handshake_step", "teardown_step"))
    return handshake.str.cat(teardown, sep=" ", na_rep="").str.strip()


def _series(field: pa.Field, column: pa.ChunkedArray) -> pd.Series:
    dtype = table_schema.pandas_dtype(field)
    if dtype:
        return pd.Series(column.to_pandas(types_mapper=lambda _: pd.api.types.pandas_dtype(dtype)))
    if field.type == table_schema.CATEGORY and not column.num_chunks:
        return pd.Series(pd.Categorical([], categories=list(table_schema.CATEGORIES[field.name])))
    series: pd.Series = column.to_pandas()
    return series
