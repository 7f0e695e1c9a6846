# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import matplotlib as mpl
import pytest

hypothesis.settings.register_profile("busy", deadline=None)  # the time of an example depends on the machine
hypothesis.settings.load_profile("busy")

Run = Callable[..., subprocess.CompletedProcess[str]]

KEPT = {"MPLCONFIGDIR": mpl.get_configdir(), "XDG_CACHE_HOME": str(Path(tempfile.gettempdir()) / "pybridge-tests-cache")}
"""Folders that commands share from test to test."""

READ_CAPTURES = {"pybridge", "pybridge.capture", "pybridge.live", "pybridge.report.ladder.drawing", "pybridge.verification"}
"""Modules whose docstrings have examples that read captures."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the examples in docstrings that start tshark; tests carry their marks themselves."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and item.dtest and item.dtest.globs["__name__"] in READ_CAPTURES:
            item.add_marker(pytest.mark.tshark)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command in an empty folder with an empty home, as a user would; return its output and exit status.

    Matplotlib keeps its configuration folder, so that it does not search all fonts each time; caches are kept, too.
    """

    def call(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pybridge", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path), **KEPT} | environment,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return call
