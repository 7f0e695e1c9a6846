# SPDX-License-Identifier: GPL-2.0-or-later
"""Write what is expected of every golden in full, NAME.expected from NAME.pcapng: both tables, for reading in a diff."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

import pybridge
from pybridge.output import as_text

HERE = Path(__file__).resolve().parent
MISSING = "."


def expected_text(capture: pybridge.Capture) -> str:
    """Both tables as text: a line per segment, a line per column of the connections."""
    segments = as_text(capture.segments)
    connections = as_text(capture.connections.reset_index()).T.reset_index()
    return f"segments\n{_aligned(segments, header=True)}\nconnections\n{_aligned(connections, header=False)}"


def _aligned(table: pd.DataFrame, *, header: bool) -> str:
    rows = [[_cell(value) for value in row] for row in table.to_numpy()]
    if header:
        rows.insert(0, [str(name) for name in table.columns])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def _cell(value: Any) -> str:
    return MISSING if pd.isna(value) else str(value).replace(", ", ",") or MISSING


def main() -> None:
    """Write all."""
    warnings.simplefilter("error")
    captures = sorted(HERE.glob("*.pcapng"))
    for path in captures:
        text = expected_text(pybridge.read(path, progress=False))
        path.with_suffix(".expected").write_text(text, encoding="utf-8")
    print(f"{len(captures)} expected tables written")


if __name__ == "__main__":
    main()
