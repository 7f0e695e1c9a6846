# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables built, written and read block by block equal those built at once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import pybridge
from pybridge.cli.table_commands import _write as write
from pybridge.tables import batches, schema, writers
from pybridge.wireshark import columns
from tools.goldens.listing import REAL

CAPTURE = REAL / "fast-open.pcapng"


@pytest.fixture(scope="module")
def whole() -> pybridge.Capture:
    return pybridge.read(CAPTURE)


def pieces(frame: pd.DataFrame, columns: pa.Schema) -> list[pa.RecordBatch]:
    return pa.Table.from_pandas(frame, columns, preserve_index=False).to_batches(max_chunksize=3)


@pytest.mark.tshark
def test_a_parquet_file_gives_pandas_the_types_of_the_tables(whole: pybridge.Capture, tmp_path: Path) -> None:
    for frame, columns_of in (
        (whole.segments, schema.SEGMENTS),
        (whole.connections.reset_index(), schema.CONNECTIONS),
    ):
        path = tmp_path / "x.parquet"
        writers.write_parquet(iter(pieces(frame, columns_of)), columns_of, path)
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame)


@pytest.mark.tshark
def test_a_block_of_tshark_s_output_may_end_anywhere(whole: pybridge.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BLOCK", 1024)
    cut = pybridge.read(CAPTURE)
    pd.testing.assert_frame_equal(cut.segments, whole.segments)
    pd.testing.assert_frame_equal(cut.connections, whole.connections)


@pytest.mark.tshark
@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_text_written_in_blocks_is_the_text_written_at_once(whole: pybridge.Capture, form: str, tmp_path: Path) -> None:
    blocks = pieces(whole.segments, schema.SEGMENTS)
    texts = []
    for given in (blocks, pa.Table.from_batches(blocks).combine_chunks().to_batches()):
        write(iter(given), schema.SEGMENTS, form, tmp_path / "x")
        texts.append((tmp_path / "x").read_text(encoding="utf-8"))
    assert len(blocks) > 1
    assert texts[0] == texts[1]


def test_a_block_without_segments_has_all_columns() -> None:
    assert batches.segments([]).schema == schema.SEGMENTS
    assert len(batches.segments([])) == 0


def test_an_empty_table_is_a_valid_json_document_and_csv_with_a_heading(tmp_path: Path) -> None:
    write(iter([]), schema.SEGMENTS, "json", tmp_path / "x")
    assert json.loads((tmp_path / "x").read_text(encoding="utf-8")) == []
    write(iter([]), schema.SEGMENTS, "csv", tmp_path / "x")
    assert list(pd.read_csv(io.StringIO((tmp_path / "x").read_text(encoding="utf-8")))) == schema.SEGMENTS.names
