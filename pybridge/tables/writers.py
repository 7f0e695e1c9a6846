# SPDX-License-Identifier: GPL-2.0-or-later
"""Write record batches as Parquet or Arrow files as they come, without pandas."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 100_000
"""Rows of a Parquet file that are compressed together."""


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
