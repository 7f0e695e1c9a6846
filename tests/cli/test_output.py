# SPDX-License-Identifier: GPL-2.0-or-later
"""Where tables go to: formats, files, pipes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest

import pybridge
from tests.conftest import Run
from tools.goldens.listing import GOLDEN, find

pytestmark = pytest.mark.tshark

ENGINES = ["python", "plugin"]
COMMAND = [sys.executable, "-m", "pybridge"]


@pytest.mark.parametrize(("out", "options", "begins"), [
    ("x.csv", [], b"stream,client,"),
    ("x.JSON", [], b"["),
    ("x.parquet", [], b"PAR1"),
    ("x.txt", [], b"stream  client"),
    ("csv", [], b"stream  client"),
    ("x.csv", ["--format", "json"], b"["),
])  # fmt: skip
def test_the_ending_chooses_the_format_if_no_option_does(
    run: Run, tmp_path: Path, out: str, options: list[str], begins: bytes
) -> None:
    done = run("connections", find("refused.pcapng"), "-o", out, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / out).read_bytes().startswith(begins)


@pytest.mark.parametrize("engine", ENGINES)
def test_segments_as_csv_keep_nanoseconds_and_raw_numbers(run: Run, engine: str) -> None:
    done = run("segments", find("article-wget.pcapng"), "--engine", engine, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows[1]["time"] == "2020-06-15T14:49:10.094140000Z"
    assert tuple(rows[1][name] for name in ("role", "responds_to", "response_time", "seq_raw")) == (
        "SYN-ACK",
        "1",
        "0.000115000",
        "2336326088",
    )
    assert (rows[8]["role"], rows[8]["teardown_step"]) == ("ACK-OF-FIN+FIN", "2+3")


def test_csv_and_json_keep_every_nanosecond(run: Run) -> None:
    path = find("nanoseconds.pcapng")
    listed = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.time_epoch"], capture_output=True, text=True, check=True
    ).stdout.split()
    rows = list(csv.DictReader(io.StringIO(run("segments", path, "--format", "csv").stdout)))
    objects = json.loads(run("segments", path, "--format", "json").stdout)
    fractions = [time.partition(".")[2] for time in listed]
    assert len({int(fraction) % 1000 for fraction in fractions}) > 1
    assert [row["time"].partition(".")[2].removesuffix("Z") for row in rows] == fractions
    assert [item["time"] for item in objects] == [row["time"] for row in rows]


def test_connections_as_json_are_one_document_with_seconds_as_numbers(run: Run) -> None:
    (row,) = json.loads(run("connections", find("article-wget.pcapng"), "--format", "json").stdout)
    assert tuple(row[name] for name in ("handshake_time", "termination", "sack_permitted", "anomalies")) == (
        0.000147,
        "three-way",
        True,
        None,
    )


def test_json_is_strict_and_says_null_for_what_is_missing(run: Run) -> None:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    for command in ("segments", "connections"):
        done = run(command, find("ipv6.pcapng"), find("no-tcp.pcapng"), find("unanswered.pcapng"), "--format", "json")
        rows = json.loads(done.stdout, parse_constant=refuse)
        assert rows
        assert any(value is None for row in rows for value in row.values())
    assert json.loads(run("segments", find("no-tcp.pcapng"), "--format", "json").stdout) == []


def test_parquet_keeps_the_types(run: Run, tmp_path: Path) -> None:
    done = run("connections", find("refused.pcapng"), "-o", "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    expected = pybridge.read(find("refused.pcapng")).connections.reset_index()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert table.dtypes.astype(str).to_dict() == expected.dtypes.astype(str).to_dict()


def test_parquet_is_written_to_a_pipe(tmp_path: Path) -> None:
    command = [*COMMAND, "segments", str(find("nanoseconds.pcapng")), "--format", "parquet"]
    table = pd.read_parquet(io.BytesIO(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout))
    assert isinstance(table["time"].dtype, pd.DatetimeTZDtype)
    assert str(table["response_time"].dtype) == "timedelta64[ns]"
    assert any(time.nanosecond for time in table["time"])


def test_an_empty_table_still_has_its_columns(run: Run) -> None:
    for command in ("segments", "connections"):
        empty = run(command, find("no-tcp.pcapng"), "--format", "csv").stdout
        full = run(command, find("refused.pcapng"), "--format", "csv").stdout
        assert empty.splitlines() == full.splitlines()[:1]


def test_into_a_pipe_a_table_has_a_line_per_row(run: Run) -> None:
    lines = run("segments", find("article-ssh.pcapng")).stdout.splitlines()
    rows = run("segments", find("article-ssh.pcapng"), "--format", "csv").stdout.splitlines()
    assert len(lines) == len(rows)


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_name_that_is_not_utf_8_goes_into_every_format(run: Run, tmp_path: Path, form: str) -> None:
    name = os.fsdecode(b"\xff.pcapng")
    shutil.copy(find("refused.pcapng"), tmp_path / name)
    done = run("connections", name, find("half-open.pcapng"), "--format", form, "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    content = (tmp_path / "out").read_bytes()
    assert b"udcff.pcapng" in content
    if form != "parquet":
        content.decode("utf-8")


def test_what_the_output_cannot_encode_is_escaped(run: Run, tmp_path: Path) -> None:
    shutil.copy(find("refused.pcapng"), tmp_path / "żółć.pcapng")
    for form in ("table", "csv"):
        done = run("connections", "żółć.pcapng", find("half-open.pcapng"), "--format", form, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert "\\u017c\\xf3\\u0142\\u0107.pcapng" in done.stdout
    assert run("report", "żółć.pcapng", PYTHONIOENCODING="ascii").returncode == 0


def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_stays_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert run("segments", find("refused.pcapng"), "-o", "link.csv").returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("frame,time")
    assert (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_a_pipe_as_output_is_written_to_and_not_replaced(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    done = run("segments", find("refused.pcapng"), "--format", "csv", "-o", "pipe")
    reader.join(timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "pipe").is_fifo()
    assert read == [run("segments", find("refused.pcapng"), "--format", "csv").stdout]


def test_a_reader_that_closes_the_pipe_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pybridge segments {GOLDEN}/*/*.pcapng --format csv 2>err | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    head, status = done.stdout.splitlines()
    assert head.startswith("capture,frame,time")
    assert status == "0"
    assert (tmp_path / "err").read_text() == ""
