# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables and files are as docs/schema.md documents them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pybridge
from pybridge.tables import frames, schema
from tests.conftest import Run
from tools.goldens.listing import find

DOCUMENT = (Path(__file__).resolve().parent.parent.parent / "docs" / "schema.md").read_text(encoding="utf-8")


def documented(heading: str) -> list[list[str]]:
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.split(r" *\| *", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("heading", "columns", "empty"),
    [
        ("segments", schema.SEGMENTS, frames.segments([])),
        ("connections", schema.CONNECTIONS, frames.connections([]).reset_index()),
    ],
)
def test_columns_are_as_documented(heading: str, columns: pa.Schema, empty: pd.DataFrame) -> None:
    said = [(name.strip("`"), arrow, dtype, missing == "yes") for name, arrow, dtype, missing in documented(heading)]
    kinds = [("dictionary of string" if field.type == schema.CATEGORY else str(field.type)) for field in columns]
    dtypes = [str(dtype) for dtype in empty.dtypes]
    assert [(a, b, d) for a, b, _, d in said] == [(f.name, kind, f.nullable) for f, kind in zip(columns, kinds, strict=True)]
    strings = {"str", "object"}  # pandas 3 and 2
    assert [dtype in strings or dtype for _, _, dtype, _ in said] == [dtype in strings or dtype for dtype in dtypes]


def test_categories_are_as_documented() -> None:
    said = {name.strip("`"): tuple(re.findall("`([^`]+)`", values)) for name, values in documented("Categories")}
    assert said == {name: tuple(values) for name, values in schema.CATEGORIES.items()}


@pytest.mark.tshark
def test_files_carry_the_version(run: Run, tmp_path: Path) -> None:
    version = re.search(r"^Version (\S+)\.", DOCUMENT, re.MULTILINE)[1].encode()
    for table in ("segments", "connections"):
        for form in ("parquet", "arrow"):
            assert run(table, find("refused.pcapng"), "-o", f"{table}.{form}").returncode == 0
        assert pq.read_schema(tmp_path / f"{table}.parquet").metadata[b"pybridge.schema"] == version
        assert pa.ipc.open_file(tmp_path / f"{table}.arrow").schema.metadata[b"pybridge.schema"] == version


@pytest.mark.tshark
def test_every_format_holds_the_same(run: Run, tmp_path: Path) -> None:
    for form in ("csv", "json", "jsonl", "parquet", "arrow"):
        assert run("connections", find("article-curl.pcapng"), "-o", f"x.{form}").returncode == 0
    expected = pybridge.read(find("article-curl.pcapng"), progress=False).connections.reset_index()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), expected)
    pd.testing.assert_frame_equal(pd.read_feather(tmp_path / "x.arrow"), expected)
    for loaded in (
        pd.read_csv(tmp_path / "x.csv"),
        pd.read_json(tmp_path / "x.json"),
        pd.read_json(tmp_path / "x.jsonl", lines=True),
    ):
        assert list(loaded.columns) == list(expected.columns)
        assert loaded["establishment"].tolist() == expected["establishment"].tolist()
        assert loaded["handshake_time"].tolist() == expected["handshake_time"].dt.total_seconds().tolist()


@pytest.mark.tshark
def test_several_captures_in_one_table() -> None:
    paths = [find("refused.pcapng"), find("article-wget.pcapng")]
    segments, connections = pybridge.read_all(paths, progress=False)
    alone = [pybridge.read(path, progress=False) for path in paths]
    assert list(segments.columns[:2]) == ["capture", "frame"]
    assert connections["capture"].tolist() == list(map(str, paths))
    assert segments["role"].tolist() == [role for capture in alone for role in capture.segments["role"]]
    assert segments["role"].dtype == alone[0].segments["role"].dtype, "still a category"
    assert pybridge.read_all([])[1].empty
