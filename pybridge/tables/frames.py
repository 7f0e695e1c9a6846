# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place that makes pandas tables, from record batches."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from pybridge.tables import batches


def segments(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """The table of segments, typed also when empty."""
    return frame(blocks, batches.SEGMENTS)


def connections(blocks: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """The table of connections, index `stream`, typed also when empty."""
    return frame(blocks, batches.CONNECTIONS).set_index("stream")


def frame(blocks: Iterable[pa.RecordBatch], schema: pa.Schema) -> pd.DataFrame:
    """One table of batches with this schema."""
    table = pa.Table.from_batches(blocks, schema)
    return pd.DataFrame({field.name: _series(field, table.column(field.name)) for field in schema})


def steps(segments: pd.DataFrame) -> pd.Series:
    """The steps of `segments` in one column of text: of the handshake, of the teardown, both, or none."""
    handshake, teardown = (segments[name].astype("string") for name in ("handshake_step", "teardown_step"))
    return handshake.str.cat(teardown, sep=" ", na_rep="").str.strip()


def _series(field: pa.Field, column: pa.ChunkedArray) -> pd.Series:
    dtype = batches.pandas_dtype(field)
    if dtype:
        return pd.Series(column.to_pandas(types_mapper=lambda _: pd.api.types.pandas_dtype(dtype)))
    if field.type == batches.CATEGORY and not column.num_chunks:
        return pd.Series(pd.Categorical([], categories=list(batches.CATEGORIES[field.name])))
    series: pd.Series = column.to_pandas()
    return series
