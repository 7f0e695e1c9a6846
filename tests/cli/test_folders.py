# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders and patterns on the command line: one capture, or many."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find
from tools.split_points import tool

pytestmark = pytest.mark.tshark


def captures(text: str) -> list[str]:
    return [row["capture"] for row in csv.DictReader(io.StringIO(text))]


@pytest.fixture
def ring(tmp_path: Path) -> str:
    (tmp_path / "ring").mkdir()
    tool("editcap", "-c", "4", find("article-wget.pcapng"), tmp_path / "ring" / "r.pcapng")
    return "ring"


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    (tmp_path / "mixed").mkdir()
    for name in ("refused", "ipv6"):
        shutil.copy(find(f"{name}.pcapng"), tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.md").write_text("Not a capture.")
    return "mixed"


def test_a_ring_is_one_capture(run: Run, ring: str) -> None:
    done = run("connections", ring, "--format", "csv")
    assert done.returncode == 0
    assert len(captures(done.stdout)) == 1
    assert done.stderr == "pybridge: ring: its 3 files follow on, and are read as one capture (--each reads each by itself).\n"
    each = run("connections", ring, "--format", "csv", "--each")
    assert (len(captures(each.stdout)), each.stderr) == (3, "")


@pytest.mark.parametrize("source", ["mixed", "mixed/*"])
def test_unrelated_captures_are_many(run: Run, mixed: str, source: str) -> None:
    done = run("connections", source, "--format", "csv")
    assert done.returncode == 0, "what is no capture was not named"
    assert captures(done.stdout) == ["mixed/ipv6.pcapng", "mixed/refused.pcapng"]
    assert done.stderr.splitlines() == [
        f"pybridge: {source}: its 2 files are read as a capture each, because their names differ in more than numbers "
        "(--merge makes them one).",
        f"pybridge: 1 file of {source} is no capture and was left out: notes.md.",
    ]
    assert run(source).stdout.startswith("2 captures: 2 TCP connections")
    merged = run("connections", source, "--merge", "--format", "csv")
    assert (merged.returncode, len(captures(merged.stdout))) == (0, 2)
    assert merged.stderr.splitlines() == [f"pybridge: 1 file of {source} is no capture and was left out: notes.md."]


def test_folders_of_many_captures_stand_beside_other_files(run: Run, mixed: str, ring: str) -> None:
    done = run("connections", mixed, find("ipv6.pcapng"), "--format", "csv")
    assert len(captures(done.stdout)) == 3
    refused = run("connections", mixed, ring)
    assert refused.returncode == 2
    assert "must be named alone; --each reads each of its files" in refused.stderr


def test_what_is_named_must_be_a_capture(run: Run, mixed: str) -> None:
    done = run("connections", "mixed/notes.md")
    assert (done.returncode, done.stderr) == (2, "pybridge: mixed/notes.md is not a capture that tshark understands.\n")
