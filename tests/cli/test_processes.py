# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, run as a user runs them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

import pybridge
from tests.conftest import Run
from tools.goldens.listing import REAL, find

pytestmark = pytest.mark.tshark

ENGINES = ["python", "plugin"]


@pytest.mark.parametrize("engine", ENGINES)
def test_segments_as_csv_keep_nanoseconds_and_raw_numbers(run: Run, engine: str) -> None:
    done = run("segments", find("article-wget.pcapng"), "--engine", engine, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (0, "") == (done.returncode, done.stderr)
    assert "2020-06-15T14:49:10.094140000Z" == rows[1]["time"]
    assert ("SYN-ACK", "1", "0.000115000", "2336326088") == tuple(
        rows[1][name] for name in ("role", "responds_to", "response_time", "seq_raw")
    )
    assert ("ACK-OF-FIN+FIN", "2+3") == (rows[8]["role"], rows[8]["teardown_step"])


def test_connections_as_json_are_one_document_with_seconds_as_numbers(run: Run) -> None:
    (row,) = json.loads(run("connections", find("article-wget.pcapng"), "--format", "json").stdout)
    assert (0.000147, "three-way", True, None) == tuple(
        row[name] for name in ("handshake_time", "termination", "sack_permitted", "anomalies")
    )


def test_parquet_keeps_the_types(run: Run, tmp_path: Path) -> None:
    done = run("connections", find("refused.pcapng"), "-o", "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    expected = pybridge.read(find("refused.pcapng")).connections.reset_index()
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert expected.dtypes.astype(str).to_dict() == table.dtypes.astype(str).to_dict()


def test_several_captures_become_one_table_with_the_column_capture(run: Run) -> None:
    names = [str(find("refused.pcapng")), str(find("half-open.pcapng"))]
    rows = list(csv.DictReader(io.StringIO(run("connections", *names, "--format", "csv").stdout)))
    assert list(zip(names, ["refused", "half-open"], strict=True)) == [(row["capture"], row["establishment"]) for row in rows]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_can_come_from_standard_input(run: Run, engine: str) -> None:
    content = (find("refused.pcapng")).read_bytes()
    done = run("connections", "-", "--engine", engine, "--format", "csv", stdin=content)
    assert (0, "") == (done.returncode, done.stderr)
    assert ",refused,reset,server," in done.stdout


def test_verify_says_how_many_agree(run: Run) -> None:
    done = run("verify", find("refused.pcapng"), find("article-wget.pcapng"))
    assert (0, "2 agree, 0 differ, 0 could not be read.\n") == (done.returncode, done.stdout)


def test_verify_goes_on_after_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.pcap").write_text("hello, this is no capture at all")
    done = run("verify", "text.pcap", find("refused.pcapng"))
    assert (2, "1 agree, 0 differ, 1 could not be read.\n") == (done.returncode, done.stdout)


def test_the_report_is_a_page_and_a_summary(run: Run, tmp_path: Path) -> None:
    done = run("report", find("refused.pcapng"), "-o", "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert 0 == done.returncode
    assert "refused" in done.stdout
    assert "connection-refused" in done.stdout
    assert "<svg" in page
    assert "default-src 'none'" in page, "what that means is tried in tests/test_browser.py"


def test_a_report_that_is_there_is_replaced_and_that_is_said_first(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    done = run("report", find("refused.pcapng"))
    assert done.stderr.splitlines() == [
        "pybridge: report.html exists: it is replaced when the new one is complete.",
        "pybridge: report written to report.html",
    ]
    assert "refused" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]
    (tmp_path / "report.html").write_text("old")
    assert 2 == run("report", "missing.pcapng").returncode
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_folder_is_named_alone_by_whatever_reads_captures(run: Run) -> None:
    for command in ("segments", "connections", "report"):
        done = run(command, REAL, find("refused.pcapng"))
        assert 2 == done.returncode
        assert "name it alone" in done.stderr


def test_version_and_help_end_well(run: Run) -> None:
    assert pybridge.__version__ in run("--version").stdout
    assert 0 == run("--help").returncode
    assert 0 == run("segments", "--help").returncode


def test_an_unknown_option_is_an_error_that_says_so(run: Run) -> None:
    done = run("segments", "--nonsense", "x.pcap")
    assert 2 == done.returncode
    assert "--nonsense" in done.stderr
