# SPDX-License-Identifier: GPL-2.0-or-later
"""Write what is expected of every golden in full, NAME.expected from its capture: both tables, for reading in a diff.

Where a later tshark begins other streams (G4), run with that one this writes NAME.expected-4.4 beside it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from packaging.version import Version

import pybridge
from pcaps.listing import HERE, Listing, load_all
from pybridge.cli.output import as_text
from pybridge.wireshark import tshark

MISSING = "."
OTHER_STREAMS = Version("4.4")


def expected_file(golden: Listing) -> Path:
    """Where stands what is expected with the tshark that is here."""
    usual, later = _files(golden)
    return later if later.exists() and tshark.version() >= OTHER_STREAMS else usual


def _files(golden: Listing) -> tuple[Path, Path]:
    return HERE / f"{golden.name}.expected", HERE / f"{golden.name}.expected-{OTHER_STREAMS}"


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
    goldens = load_all()
    for golden in goldens:
        text = expected_text(pybridge.read(HERE / golden.file, progress=False))
        usual, later = _files(golden)
        if tshark.version() < OTHER_STREAMS:
            usual.write_text(text, encoding="utf-8")
        elif text == usual.read_text(encoding="utf-8"):
            later.unlink(missing_ok=True)
        else:
            later.write_text(text, encoding="utf-8")
    print(f"{len(goldens)} expected tables written")


if __name__ == "__main__":
    main()
