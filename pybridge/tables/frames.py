# SPDX-License-Identifier: GPL-2.0-or-later
"""Make pandas tables from record batches."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from pybridge.tables import schema as table_schema
from pybridge.tcp.vocabulary import ANOMALIES, STILL_WAITING

UNREACHABLE = "unreachable"


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


def anomalies(segments: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Return a row per anomaly; see `Capture.anomalies`."""
    on_segments = _exploded(segments[["stream", "frame", "time", "sender", "anomaly"]], "anomaly")
    listed = pd.DataFrame({"stream": connections.index, "anomaly": connections["anomalies"].to_numpy()})
    on_connections = _exploded(listed, "anomaly")
    on_connections = on_connections[on_connections["anomaly"] == UNREACHABLE]  # the only one that no segment has
    found = pd.concat([on_segments, on_connections.astype({"anomaly": object})], ignore_index=True)
    found = found.astype({"stream": "int64", "frame": "Int64", "sender": segments["sender"].dtype})
    found["time"] = found["time"].astype(segments["time"].dtype)
    found["anomaly"] = pd.Categorical(found["anomaly"], categories=list(ANOMALIES))
    return found.sort_values(["stream", "frame"], kind="stable", ignore_index=True)


def _exploded(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a row for each of the names that are joined in a column."""
    some = table[table[column].notna()]
    return some.assign(**{column: some[column].astype(str).str.split("+")}).explode(column)


def in_seconds(table: pd.DataFrame) -> pd.DataFrame:
    """Return a copy with all durations as seconds; missing ones are NaN."""
    durations = [name for name in table.columns if table[name].dtype.kind == "m"]
    return table.assign(**{name: table[name].dt.total_seconds() for name in durations})


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
