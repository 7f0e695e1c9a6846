# SPDX-License-Identifier: GPL-2.0-or-later
"""Write NAME.expected for every golden: both tables in full, so that every change shows in a diff.

Where Wireshark 4.4 begins other streams (rule G4), this writes NAME.expected-4.4 beside it when it runs with that version.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from packaging.version import Version

import pybridge
from pybridge.tables import schema
from pybridge.tables.text_writers import as_values
from pybridge.wireshark.installation import tshark_version
from tools.goldens.listing import Listing, load_all

MISSING = "."
OTHER_STREAMS = Version("4.4")


def expected_file(golden: Listing) -> Path:
    """Return the file with the tables that this tshark must give."""
    usual, later = _files(golden)
    return later if later.exists() and tshark_version() >= OTHER_STREAMS else usual


def _files(golden: Listing) -> tuple[Path, Path]:
    return golden.folder / f"{golden.name}.expected", golden.folder / f"{golden.name}.expected-{OTHER_STREAMS}"


def expected_text(capture: pybridge.Capture) -> str:
    """Return both tables as text: a line per segment, then a line per column of `connections`."""
    segments, connections = (
        pa.Table.from_pandas(table, columns, preserve_index=False)
        for table, columns in (
            (capture.segments, schema.SEGMENTS),
            (capture.connections.reset_index(), schema.CONNECTIONS),
        )
    )
    rows = zip(*as_values(segments), strict=True)
    by_column = ((name, *values) for name, values in zip(schema.CONNECTIONS.names, as_values(connections), strict=True))
    return f"segments\n{_aligned([schema.SEGMENTS.names, *rows])}\nconnections\n{_aligned(by_column)}"


def _aligned(rows: Iterable[Sequence[Any]]) -> str:
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in cells)


def _cell(value: Any) -> str:
    return MISSING if value is None else str(value).replace(", ", ",") or MISSING


def main() -> None:
    """Write the expected tables of all goldens."""
    warnings.simplefilter("error")
    goldens = load_all()
    for golden in goldens:
        text = expected_text(pybridge.read(golden.path, progress=False))
        usual, later = _files(golden)
        if tshark_version() < OTHER_STREAMS:
            usual.write_text(text, encoding="utf-8")
        elif text == usual.read_text(encoding="utf-8"):
            later.unlink(missing_ok=True)
        else:
            later.write_text(text, encoding="utf-8")
    print(f"{len(goldens)} expected tables written")


if __name__ == "__main__":
    main()
