# SPDX-License-Identifier: GPL-2.0-or-later
"""Many files as one capture: the tables of Wireshark's merged file, and each row says which file it came from."""

from __future__ import annotations

import csv
import heapq
import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pybridge
from pybridge.capture import Capture
from pybridge.tables.file_origins import ManyFiles
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Segment
from pybridge.tcp.vocabulary import ACK
from pybridge.wireshark import mergecap
from pybridge.wireshark.capture_source import MergedFile
from tests.conftest import Run
from tools.goldens.listing import REAL, find
from tools.split_points import cut, differences, in_order, tool

pytestmark = pytest.mark.filterwarnings("ignore::pybridge.UnrelatedFilesWarning")  # files that overlap, clocks that step back

ENGINES = ["python", "plugin"]
NAMES = [  # encapsulations, options, several segments in a frame, fragments, duplicates, network errors; as clocks ran
    "article-wget", "article-ssh", "6in4", "amsdu", "bsd-loopback", "duplicate", "duplicate-two-taps", "fragments-syn", "refused",
    "close-simultaneous",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = [*(find(f"{name}.pcapng") for name in NAMES), *REAL.glob("fast-open*.pcapng")]
    return in_order(sorted(set(found)), tmp_path_factory.mktemp("whole") / "whole.pcapng")


def read(source: Path, engine: str = "python") -> Capture:
    return pybridge.read(source, engine, progress=False)  # type: ignore[arg-type]


def packets(path: Path) -> list[str]:
    """Return what identifies each packet of a file: its time and a hash."""
    command = ["tshark", "-n", "-r", path, "-o", "frame.generate_md5_hash:TRUE", "-T", "fields"]
    command += ["-e", "frame.time_epoch", "-e", "frame.md5_hash"]
    return subprocess.run(
        command, check=False, capture_output=True, text=True
    ).stdout.splitlines()  # tshark fails on a truncated file, but prints the packets before


def deal(whole: Path, folder: Path, hands: int) -> list[Path]:
    """Deal the packets in turn to several files, which therefore overlap in time."""
    folder.mkdir()
    count = len(packets(whole))
    paths = [folder / f"{hand}.pcapng" for hand in range(hands)]
    for hand, path in enumerate(paths):
        tool("editcap", whole, path, *(str(frame) for frame in range(1, count + 1) if frame % hands != hand))
    return paths


# Parts give the tables of the whole


@pytest.mark.tshark
def test_a_capture_cut_at_every_frame_gives_the_tables_of_the_whole(whole: Path, tmp_path: Path) -> None:
    parts = cut(whole, tmp_path / "parts", 1)
    assert len(packets(whole)) == len(list(parts.iterdir())) > 100
    assert differences(read(whole), read(parts)) == []


@pytest.mark.tshark
@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_cut_into_fifty_files_gives_the_tables_of_the_whole(whole: Path, tmp_path: Path, engine: str) -> None:
    parts = cut(whole, tmp_path / "parts", len(packets(whole)) // 50 + 1)
    assert differences(read(whole, engine), read(parts, engine)) == []


@pytest.mark.tshark
def test_files_that_overlap_in_time_are_merged_and_each_row_says_where_it_came_from(whole: Path, tmp_path: Path) -> None:
    paths = deal(whole, tmp_path / "parts", 3)
    single = tmp_path / "merged.pcapng"
    tool("mergecap", "-w", single, *reversed(paths))
    many = read(tmp_path / "parts")
    assert differences(read(single), many) == []
    frames, here = packets(single), {str(path): packets(path) for path in paths}
    rows = many.segments[["capture", "capture_frame", "frame"]].itertuples(index=False)
    assert set(many.segments["capture"]) == set(here)
    assert all(frames[frame - 1] == here[capture][number - 1] for capture, number, frame in rows)


@pytest.mark.tshark
def test_a_connection_has_the_file_of_its_first_segment(whole: Path, tmp_path: Path) -> None:
    many = read(cut(whole, tmp_path / "parts", 7))
    first = many.segments.groupby("stream")["capture"].first()
    assert many.connections["capture"].to_dict() == first.to_dict()
    assert len(set(first)) > 3


@pytest.mark.tshark
def test_a_clock_that_stepped_back_gives_what_mergecap_gives(tmp_path: Path) -> None:
    parts = cut(find("clock-steps-back.pcapng"), tmp_path / "parts", 2)
    single = tmp_path / "merged.pcapng"
    tool("mergecap", "-w", single, *sorted(parts.iterdir(), reverse=True))
    assert differences(read(single), read(parts)) == []


@pytest.mark.tshark
def test_a_whole_packet_is_that_of_the_merged_capture(whole: Path, tmp_path: Path) -> None:
    many = read(cut(whole, tmp_path / "parts", 9))
    row = many.segments[many.segments["stream"] > 0].iloc[-1]
    packet = many.packet(int(row["frame"]))
    assert (str(row["frame"]), str(row["stream"])) == (packet.frame_info.number, packet.tcp.stream)


CLOCK = st.integers(min_value=0, max_value=12)


@given(st.lists(st.lists(CLOCK, min_size=1, max_size=6), min_size=1, max_size=5))
def test_files_are_merged_by_taking_the_earliest_next_packet(clocks: list[list[int]]) -> None:
    files = [MergedFile(str(number), "", len(times), min(times), max(times)) for number, times in enumerate(clocks)]
    origins = ManyFiles(files, lambda chosen: np.array([time for file in chosen for time in clocks[int(file.name)]], np.int64))
    heap = [(times[0], number, 0) for number, times in enumerate(clocks)]
    heapq.heapify(heap)
    expected = []
    while heap:
        _, number, place = heapq.heappop(heap)
        expected.append((str(number), place + 1))
        if place + 1 < len(clocks[number]):
            heapq.heappush(heap, (clocks[number][place + 1], number, place + 1))
    annotator = Annotator()
    segments = [Segment(frame, 0, 0, "192.0.2.1", 1, "192.0.2.2", 2, ACK, 1, 1, 0) for frame in range(1, len(expected) + 1)]
    blocks = ([(segment, annotator.segment(*segment))] for segment in segments)  # blocks of one segment
    found = [
        tuple(batch.to_pylist()[0][name] for name in ("capture", "capture_frame")) for batch in map(origins.segments, blocks)
    ]
    assert found == expected


# What is one capture


@pytest.mark.tshark
def test_a_pattern_is_one_capture_and_a_file_of_that_name_comes_first(run: Run, tmp_path: Path) -> None:
    for name in ("1.pcapng", "2.pcapng", "[12].pcapng"):
        shutil.copy(find("refused.pcapng" if name == "1.pcapng" else "half-open.pcapng"), tmp_path / name)
    (tmp_path / "sub.pcapng").mkdir()
    (tmp_path / ".hidden.pcapng").write_text("no capture")
    named = run("connections", "[12].pcapng", "--format", "csv")
    matched = run("segments", "?.pcapng", "--format", "csv", "--merge")
    assert (named.returncode, named.stderr) == (0, "")
    assert [row["establishment"] for row in csv.DictReader(io.StringIO(named.stdout))] == ["half-open"]
    assert (matched.returncode, matched.stderr) == (0, "")
    assert {row["capture"] for row in csv.DictReader(io.StringIO(matched.stdout))} == {"1.pcapng", "2.pcapng"}


@pytest.mark.tshark
@pytest.mark.parametrize("command", ["segments", "connections"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_commands_write_the_tables_of_read(run: Run, whole: Path, tmp_path: Path, command: str, form: str) -> None:
    cut(whole, tmp_path / "parts", 40)
    done = run(command, "parts", "--merge", "-o", f"out.{form}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    table = getattr(read(tmp_path / "parts"), command)
    table = (
        table.reset_index()[["capture", *(name for name in table.reset_index() if name != "capture")]]
        if command == "connections"
        else table
    )
    table["capture"] = table["capture"].str.removeprefix(f"{tmp_path}{os.sep}")
    if form == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), table)
    else:
        written = pd.read_csv(tmp_path / "out.csv")
        assert list(written.columns) == list(table.columns)
        assert written["capture"].tolist() == table["capture"].tolist()


def test_a_folder_is_named_alone(run: Run, tmp_path: Path) -> None:
    done = run("connections", tmp_path, find("refused.pcapng"), "--merge")
    assert (done.returncode, done.stdout) == (2, "")
    assert "A folder or a pattern that is one capture must be named alone" in done.stderr


@pytest.mark.tshark
def test_the_report_is_about_all_files(run: Run, whole: Path, tmp_path: Path) -> None:
    cut(whole, tmp_path / "parts", 40)
    done = run("report", "parts/", "--merge", "-o", "page.html")
    assert done.returncode == 0
    assert f"{len(read(whole).connections)} TCP connections" in done.stdout
    assert "parts" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.tshark
def test_files_without_packets_give_typed_tables(tmp_path: Path) -> None:
    tool("editcap", "-r", find("refused.pcapng"), tmp_path / "empty.pcapng", "9")
    many = read(tmp_path)
    assert (len(many.segments), len(many.connections)) == (0, 0)
    assert str(many.segments["time"].dtype) == "datetime64[ns, UTC]"


# Bad files


@pytest.mark.tshark
def test_bad_files_are_named_and_the_rest_is_done(run: Run, whole: Path, tmp_path: Path) -> None:
    parts = cut(whole, tmp_path / "parts", len(packets(whole)) // 4 + 1)
    names = sorted(path.name for path in parts.iterdir())
    expected = tmp_path / "expected"
    shutil.copytree(parts, expected)
    (expected / names[1]).unlink()
    (parts / names[1]).write_bytes(b"")
    data = (parts / names[2]).read_bytes()
    (parts / names[2]).write_bytes(data[:-5])
    short = len(packets(parts / names[2]))
    tool("editcap", "-r", expected / names[2], tmp_path / "x.pcapng", f"1-{short}")
    shutil.move(tmp_path / "x.pcapng", expected / names[2])
    (parts / "notes.md").write_text("Not a capture.\n")
    (parts / "gone.pcapng").symlink_to("nowhere")
    done = run("segments", "parts", "--format", "csv", "--merge")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"pybridge: 2 files of parts are no captures and were left out: notes.md, {names[1]}.",
        "pybridge: parts/gone.pcapng does not exist: check the file's name. It was left out.",
        f"pybridge: parts/{names[2]} ends in the middle of a packet, or is damaged: "
        "all whole packets before that were annotated.",
    ]
    assert done.stdout == run("segments", "expected", "--format", "csv", "--merge").stdout.replace("expected/", "parts/")


@pytest.mark.tshark
def test_a_file_that_is_there_twice_is_read_once(run: Run, tmp_path: Path) -> None:
    for name in ("a.pcapng", "b.pcapng"):
        shutil.copy(find("refused.pcapng"), tmp_path / name)
    done = run("segments", "*.pcapng", "--format", "csv", "--merge")
    assert (done.returncode, done.stderr) == (0, "pybridge: b.pcapng holds the same as a.pcapng: read once.\n")
    assert done.stdout.count("\n") == 3


@pytest.mark.parametrize("name", ["*.pcapng", "."])
def test_a_pattern_without_files_is_named_in_the_error(run: Run, name: str) -> None:
    done = run("connections", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pybridge: {name} names no file" in done.stderr


@pytest.mark.tshark
def test_a_folder_without_captures_is_named_in_the_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Not a capture.\n")
    done = run("connections", ".")
    assert (done.returncode, done.stdout) == (2, "")
    assert "None of the files of . could be read" in done.stderr


@pytest.mark.tshark
def test_a_missing_one_of_several_captures_is_named_and_the_rest_is_done(run: Run) -> None:
    done = run("connections", find("refused.pcapng"), "missing.pcapng", find("half-open.pcapng"), "--format", "csv")
    assert (done.returncode, done.stderr) == (2, "pybridge: missing.pcapng does not exist: check the file's name.\n")
    assert [row["establishment"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["refused", "half-open"]


@pytest.mark.tshark
def test_a_file_that_grows_while_it_is_read_raises_an_error(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deal(whole, tmp_path / "parts", 2)
    counted = mergecap._file
    monkeypatch.setattr(mergecap, "_file", lambda *given: counted(*given)._replace(frames=3))  # type: ignore[union-attr]
    with pytest.raises(pybridge.CaptureError, match="has changed meanwhile: read them again"):
        read(tmp_path / "parts")
