# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that are built, written and read block by block are those that are built at once."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import pybridge
from pybridge.cli import output
from pybridge.tables import batches
from pybridge.wireshark import tshark

CAPTURE = Path(__file__).resolve().parent.parent / "pcaps" / "real" / "fast-open.pcapng"


@pytest.fixture(scope="module")
def whole() -> pybridge.Capture:
    return pybridge.read(CAPTURE)


def pieces(frame: pd.DataFrame, schema: pa.Schema) -> list[pa.RecordBatch]:
    return pa.Table.from_pandas(frame, schema, preserve_index=False).to_batches(max_chunksize=3)


def test_a_parquet_file_gives_pandas_the_types_of_the_tables(whole: pybridge.Capture, tmp_path: Path) -> None:
    for frame, schema in (
        (whole.segments, batches.SEGMENTS),
        (whole.connections.reset_index(), batches.CONNECTIONS),
    ):
        path = tmp_path / "x.parquet"
        batches.write_parquet(iter(pieces(frame, schema)), schema, path)
        pd.testing.assert_frame_equal(frame, pd.read_parquet(path))


def test_a_block_of_tshark_s_output_may_end_anywhere(whole: pybridge.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tshark, "BLOCK", 1024)
    cut = pybridge.read(CAPTURE)
    pd.testing.assert_frame_equal(whole.segments, cut.segments)
    pd.testing.assert_frame_equal(whole.connections, cut.connections)


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_text_written_in_blocks_is_the_text_written_at_once(whole: pybridge.Capture, form: str, tmp_path: Path) -> None:
    blocks = pieces(whole.segments, batches.SEGMENTS)
    texts = []
    for given in (blocks, pa.Table.from_batches(blocks).combine_chunks().to_batches()):
        output.write(iter(given), batches.SEGMENTS, form, tmp_path / "x")
        texts.append((tmp_path / "x").read_text(encoding="utf-8"))
    assert len(blocks) > 1
    assert texts[0] == texts[1]


def test_a_block_without_segments_has_all_columns() -> None:
    assert batches.SEGMENTS == batches.segments([]).schema
    assert 0 == len(batches.segments([]))


def test_nothing_is_one_valid_json_document(tmp_path: Path) -> None:
    output.write(iter([]), batches.SEGMENTS, "json", tmp_path / "x")
    assert [] == json.loads((tmp_path / "x").read_text(encoding="utf-8"))
    output.write(iter([]), batches.SEGMENTS, "csv", tmp_path / "x")
    assert batches.SEGMENTS.names == list(pd.read_csv(io.StringIO((tmp_path / "x").read_text(encoding="utf-8"))))
