# SPDX-License-Identifier: GPL-2.0-or-later
"""Where captures come from: standard input, named pipes, several files, odd names."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark

ENGINES = ["python", "plugin"]
COMMAND = [sys.executable, "-m", "pybridge"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_is_read_from_standard_input(run: Run, engine: str) -> None:
    content = (find("refused.pcapng")).read_bytes()
    done = run("connections", "-", "--engine", engine, "--format", "csv", stdin=content)
    assert (done.returncode, done.stderr) == (0, "")
    assert ",refused,reset,server," in done.stdout


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["amsdu", "article-ssh"])  # `amsdu` needs a second run of tshark
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
    assert redirected.stdout.decode() == by_name.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_a_named_pipe_is_read_like_a_file(run: Run, tmp_path: Path, engine: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes((find("amsdu.pcapng")).read_bytes()))
    writer.start()
    done = run("connections", "pipe", "--engine", engine, "--format", "csv")
    writer.join(timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("connections", find("amsdu.pcapng"), "--format", "csv").stdout


def test_several_captures_become_one_table_with_the_column_capture(run: Run) -> None:
    names = [str(find("refused.pcapng")), str(find("half-open.pcapng"))]
    rows = list(csv.DictReader(io.StringIO(run("connections", *names, "--format", "csv").stdout)))
    assert [(row["capture"], row["establishment"]) for row in rows] == list(zip(names, ["refused", "half-open"], strict=True))


def test_several_captures_may_include_standard_input_once(run: Run) -> None:
    content = (find("refused.pcapng")).read_bytes()
    once = run("connections", find("half-open.pcapng"), "-", "--format", "csv", stdin=content)
    twice = run("connections", "-", "-", "--format", "csv", stdin=content)
    assert [row["establishment"] for row in csv.DictReader(io.StringIO(once.stdout))] == ["half-open", "refused"]
    assert (twice.returncode, twice.stdout) == (2, "")
    assert "Standard input can be read only once" in twice.stderr


ODD_NAMES = [
    "new\nline.pcapng",
    "tab\t.pcapng",
    "--format",
    "%s {x}.pcapng",
    os.fsdecode(b"not utf-8 \xff.pcapng"),
    "\x1b[31mred.pcapng",
]


@pytest.mark.parametrize("engine", ENGINES)
def test_file_names_with_any_bytes_are_read(run: Run, tmp_path: Path, engine: str) -> None:
    for name in ODD_NAMES:
        shutil.copy(find("amsdu.pcapng"), tmp_path / name)
    one = run("connections", find("amsdu.pcapng"), "--format", "csv").stdout.splitlines()[1:]
    done = run("connections", "--engine", engine, "--format", "csv", "--", *ODD_NAMES)
    rows = list(csv.reader(io.StringIO(done.stdout, newline="")))[1:]
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[1:] for row in rows] == [row for _ in ODD_NAMES for row in csv.reader(one)]
    assert len({row[0] for row in rows}) == len(set(ODD_NAMES))


@pytest.mark.parametrize(
    "name", ["with space.pcapng", "-o.pcapng", "'quo\"ted.pcapng", "näme 三次.pcapng", "semi;colon $(x).pcapng"]
)
def test_file_names_with_spaces_quotes_and_dashes_are_read(run: Run, tmp_path: Path, name: str) -> None:
    shutil.copy(find("refused.pcapng"), tmp_path / name)
    for engine in ENGINES:
        assert ",refused,reset," in run("connections", "--format", "csv", "--engine", engine, "--", name).stdout
    assert run("report", "--", name).returncode == 0
