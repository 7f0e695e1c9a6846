# SPDX-License-Identifier: GPL-2.0-or-later
"""What a `Capture` counts and draws, and what it reads: several files, folders."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

import pybridge
from pybridge.capture import Capture
from pybridge.tables import frames
from pybridge.tables.peers import by_peer
from tests.support.scenarios import NORMAL, REFUSED, UNANSWERED, UNREACHABLE, tables
from tools.goldens.listing import find
from tools.split_points import tool

mpl.use("agg")


@pytest.fixture(scope="module")
def several() -> Capture:
    """One capture with four connections, to one server."""
    made = [tables(text) for text in (NORMAL, REFUSED, UNANSWERED, UNREACHABLE)]
    segments = pd.concat([table.assign(stream=stream) for stream, (table, _) in enumerate(made)], ignore_index=True)
    connections = pd.concat([table.rename(index={0: stream}) for stream, (_, table) in enumerate(made)])
    return Capture("several.pcapng", segments, connections.rename_axis("stream"))


def test_by_server_counts_each_kind(several: Capture) -> None:
    table = several.by_server()
    assert table.index.names == ["server", "server_port"]
    assert table["connections"].sum() == len(several.connections)
    assert table[["opened", "failed", "still_waiting", "not_captured"]].sum().sum() == len(several.connections)
    kinds = ["refused", "unreachable", "unanswered", "invalid_answer", "aborted", "half_open"]
    assert table[kinds].sum(axis=1).tolist() == table["failed"].tolist()
    assert table["handshake_median"].iloc[0] == several.connections["handshake_time"].median()
    resets = ["reset_mid_connection", "reset_while_closing", "reset_after_close"]
    assert table[resets].sum().sum() == 0, "a refused connection was never open"
    assert list(by_peer(several.connections.iloc[:0], "server").columns) == list(table.columns)
    assert several.by_client()["connections"].tolist() == [len(several.connections)]


def test_anomalies_can_be_counted(several: Capture) -> None:
    table = several.anomalies
    counts = table["anomaly"].value_counts()
    assert counts["syn-retransmission"] == several.connections["syn_retransmissions"].sum() > 1
    assert counts["connection-refused"] == counts["unreachable"] == 1
    assert table.loc[table["anomaly"] == "unreachable", "frame"].isna().all()
    empty = frames.anomalies(several.segments.iloc[:0], several.connections.iloc[:0])
    assert empty.dtypes.astype(str).to_dict() == table.dtypes.astype(str).to_dict()


def test_anomalies_of_one_segment_are_several_rows() -> None:
    segments, connections = tables(UNANSWERED)
    segments.loc[1, "anomaly"] = "syn-retransmission+duplicate"
    found = frames.anomalies(segments, connections)
    assert found.loc[found["frame"] == segments.loc[1, "frame"], "anomaly"].tolist() == ["syn-retransmission", "duplicate"]


def test_seconds_are_numbers(several: Capture) -> None:
    assert several.seconds["handshake_time"].dtype == "float64"
    assert several.seconds["handshake_time"].dropna().tolist() == [0.0121]
    assert several.seconds["start"].equals(several.connections["start"])


@pytest.mark.parametrize("plot", ["handshake_times", "outcomes", "waiting"])
def test_every_plot_is_drawn_also_of_nothing(several: Capture, plot: str) -> None:
    axes = getattr(several.plot, plot)()
    axes.figure.canvas.draw()
    low, high = axes.get_xlim()
    assert high - low < 1, "seconds or days; matplotlib shows years around a single connection"
    assert axes.get_title()
    assert axes.get_legend() is not None
    empty = Capture("x", several.segments.iloc[:0], several.connections.iloc[:0])
    again = getattr(empty.plot, plot)(ax=axes)
    assert again is axes
    axes.figure.canvas.draw()
    mpl.pyplot.close("all")


def test_the_report_is_written(several: Capture, tmp_path: Path) -> None:
    path = several.report(tmp_path / "page.html", language="zh")
    assert path == tmp_path / "page.html"
    assert "several.pcapng" in path.read_text(encoding="utf-8")


@pytest.mark.tshark
def test_several_files_are_one_capture(tmp_path: Path) -> None:
    whole = find("article-wget.pcapng")
    tool("editcap", "-c", "4", whole, tmp_path / "part.pcapng")
    parts = sorted(tmp_path.glob("part_*.pcapng"))
    capture = pybridge.read(parts, progress=False)
    one = pybridge.read(whole, progress=False)
    pd.testing.assert_frame_equal(capture.connections.drop(columns="capture"), one.connections)
    assert repr(capture) == "<Capture 3 files: 10 segments, 1 connections>"
    assert capture.filter("tcp.flags.syn == 1").segments["role"].tolist() == ["SYN", "SYN-ACK"]


@pytest.mark.tshark
def test_a_named_file_that_is_no_capture_is_an_error_and_in_a_folder_a_warning(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.md").write_text("Not a capture.")
    shutil.copy(find("refused.pcapng"), tmp_path)
    with pytest.raises(pybridge.CaptureError, match=r"a\.md is not a capture"):
        pybridge.read([tmp_path / "refused.pcapng", tmp_path / "a.md"], progress=False)
    with pytest.warns(
        pybridge.NotCaptureWarning, match=r"2 files of .* are no captures and were left out: a\.md, b\.md\."
    ) as seen:
        _, connections = pybridge.read_all([tmp_path], progress=False)
    assert (len(seen), len(connections)) == (1, 1)


@pytest.mark.tshark
def test_many_files_that_were_cut_short_give_one_warning(tmp_path: Path) -> None:
    for name in ("article-wget", "article-ssh", "article-curl"):
        (tmp_path / name).write_bytes(find(f"{name}.pcapng").read_bytes()[:-9])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pybridge.read(tmp_path, progress=False)
    assert [warning.category for warning in seen] == [pybridge.CutShortWarning, pybridge.UnrelatedFilesWarning]
    assert "3 files of" in str(seen[0].message)
    assert "although their names differ in more than numbers: pybridge.read_all reads each" in str(seen[1].message)
    with pytest.warns(pybridge.CutShortWarning, match=r"^3 of 4 captures were annotated only in part\. The first: ") as seen:
        pybridge.read_all([find("refused.pcapng"), *sorted(tmp_path.glob("*"), reverse=True)], progress=False)
    assert len(seen) == 1


def test_no_file_at_all_is_an_error() -> None:
    with pytest.raises(pybridge.CaptureError, match="No capture is named"):
        pybridge.read([])
