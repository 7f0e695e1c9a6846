# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows that went from one process to another give back what tshark said."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pybridge.distributed import rows
from pybridge.tables import batches
from pybridge.wireshark import segments, tshark


@pytest.mark.parametrize("name", ["real/fast-open", "amsdu", "duplicate-ipv6", "6in4"])
def test_events_are_the_same_afterwards(pcaps: Path, name: str) -> None:
    (batch,) = tshark.columns(str(pcaps / f"{name}.pcapng"), segments.FIELDS, every_packet=True)
    table = pa.Table.from_batches([rows.File(0).rows(batch)])
    assert list(segments.events(batch)) == [row.event for block in rows.in_order(table) for row in block]


def test_both_directions_and_an_error_about_them_are_one_flow(pcaps: Path) -> None:
    (batch,) = tshark.columns(str(pcaps / "icmp-host-unreachable.pcapng"), segments.FIELDS, every_packet=True)
    (rows,) = rows.in_order(pa.Table.from_batches([rows.File(0).rows(batch)]))
    assert {"Segment", "NetworkError"} == {type(row.event).__name__ for row in rows}
    assert 1 == len({row.flow for row in rows})


def test_a_time_that_no_table_can_hold_is_the_nearest(pcaps: Path) -> None:
    (batch,) = tshark.columns(str(pcaps / "refused.pcapng"), segments.FIELDS, every_packet=True)
    place = batch.schema.names.index("frame.time_epoch")
    far = batch.set_column(place, "frame.time_epoch", pa.array(["-99999999999.5", "99999999999.5"]))
    rows = rows.File(0).rows(far).to_pydict()
    assert [batches.EARLIEST, batches.LATEST] == rows["time"] == rows["order"]
