# SPDX-License-Identifier: GPL-2.0-or-later
"""The notebook runs from start to end in a kernel, where an event loop runs already."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import pybridge

NOTEBOOK = Path(pybridge.__file__).parent / "examples" / "explore.ipynb"


@pytest.mark.tshark
def test_it_runs_from_start_to_end() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    for source, shown in outputs.items():
        assert shown or "write(" in source or source.startswith("connections,"), f"nothing is shown by: {source}"
        assert not [output for output in shown if output.get("name") == "stderr" and "Warning" in output.text], source
    (capture,) = (shown[-1] for source, shown in outputs.items() if source.startswith("capture = "))
    assert "connections" in capture.data["text/html"]
    assert 'class="chart"' in capture.data["text/html"]
    ladders = [shown[-1].data["text/html"] for source, shown in outputs.items() if ".ladder(" in source]
    assert len(ladders) == 3
    assert all(ladder.startswith("<svg") for ladder in ladders)


def test_it_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not [cell.source for cell in cells if cell.outputs or cell.execution_count]
