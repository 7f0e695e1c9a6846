# SPDX-License-Identifier: GPL-2.0-or-later
"""`pybridge verify`: how many captures both engines agree on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark


def test_verify_says_how_many_agree(run: Run) -> None:
    done = run("verify", find("refused.pcapng"), find("article-wget.pcapng"))
    assert (done.returncode, done.stdout) == (0, "2 agree, 0 differ, 0 could not be read.\n")


def test_verify_goes_on_after_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.pcap").write_text("hello, this is no capture at all")
    done = run("verify", "text.pcap", find("refused.pcapng"))
    assert (done.returncode, done.stdout) == (2, "1 agree, 0 differ, 1 could not be read.\n")


def test_verify_compares_what_comes_from_standard_input(run: Run) -> None:
    done = run("verify", "-", stdin=(find("amsdu.pcapng")).read_bytes())
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 agree, 0 differ, 0 could not be read.\n", "")


def test_verify_finds_captures_in_folders_by_their_endings(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(find("refused.pcapng"), tmp_path / "in" / "a.pcapng")
    shutil.copy(find("refused.pcapng"), tmp_path / "in" / "deep" / "b.CAP")
    (tmp_path / "in" / "notes.txt").write_text("not looked at")
    done = run("verify", "in", find("half-open.pcapng"))
    assert (done.returncode, done.stdout) == (0, "3 agree, 0 differ, 0 could not be read.\n")
    (tmp_path / "empty").mkdir()
    nothing = run("verify", "empty")
    assert (nothing.returncode, nothing.stderr) == (2, "pybridge: empty holds no capture files: name a file or another folder.\n")


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
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{unanswered}: segments: frame 1: client_state: python 'SYN-SENT', plugin 'SYN-RECEIVED'" in lines
    assert f"{unanswered}: connections: connection 0: client_state: python 'SYN-SENT', plugin 'SYN-RECEIVED'" in lines
    assert lines[-1] == "1 agree, 1 differ, 0 could not be read."
