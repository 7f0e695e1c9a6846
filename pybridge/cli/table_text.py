# SPDX-License-Identifier: GPL-2.0-or-later
"""Print a table for people: all columns in a pipe, the most useful ones on a terminal, folded to its width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.tables import frames
from pybridge.tables.text_writers import as_text
from pybridge.tcp.vocabulary import FAILED
from pybridge.text import duration_text, endpoint, printable


def print_table(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO) -> None:
    """Print a table; all of it must fit into memory."""
    table = frames.frame(blocks, schema)
    on_terminal = stream.isatty()
    text = _glance(table) if on_terminal else as_text(table)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in text.columns:
        right = name == "handshake" or pd.api.types.is_numeric_dtype(text[name].dtype)
        grid.add_column(name, justify="right" if right else "left", no_wrap=not on_terminal, overflow="fold")
    for row in text.itertuples(index=False):
        grid.add_row(*(_cell(name, value) for name, value in zip(text.columns, row, strict=True)))
    console_for(stream).print(grid, soft_wrap=False)


def _glance(table: pd.DataFrame) -> pd.DataFrame:
    """Return fewer and narrower columns."""
    capture = {"capture": table["capture"]} if "capture" in table else {}
    if "establishment" not in table:
        names = ["frame", "stream", "sender", "tcp_flags", "length", "role"]
        rest = ["client_state", "server_state", "anomaly"]
        return pd.DataFrame(
            capture | {name: table[name] for name in names} | {"step": frames.steps(table)} | {name: table[name] for name in rest}
        )
    ends = {end: [endpoint(*both) for both in zip(table[end], table[f"{end}_port"], strict=True)] for end in ("client", "server")}
    verdict = {
        "opening": frames.outcomes(table),
        "handshake": [duration_text(time) for time in table["handshake_time"]],
        "closing": table["termination"],
        "by": table["closed_by"],
        "anomalies": table["anomalies"].str.replace("+", ", "),
    }
    return pd.DataFrame(capture | {"stream": table["stream"]} | ends | verdict)


def _cell(name: str, value: Any) -> Text:
    wrong = name in ("anomaly", "anomalies") or (name == "opening" and value in FAILED)
    return Text("" if pd.isna(value) else printable(str(value)), "bold red" if wrong else "")
