# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables in the form of Zeek's logs."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from pybridge.tables import schema
from pybridge.tables.zeek import write_zeek
from tests.conftest import Run
from tools.goldens.listing import find


def written(table: pa.Table) -> list[list[str]]:
    stream = io.StringIO()
    write_zeek(table.to_batches(), table.schema, stream)
    return [line.split("\t") for line in stream.getvalue().removesuffix("\n").split("\n")]


@pytest.mark.tshark
def test_connections_begin_as_conn_log_does(run: Run) -> None:
    done = run("connections", find("refused.pcapng"), "--format", "zeek")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["#separator \\x09"]
    names, types, row = lines[5], lines[6], lines[7]
    assert names[:14] == [
        "#fields", "ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes",
        "resp_bytes", "conn_state", "history", "orig_pkts",
    ]  # fmt: skip
    assert types[1:8] == ["time", "string", "addr", "port", "addr", "port", "enum"]
    assert row[:8] == ["1704067200.000000000", "C0", "10.0.0.1", "50000", "10.0.0.2", "80", "tcp", "0.000150000"]
    assert row[10] == "REJ"
    assert len(names) == len(types) == len(row) + 1
    assert set(schema.CONNECTIONS.names) - set(names) == {
        "start", "client", "client_port", "server", "server_port", "client_bytes", "server_bytes", "client_segments",
        "server_segments",
    }  # fmt: skip


@pytest.mark.tshark
def test_the_ending_log_means_zeek(run: Run) -> None:
    done = run("segments", find("refused.pcapng"), "-o", "/dev/stdout", "--format", "zeek", "--columns", "frame,time,anomaly")
    assert done.stdout.splitlines()[-2:] == ["1\t1704067200.000000000\t-", "2\t1704067200.000150000\tconnection-refused"]
    assert run("segments", find("refused.pcapng"), "-o", "x.log").returncode == 0


def test_what_a_name_contains_is_no_separator() -> None:
    table = pa.table({"capture": ["a\tb\nc\\", "-", "(empty)", "", None], "anomaly": ["one+two", None, None, None, None]})
    assert written(table)[-5:] == [
        ["a\\x09b\\x0ac\\x5c", "one,two"], ["\\x2d", "-"], ["\\x28empty)", "-"], ["(empty)", "-"], ["-", "-"],
    ]  # fmt: skip
