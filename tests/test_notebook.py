# SPDX-License-Identifier: GPL-2.0-or-later
"""The notebook runs from start to end in a kernel, where an event loop runs already, and its numbers agree.

Its capture is the kernel's, and comes with what the kernel counted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import pybridge
from pybridge import examples

NOTEBOOK = examples.notebook()
STEPS = 12

Outputs = list[dict[str, Any]]


@pytest.fixture(scope="module")
def cells() -> list[Outputs]:
    """The outputs of each code cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def shown(outputs: Outputs, kind: str) -> str:
    """What a cell displays last, as text of this kind."""
    return str(outputs[-1]["data"][f"text/{kind}"])


@pytest.mark.tshark
def test_every_cell_shows_something_and_warns_of_nothing(cells: list[Outputs]) -> None:
    assert [number for number, outputs in enumerate(cells, 1) if not outputs] == []
    errors = [output["text"] for outputs in cells for output in outputs if output.get("name") == "stderr"]
    assert [text for text in errors if not text.startswith("\r")] == []  # a slow machine shows progress


@pytest.mark.tshark
def test_the_first_look_the_figures_and_the_ladders(cells: list[Outputs]) -> None:
    assert shown(cells[0], "html").count('class="chart"') == 4
    drawn = [number for number, outputs in enumerate(cells, 1) for output in outputs if "image/png" in output.get("data", {})]
    assert drawn == [4, 9]
    ladders = {number: html for number, outputs in enumerate(cells, 1) if (html := shown_as_svg(outputs))}
    assert list(ladders)[:2] == [8, 11]
    assert "third-step-ignored" in ladders[8]
    assert "port-closed" in ladders[11]


def shown_as_svg(outputs: Outputs) -> str:
    html = str(outputs[-1].get("data", {}).get("text/html", ""))
    return html if html.startswith("<svg") else ""


@pytest.mark.tshark
def test_the_verdict_the_tables_and_the_figure_count_the_same(cells: list[Outputs]) -> None:
    outputs = cells[STEPS - 1]
    rows = [line.split() for line in shown(outputs, "plain").splitlines()[1:]]
    assert [name for name, *_ in rows] == ["unanswered", "refused", "failed"]
    assert [len(set(counts)) for _, *counts in rows] == [1, 1, 1]
    failed = int(rows[-1][1])
    assert failed == int(rows[0][1]) + int(rows[1][1]) > 0
    assert f"{failed} failed" in shown(cells[0], "html")
    late = re.search(r"(\d+) opened late, by up to (\d\.\d)", outputs[0]["text"])
    assert late
    assert f"lost or dropped: {late[1]} connections, all to" in shown(cells[0], "html"), "the first look says so, too"


@pytest.mark.tshark
def test_both_implementations_agree_on_its_capture(cells: list[Outputs]) -> None:
    assert "Empty DataFrame" in shown(cells[-1], "plain")


@pytest.mark.tshark
def test_what_the_server_counted_is_what_the_capture_shows() -> None:
    capture = pybridge.read(examples.capture("outage"), progress=False)
    counted = pd.read_csv(examples.capture("outage").with_suffix(".csv"), parse_dates=["time"])
    syns = capture.segments.query("role == 'SYN'")
    unanswered = syns[~syns["frame"].isin(capture.segments["responds_to"])]
    begin, end = unanswered["time"].min(), capture.segments.query("tcp_flags == 'RST, ACK' and sender == 'server'")["time"].min()
    assert counted.loc[counted["time"] < begin, "overflows"].eq(0).all()
    assert counted["overflows"].max() >= len(unanswered), "the server also dropped third steps"
    full = counted.loc[counted["time"].between(begin, end), "accept_queue"] >= counted["backlog"].max()
    assert full.mean() > 0.9
    assert counted.loc[counted["accept_queue"].isna(), "time"].min() > end


def test_the_capture_is_small() -> None:
    assert examples.capture("outage").stat().st_size < 300_000


def test_it_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(Path(NOTEBOOK), as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) > STEPS
    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count]
