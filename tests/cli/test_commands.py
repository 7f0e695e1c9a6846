# SPDX-License-Identifier: GPL-2.0-or-later
"""Where captures come from and tables go to: pipes, terminals, odd names, formats."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest

from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

ENGINES = ["python", "plugin"]
COMMAND = [sys.executable, "-m", "pybridge"]
ODD_NAMES = [
    "new\nline.pcapng",
    "tab\t.pcapng",
    "--format",
    "%s {x}.pcapng",
    os.fsdecode(b"not utf-8 \xff.pcapng"),
    "\x1b[31mred.pcapng",
]


def in_terminal(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run with a terminal as all three standard streams: the exit status, and what is seen there."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 2000))
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=os.environ | environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux: the other side is closed
            data = b""
        if not data:
            break
        seen += data
    os.close(ours)
    return process.wait(), seen.decode(errors="replace")


def slow_tshark(folder: Path) -> str:
    """A PATH on which tshark takes longer than the progress bar waits before it shows itself."""
    folder.mkdir()
    script = folder / "tshark"
    script.write_text(f'#!/bin/sh\n[ "$1" = -v ] || sleep 1.2\nexec {shutil.which("tshark")} "$@"\n')
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


# Where from


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["amsdu", "article-ssh"])  # the first needs a second look at its packets
def test_standard_input_gives_what_the_file_gives(run: Run, name: str, engine: str) -> None:
    path = find(f"{name}.pcapng")
    by_name = run("segments", path, "--engine", engine, "--format", "csv")
    piped = run("segments", "-", "--engine", engine, "--format", "csv", stdin=path.read_bytes())
    with path.open("rb") as file:
        redirected = subprocess.run(
            [*COMMAND, "segments", "-", "--engine", engine, "--format", "csv"], stdin=file, capture_output=True, check=True
        )
    assert by_name.stdout.count("\n") > 2
    assert (by_name.stdout, "") == (piped.stdout, piped.stderr)
    assert by_name.stdout == redirected.stdout.decode()


def test_verify_compares_what_comes_from_standard_input(run: Run) -> None:
    done = run("verify", "-", stdin=(find("amsdu.pcapng")).read_bytes())
    assert (0, "1 agree, 0 differ, 0 could not be read.\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_report_of_standard_input_is_written(run: Run, tmp_path: Path) -> None:
    done = run("report", "-", "-o", "page.html", stdin=(find("refused.pcapng")).read_bytes())
    assert 0 == done.returncode
    assert "connection-refused" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_named_pipe_is_read_like_a_file(run: Run, tmp_path: Path, engine: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((find("amsdu.pcapng")).read_bytes()))
    writer.start()
    done = run("connections", "pipe", "--engine", engine, "--format", "csv")
    writer.join(timeout=10)
    assert (0, "") == (done.returncode, done.stderr)
    assert run("connections", find("amsdu.pcapng"), "--format", "csv").stdout == done.stdout


def test_several_captures_may_include_standard_input_once(run: Run) -> None:
    content = (find("refused.pcapng")).read_bytes()
    once = run("connections", find("half-open.pcapng"), "-", "--format", "csv", stdin=content)
    twice = run("connections", "-", "-", "--format", "csv", stdin=content)
    assert ["half-open", "refused"] == [row["establishment"] for row in csv.DictReader(io.StringIO(once.stdout))]
    assert (2, "") == (twice.returncode, twice.stdout)
    assert "Standard input can be read only once" in twice.stderr


def test_a_terminal_as_standard_input_is_not_waited_for(tmp_path: Path) -> None:
    status, seen = in_terminal(tmp_path, "connections", "-")
    assert 2 == status
    assert "pybridge: Nothing comes from standard input: pipe a capture into it, or name a file." in seen


@pytest.mark.parametrize("engine", ENGINES)
def test_file_names_may_hold_anything(run: Run, tmp_path: Path, engine: str) -> None:
    for name in ODD_NAMES:
        shutil.copy(find("amsdu.pcapng"), tmp_path / name)
    one = run("connections", find("amsdu.pcapng"), "--format", "csv").stdout.splitlines()[1:]
    done = run("connections", "--engine", engine, "--format", "csv", "--", *ODD_NAMES)
    rows = list(csv.reader(io.StringIO(done.stdout, newline="")))[1:]
    assert (0, "") == (done.returncode, done.stderr)
    assert [row for _ in ODD_NAMES for row in csv.reader(one)] == [row[1:] for row in rows]
    assert len(set(ODD_NAMES)) == len({row[0] for row in rows})


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_a_name_that_is_not_utf_8_goes_into_every_format(run: Run, tmp_path: Path, form: str) -> None:
    name = os.fsdecode(b"\xff.pcapng")
    shutil.copy(find("refused.pcapng"), tmp_path / name)
    done = run("connections", name, find("half-open.pcapng"), "--format", form, "-o", "out")
    assert (0, "") == (done.returncode, done.stderr)
    content = (tmp_path / "out").read_bytes()
    assert b"udcff.pcapng" in content
    if form != "parquet":
        content.decode("utf-8")


# Where to


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
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert (tmp_path / out).read_bytes().startswith(begins)


def test_parquet_goes_down_a_pipe(tmp_path: Path) -> None:
    command = [*COMMAND, "segments", str(find("nanoseconds.pcapng")), "--format", "parquet"]
    table = pd.read_parquet(io.BytesIO(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout))
    assert isinstance(table["time"].dtype, pd.DatetimeTZDtype)
    assert "timedelta64[ns]" == str(table["response_time"].dtype)
    assert any(time.nanosecond for time in table["time"])


def test_parquet_is_refused_on_a_terminal(tmp_path: Path) -> None:
    status, seen = in_terminal(tmp_path, "segments", str(find("refused.pcapng")), "--format", "parquet")
    assert 2 == status
    assert "PAR1" not in seen
    assert "pybridge: Parquet is not for a terminal: add -o FILE.parquet." in seen


def test_json_is_strict_and_says_null_for_what_is_missing(run: Run) -> None:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    for command in ("segments", "connections"):
        done = run(command, find("ipv6.pcapng"), find("no-tcp.pcapng"), find("unanswered.pcapng"), "--format", "json")
        rows = json.loads(done.stdout, parse_constant=refuse)
        assert rows
        assert any(value is None for row in rows for value in row.values())
    assert [] == json.loads(run("segments", find("no-tcp.pcapng"), "--format", "json").stdout)


def test_csv_and_json_keep_every_nanosecond(run: Run) -> None:
    path = find("nanoseconds.pcapng")
    listed = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.time_epoch"], capture_output=True, text=True, check=True
    ).stdout.split()
    rows = list(csv.DictReader(io.StringIO(run("segments", path, "--format", "csv").stdout)))
    objects = json.loads(run("segments", path, "--format", "json").stdout)
    fractions = [time.partition(".")[2] for time in listed]
    assert len({int(fraction) % 1000 for fraction in fractions}) > 1
    assert fractions == [row["time"].partition(".")[2].removesuffix("Z") for row in rows]
    assert [row["time"] for row in rows] == [item["time"] for item in objects]


def test_an_empty_table_still_has_its_columns(run: Run) -> None:
    for command in ("segments", "connections"):
        empty = run(command, find("no-tcp.pcapng"), "--format", "csv").stdout
        full = run(command, find("refused.pcapng"), "--format", "csv").stdout
        assert full.splitlines()[:1] == empty.splitlines()


def test_into_a_pipe_a_table_has_a_line_per_row(run: Run) -> None:
    lines = run("segments", find("article-ssh.pcapng")).stdout.splitlines()
    rows = run("segments", find("article-ssh.pcapng"), "--format", "csv").stdout.splitlines()
    assert len(rows) == len(lines)


def test_what_the_output_cannot_encode_is_escaped(run: Run, tmp_path: Path) -> None:
    shutil.copy(find("refused.pcapng"), tmp_path / "żółć.pcapng")
    for form in ("table", "csv"):
        done = run("connections", "żółć.pcapng", find("half-open.pcapng"), "--format", form, PYTHONIOENCODING="ascii")
        assert (0, "") == (done.returncode, done.stderr)
        assert "\\u017c\\xf3\\u0142\\u0107.pcapng" in done.stdout
    assert 0 == run("report", "żółć.pcapng", PYTHONIOENCODING="ascii").returncode


def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_stays_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "real.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert 0 == run("segments", find("refused.pcapng"), "-o", "link.csv").returncode
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("frame,time")
    assert 0o600 == (tmp_path / "real.csv").stat().st_mode & 0o777
    assert ["link.csv", "real.csv"] == sorted(entry.name for entry in tmp_path.iterdir())


def test_a_pipe_as_output_is_written_to_and_not_replaced(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    done = run("segments", find("refused.pcapng"), "--format", "csv", "-o", "pipe")
    reader.join(timeout=10)
    assert (0, "") == (done.returncode, done.stderr)
    assert (tmp_path / "pipe").is_fifo()
    assert [run("segments", find("refused.pcapng"), "--format", "csv").stdout] == read


# What a terminal shows


def test_text_from_a_file_name_is_escaped_on_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[31m\x9bred\u202e.pcapng"
    shutil.copy(find("refused.pcapng"), tmp_path / name)
    path = slow_tshark(tmp_path / "slow")
    for arguments in (["report", name], ["verify", name, "\x1b[31mmissing"], ["connections", name, name]):
        _, seen = in_terminal(tmp_path, *arguments, PATH=path)
        assert "\\x1b[31m" in seen
        assert not [text for text in ("\x1b[31m", "\x9b", "\u202e") if text in seen]


def test_progress_is_shown_on_a_terminal_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    path = slow_tshark(tmp_path / "slow")
    assert "" == run("segments", find("refused.pcapng"), PATH=path).stderr
    _, seen = in_terminal(tmp_path, "segments", str(find("refused.pcapng")), "-o", "x.csv", PATH=path)
    assert "refused.pcapng: 2.00 segments" in seen


# verify


def test_a_disagreement_is_printed_and_exit_status_1(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent.parent
    changed = tmp_path / "changed.lua"
    changed.write_text(
        (root / "plugin" / "tcp_handshake.lua").read_text(encoding="utf-8").replace('"SYN-SENT"', '"SYN-RECEIVED"')
    )
    program = (
        "import pathlib; from pybridge import cli; from pybridge.wireshark import plugin_files; "
        f"plugin_files.path = lambda: pathlib.Path({str(changed)!r}); cli.main()"
    )
    unanswered = find("unanswered.pcapng")
    command = [sys.executable, "-c", program, "verify", str(unanswered), str(find("no-tcp.pcapng"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert (1, "") == (done.returncode, done.stderr)
    assert f"{unanswered}: segments: frame 1: client_state: python 'SYN-SENT', plugin 'SYN-RECEIVED'" in lines
    assert f"{unanswered}: connections: connection 0: client_state: python 'SYN-SENT', plugin 'SYN-RECEIVED'" in lines
    assert "1 agree, 1 differ, 0 could not be read." == lines[-1]


def test_verify_finds_captures_in_folders_by_their_endings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(find("refused.pcapng"), tmp_path / "in" / "a.pcapng")
    shutil.copy(find("refused.pcapng"), tmp_path / "in" / "deep" / "b.CAP")
    (tmp_path / "in" / "notes.txt").write_text("not looked at")
    done = run("verify", "in", find("half-open.pcapng"))
    assert (0, "3 agree, 0 differ, 0 could not be read.\n") == (done.returncode, done.stdout)
    (tmp_path / "empty").mkdir()
    nothing = run("verify", "empty")
    assert (2, "pybridge: empty holds no capture files: name a file or another folder.\n") == (nothing.returncode, nothing.stderr)
