# SPDX-License-Identifier: GPL-2.0-or-later
"""What `verify` compares is what the plugin says: no other column can differ, and each of these can."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import pytest

import pybridge
from pybridge.engine import engine_by_name
from pybridge.tables.schema import CATEGORIES, CONNECTIONS, SEGMENTS
from pybridge.tcp.model import Annotation
from pybridge.verification import SHARED, compare
from pybridge.wireshark import plugin_engine, plugin_files
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

# Together they have every field of the plugin.
CAPTURES = [
    "article-wget",
    "syn-ack-retransmission",
    "fast-open-cookie",
    "ecn-negotiated",
    "fin-retransmission",
    "syn-retransmission",
    "refused",
    "rst-by-server",
    "probe",
]
ENDS = {"client", "client_port", "server", "server_port"}  # the plugin says them by `sender` alone


def plugin_fields(path: Path) -> pa.Table:
    """What tshark prints with the plugin loaded."""
    source = CaptureSource(str(path), str(path))
    return pa.Table.from_batches(read_columns(source, plugin_engine.FIELDS, plugin=plugin_files.path()))


def read(path: Path, fields: pa.Table) -> pybridge.Capture:
    with patch.object(plugin_engine, "read_columns", lambda *_, **__: iter(fields.combine_chunks().to_batches())):
        return pybridge.read(path, engine_by_name("plugin"), progress=False)


def other(name: str, value: str) -> str:
    """Another value that the field could have."""
    if name in ("sack_permitted", "timestamps", "retransmission"):
        return "0" if value in ("1", "True") else "1"
    if name == "anomaly":
        return "fin-retransmission" if "fin" not in value else "syn-retransmission"
    if name in CATEGORIES:
        return next(word for word in CATEGORIES[name] if word != value.replace(",", "+")).replace("+", ",")
    return f"{value[:-1]}{(int(value[-1]) + 1) % 10}" if value[-1].isdigit() else f"{value}S"


def test_every_compared_column_is_the_plugin_s_and_no_other() -> None:
    changed: dict[str, set[str]] = {"segments": set(), "connections": set()}
    for path in map(find, (f"{name}.pcapng" for name in CAPTURES)):
        fields = plugin_fields(path)
        before = read(path, fields)
        # A change of sender or role moves headers from one end to the other.
        for name in (field for field in fields.column_names if field.startswith("tcp_handshake.")):
            field = name.removeprefix("tcp_handshake.")
            if field in ("sender", "role", "stream"):
                continue
            values = [value and other(field, value) for value in fields.column(name).to_pylist()]
            place = fields.column_names.index(name)
            after = read(path, fields.set_column(place, name, pa.array(values, pa.string())))
            for table, found in changed.items():
                one, two = getattr(before, table).reset_index(), getattr(after, table).reset_index()
                found |= {column for column in one if not one[column].equals(two[column])}
    assert changed["connections"] == set(CONNECTIONS.names) - {"stream"} - set(SHARED["connections"]) - ENDS
    assert changed["segments"] == set(SEGMENTS.names) - set(SHARED["segments"]) - {"sender", "role"}
    assert changed["segments"] | {"sender", "role"} == set(Annotation._fields)


@pytest.mark.parametrize("table", ["segments", "connections"])
def test_a_difference_in_any_column_but_the_shared_ones_is_reported(table: str) -> None:
    capture = pybridge.read(find("article-wget.pcapng"), progress=False)
    for column in getattr(capture, table).columns:
        changed = pybridge.Capture(capture.source, capture.segments.copy(), capture.connections.copy())
        values = getattr(changed, table)[column].copy()
        values.iloc[0] = pd.NA if pd.notna(values.iloc[0]) and values.dtype.name not in ("bool", "int64") else _different(values)
        getattr(changed, table)[column] = values
        if column == "frame":  # then it is another segment
            continue
        found = compare(capture, changed)
        assert found["column"].tolist() == ([] if column in SHARED[table] else [column]), column


def _different(values: pd.Series) -> object:
    if values.dtype.name in ("bool", "int64"):
        return values.dtype.type(not values.iloc[0])
    if values.dtype.name == "category":
        return values.cat.categories[0]
    return "x" if values.dtype == object or values.dtype.name in ("str", "string") else pd.Series([1]).astype(values.dtype)[0]
