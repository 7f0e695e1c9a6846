# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that went from one process to another give the same events as tshark's output."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pybridge.distributed import rows
from pybridge.tables import schema
from pybridge.wireshark import segments
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.fields import FIELDS
from tools.goldens.listing import REAL, find

pytestmark = pytest.mark.tshark


def packets(path: Path) -> list[pa.RecordBatch]:
    return list(read_columns(CaptureSource(str(path), str(path)), FIELDS, every_packet=True))


@pytest.mark.parametrize(
    "path",
    [REAL / "fast-open.pcapng", *map(find, ["amsdu.pcapng", "duplicate-ipv6.pcapng", "6in4.pcapng"])],
    ids=lambda path: path.stem,
)
def test_rows_give_the_same_events_after_transport(path: Path) -> None:
    (batch,) = packets(path)
    table = pa.Table.from_batches([rows.FileRows(0).rows(batch)])
    assert [row.event for block in rows.in_order(table) for row in block] == list(segments.events(batch))


def test_both_directions_and_an_error_about_them_are_one_flow() -> None:
    (batch,) = packets(find("icmp-host-unreachable.pcapng"))
    (block,) = rows.in_order(pa.Table.from_batches([rows.FileRows(0).rows(batch)]))
    assert {type(row.event).__name__ for row in block} == {"Segment", "NetworkError"}
    assert len({row.flow for row in block}) == 1


def test_a_time_beyond_the_range_of_the_table_becomes_the_nearest() -> None:
    (batch,) = packets(find("refused.pcapng"))
    place = batch.schema.names.index("frame.time_epoch")
    far = batch.set_column(place, "frame.time_epoch", pa.array(["-99999999999.5", "99999999999.5"]))
    columns = rows.FileRows(0).rows(far).to_pydict()
    assert columns["time"] == columns["order"] == [schema.EARLIEST, schema.LATEST]
