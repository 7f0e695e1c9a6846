# SPDX-License-Identifier: GPL-2.0-or-later
"""What a command loads and starts: the reason why a small capture takes little longer than bare tshark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find

HEAVY = ("pandas", "pyarrow", "numpy", "rich", "tqdm", "matplotlib", "jinja2")


def loaded(*arguments: str) -> set[str]:
    """Return the heavy packages that a command has loaded when it ends."""
    program = f"""
import atexit, json, sys
from pybridge.cli import main
atexit.register(lambda: print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr))
main({list(arguments)!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_options_are_known_before_anything_heavy_is_loaded() -> None:
    assert loaded("connections", "--help") == set()


@pytest.mark.tshark
@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
def test_tables_are_written_without_pandas(form: str) -> None:
    assert loaded("connections", str(find("refused.pcapng")), "--format", form) == {"pyarrow", "numpy"}


@pytest.mark.tshark
def test_a_command_starts_tshark_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    log = tmp_path / "log"
    wrapper = tmp_path / "bin" / "tshark"
    wrapper.write_text(f'#!/bin/sh\necho "=$1" >> {log}\nexec {shutil.which("tshark")} "$@"\n')
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    assert run("connections", find("refused.pcapng"), PATH=path).returncode == 0
    assert sorted(log.read_text().split()) == ["=-n", "=-v"], "a script is asked for its version each time, a program once"
    log.unlink()
    assert run("verify", find("refused.pcapng"), PATH=path).returncode == 0
    assert sorted(log.read_text().split()) == ["=-n", "=-v"]
