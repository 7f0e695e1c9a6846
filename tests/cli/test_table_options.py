# SPDX-License-Identifier: GPL-2.0-or-later
"""Which rows and columns `segments` and `connections` give, and in which order."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Run
from tools.goldens.listing import find

SSH, REFUSED, WGET = (find(f"{name}.pcapng") for name in ("article-ssh", "refused", "article-wget"))


def rows(run: Run, *arguments: str | Path) -> list[dict[str, str]]:
    done = run(*arguments, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.tshark
def test_columns_come_in_the_order_in_which_they_are_named(run: Run) -> None:
    (row,) = rows(run, "connections", REFUSED, "--columns", "server_port,establishment")
    assert list(row.items()) == [("server_port", "80"), ("establishment", "refused")]


@pytest.mark.tshark
def test_failed_keeps_the_connections_that_did_not_open(run: Run) -> None:
    files = [REFUSED, WGET, find("half-open.pcapng")]
    found = rows(run, "connections", *files, "--failed")
    assert [row["establishment"] for row in found] == ["refused", "half-open"]
    assert {row["capture"] for row in rows(run, "segments", *files, "--failed")} == {str(REFUSED), str(files[2])}


@pytest.mark.tshark
def test_failed_leaves_out_a_connection_that_was_still_waiting(run: Run) -> None:
    waiting = find("unanswered.pcapng")
    assert [row["still_waiting"] for row in rows(run, "connections", waiting)] == ["True"]
    assert rows(run, "connections", waiting, "--failed") == []


@pytest.mark.tshark
def test_a_display_filter_selects_segments_and_connections(run: Run) -> None:
    syns = rows(run, "segments", WGET, "-Y", "tcp.flags.syn == 1")
    assert [row["role"] for row in syns] == ["SYN", "SYN-ACK"]
    assert len(rows(run, "connections", WGET, "-Y", "tcp.flags.fin == 1")) == 1
    assert rows(run, "connections", WGET, "-Y", "udp") == []
    assert [row["role"] for row in rows(run, "segments", WGET, "-Y", 'tcp_handshake.role == "SYN"')] == ["SYN"]


@pytest.mark.tshark
def test_streams_are_chosen_by_number(run: Run, tmp_path: Path) -> None:
    assert rows(run, "segments", WGET, "--stream", "7") == []
    assert {row["stream"] for row in rows(run, "segments", WGET, "--stream", "0", "--stream", "7")} == {"0"}


@pytest.mark.tshark
def test_rows_are_sorted_and_limited(run: Run) -> None:
    names = [find(f"{name}.pcapng") for name in ("refused", "article-wget", "half-open", "ipv6")]
    chosen = ["connections", *names, "--columns", "capture,handshake_time"]
    up = [row["handshake_time"] for row in rows(run, *chosen, "--sort", "handshake_time")]
    down = [row["handshake_time"] for row in rows(run, *chosen, "--sort", "-handshake_time")]
    assert up == sorted(filter(None, up), key=float) + [""] * up.count("")
    assert down == sorted(filter(None, down), key=float, reverse=True) + [""] * up.count("")
    assert len(set(up) - {""}) > 1
    first = rows(run, *chosen, "--sort", "-handshake_time", "--limit", "1")
    assert [row["handshake_time"] for row in first] == down[:1]
    assert rows(run, *chosen, "--limit", "0") == []


@pytest.mark.tshark
def test_options_work_for_parquet_too(run: Run, tmp_path: Path) -> None:
    assert run("segments", WGET, "--columns", "frame,role", "--limit", "2", "-o", "x.parquet").returncode == 0
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.to_pydict() == {"frame": [1, 2], "role": ["SYN", "SYN-ACK"]}
    assert table.schema.metadata[b"pybridge.schema"]


@pytest.mark.parametrize(("options", "said"), [
    (["--columns", "stream,clint"], "There is no column 'clint': did you mean client?"),
    (["--columns", "opening"], "There is no column 'opening': did you mean establishment?"),
    (["--sort", "-durtion"], "There is no column 'durtion': did you mean duration?"),
    (["--columns", "capture"], "There is no column 'capture': did you mean captured?"),
    (["--columns", "zzzz"], "There is no column 'zzzz': choose from stream, client"),
    (["-o", "x.xls"], "x.xls has an ending that stands for no format of this command: choose from .txt, .log, .csv, .json"),
])  # fmt: skip
def test_what_does_not_exist_is_an_error_before_the_work(run: Run, tmp_path: Path, options: list[str], said: str) -> None:
    done = run("connections", REFUSED, *options)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert not (tmp_path / "x.xls").exists()


@pytest.mark.parametrize(
    "command", [["report", REFUSED], ["ladder", REFUSED, "0"], ["annotate", REFUSED], ["notebook"], ["plugin", "profile"]]
)
def test_whatever_is_written_has_an_ending_that_is_known(run: Run, command: list[str]) -> None:
    done = run(*command, "-o", "x.docx")
    assert done.returncode == 2
    assert "x.docx has an ending that stands for no format of this command" in done.stderr


@pytest.mark.tshark
def test_a_wrong_filter_is_explained_by_tshark_and_leaves_no_file(run: Run, tmp_path: Path) -> None:
    done = run("segments", REFUSED, "-Y", "tcp.port ==", "-o", "x.csv")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "'tcp.port ==' is not a display filter (" in done.stderr
    assert list(tmp_path.glob("x.csv")) == []


@pytest.mark.tshark
def test_a_capture_alone_prints_its_summary(run: Run) -> None:
    alone, named = run(REFUSED), run("summary", REFUSED)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout == named.stdout
    assert alone.stdout.startswith("refused.pcapng: 1 TCP connection, 2 TCP segments\n")
    assert run("-", stdin=REFUSED.read_bytes()).stdout.startswith("standard input: 1 TCP connection")
    assert "2 captures: 2 TCP connections" in run(REFUSED, WGET).stdout


def test_a_word_that_is_neither_command_nor_capture_is_an_error(run: Run) -> None:
    assert "No such command 'conections'" in run("conections").stderr
    missing = run("missing.pcapng")
    assert (missing.returncode, missing.stderr) == (2, "pybridge: missing.pcapng does not exist: check the file's name.\n")


@pytest.mark.tshark
def test_the_report_opens_in_the_browser(run: Run, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    done = run("report", REFUSED, "--open", BROWSER=f"{browser} %s")
    assert done.returncode == 0
    assert (tmp_path / "opened").read_text().strip() == (tmp_path / "report.html").as_uri()
