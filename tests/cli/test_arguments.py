# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers of the command line that need no capture."""

from __future__ import annotations

import pybridge
from tests.conftest import Run
from tools.goldens.listing import REAL, find


def test_version_and_help_exit_with_status_0(run: Run) -> None:
    assert pybridge.__version__ in run("--version").stdout
    assert run("--help").returncode == 0
    assert run("segments", "--help").returncode == 0


def test_an_unknown_option_is_named_in_the_error(run: Run) -> None:
    done = run("segments", "--nonsense", "x.pcap")
    assert done.returncode == 2
    assert "--nonsense" in done.stderr


def test_a_folder_beside_other_captures_is_refused_by_every_command(run: Run) -> None:
    for command in ("segments", "connections", "report"):
        done = run(command, REAL, find("refused.pcapng"), "--merge")
        assert done.returncode == 2
        assert "must be named alone" in done.stderr
