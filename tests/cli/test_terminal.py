# SPDX-License-Identifier: GPL-2.0-or-later
"""What a terminal shows, and what is not for a terminal."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find

COMMAND = [sys.executable, "-m", "pybridge"]


def in_terminal(folder: Path, *arguments: str, width: int = 2000, **environment: str) -> tuple[int, str]:
    """Run with a terminal as all three standard streams; return the exit status and what the terminal shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=own | environment
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux reports so that the other side is closed
            data = b""
        if not data:
            break
        seen += data
    os.close(ours)
    return process.wait(), seen.decode(errors="replace")


def lines(seen: str) -> list[str]:
    """Return the lines that stay on the terminal, without messages and without progress, which is overwritten."""
    rows = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line).rpartition("\r")[2] for line in seen.split("\r\n")]
    return [row for row in rows if row and not row.startswith("pybridge: ")]


def slow_tshark(folder: Path) -> str:
    """Return a PATH with a tshark that takes longer than the delay of the progress bar."""
    folder.mkdir()
    script = folder / "tshark"
    script.write_text(f'#!/bin/sh\n[ "$1" = -v ] || sleep 1.2\nexec {shutil.which("tshark")} "$@"\n')
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_terminal_as_standard_input_is_refused_at_once(tmp_path: Path) -> None:
    status, seen = in_terminal(tmp_path, "connections", "-")
    assert status == 2
    assert "pybridge: Nothing comes from standard input: pipe a capture into it, or name a file." in seen


def test_parquet_is_refused_on_a_terminal(tmp_path: Path) -> None:
    status, seen = in_terminal(tmp_path, "segments", str(find("refused.pcapng")), "--format", "parquet")
    assert status == 2
    assert "PAR1" not in seen
    assert "pybridge: Parquet is not for a terminal: add -o FILE.parquet." in seen


@pytest.mark.tshark
def test_text_from_a_file_name_is_escaped_on_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[31m\x9bred\u202e.pcapng"
    shutil.copy(find("refused.pcapng"), tmp_path / name)
    path = slow_tshark(tmp_path / "slow")
    for arguments in (["report", name], ["verify", name, "\x1b[31mmissing"], ["connections", name, name]):
        _, seen = in_terminal(tmp_path, *arguments, PATH=path)
        assert "\\x1b[31m" in seen
        assert not [text for text in ("\x1b[31m", "\x9b", "\u202e") if text in seen]


@pytest.mark.tshark
def test_progress_is_shown_on_a_terminal_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    path = slow_tshark(tmp_path / "slow")
    assert run("segments", find("refused.pcapng"), PATH=path).stderr == ""
    _, seen = in_terminal(tmp_path, "segments", str(find("refused.pcapng")), "-o", "x.csv", PATH=path)
    assert "refused.pcapng: 2.00 segments" in seen
    _, seen = in_terminal(tmp_path, "report", str(find("refused.pcapng")), "--names", PATH=path)
    assert "names of servers" in seen


@pytest.mark.tshark
@pytest.mark.parametrize("command", ["segments", "connections"])
@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_uses_the_width_of_the_terminal_and_breaks_no_word(run: Run, tmp_path: Path, command: str, width: int) -> None:
    path = str(find("fin-retransmission-merged-lost.pcapng"))
    status, seen = in_terminal(tmp_path, command, path, width=width)
    table = lines(seen)
    assert status == 0
    assert max(map(len, table)) <= width
    _, unlimited = in_terminal(tmp_path, command, path)
    assert set(" ".join(table).split()) <= set(" ".join(lines(unlimited)).split())
    assert {"ESTABLISHED", "FIN-WAIT-1"} <= set(" ".join(table).split()) or command == "connections"
    _, wider = in_terminal(tmp_path, command, path, width=width + 100)
    assert set(" ".join(table).split()) < set(" ".join(lines(wider)).split()) or width == 200


@pytest.mark.tshark
def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    arguments = ["connections", str(find("refused.pcapng")), "--columns", "stream,start,client_last_seen,server_last_seen"]
    _, seen = in_terminal(tmp_path, *arguments, width=80)
    assert "server_last_seen did not fit into 80 characters: widen the terminal" in " ".join(seen.split())
    _, wide = in_terminal(tmp_path, *arguments, width=200)
    assert "did not fit" not in wide


@pytest.mark.tshark
def test_a_ladder_is_drawn_on_a_terminal_and_svg_in_a_pipe(run: Run, tmp_path: Path) -> None:
    status, seen = in_terminal(tmp_path, "ladder", str(find("refused.pcapng")), "0", width=90)
    drawn = lines(seen)
    assert status == 0
    assert sum("▶" in line for line in drawn) == sum("◀" in line for line in drawn) == 1
    assert max(len(line.rstrip()) for line in drawn) <= 90
    assert run("ladder", find("refused.pcapng"), "0").stdout.startswith("<svg")
    assert run("ladder", find("refused.pcapng"), "0", "-o", "x.mmd").returncode == 0
    assert (tmp_path / "x.mmd").read_text().startswith("sequenceDiagram\n")


@pytest.mark.tshark
def test_a_message_shows_no_progress_that_is_not_due(tmp_path: Path) -> None:
    _, seen = in_terminal(tmp_path, "verify", "missing-1.pcapng", "missing-2.pcapng")
    assert seen.splitlines() == [
        "pybridge: missing-1.pcapng does not exist: check the file's name.",
        "pybridge: missing-2.pcapng does not exist: check the file's name.",
        "0 agree, 0 differ, 2 could not be read.",
    ]
