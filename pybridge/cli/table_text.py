# SPDX-License-Identifier: GPL-2.0-or-later
"""Print a table for people: all columns in a pipe; on a terminal the most useful ones, as many as fit, with whole words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow as pa

from pybridge.cli.process import say
from pybridge.tables.text_writers import as_values
from pybridge.tcp.vocabulary import FAILED, STILL_WAITING
from pybridge.text import endpoint, nanoseconds_text, printable

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Spaces between columns."""

NO_BREAK = "\u00a0"
"""A space at which no line is broken."""

CONNECTIONS_FIRST = ("capture", "stream", "client", "server", "opening", "diagnosis", "closing", "by", "handshake", "anomalies")
CONNECTIONS_THEN = ("duration", "client bytes", "server bytes", "reset by", "SYNs repeated", "start")
SEGMENTS_FIRST = ("capture", "frame", "sender", "flags", "role", "step", "client state", "server state", "anomaly", "stream")
SEGMENTS_THEN = ("bytes", "answers", "after", "time")
"""Columns on a terminal, the most useful first; wide terminals have the further ones, too."""

WRONG = ("anomaly", "anomalies")


@dataclass
class Column:
    """A column as text.

    Attributes
    ----------
    narrowest, widest : int
        Width of the longest text that cannot be broken (a word, a number with its unit), and of the longest text.
    """

    name: str
    cells: Sequence[str]
    right: bool = False
    narrowest: int = field(init=False)
    widest: int = field(init=False)

    def __post_init__(self) -> None:
        texts = {self.name, *self.cells}
        self.widest = max(map(width_of, texts))
        whole = self.cells if self.right else ()
        self.narrowest = max(map(width_of, (*whole, *(word for text in texts for word in text.split(" ")))))


def print_table(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, stream: TextIO, *, all_columns: bool = False) -> None:
    """Print a table; all of it must fit into memory.

    Parameters
    ----------
    all_columns : bool
        On a terminal, print the columns of `schema` as they are, not a choice of them.
    """
    table = pa.Table.from_batches(blocks, schema)
    if not stream.isatty():
        _print_plain([_column(name, values) for name, values in zip(schema.names, as_values(table), strict=True)], stream)
        return
    from pybridge.cli.console import console_for

    console = console_for(stream)
    expected: Sequence[str]
    further: Sequence[str]
    if all_columns:
        columns = [_column(name, values) for name, values in zip(schema.names, as_values(table), strict=True)]
        expected, further = schema.names, ()
    elif "establishment" in schema.names:
        columns, expected, further = _connections(table), CONNECTIONS_FIRST, CONNECTIONS_THEN
    else:
        columns, expected, further = _segments(table), SEGMENTS_FIRST, SEGMENTS_THEN
    shown = print_columns(columns, (*expected, *further), console)
    left_out = [column.name for column in columns if column.name in expected and column not in shown]
    if left_out:
        say(
            f"{', '.join(left_out)} did not fit into {console.width} characters: "
            "widen the terminal, choose with --columns, or write a file with -o."
        )


def print_columns(columns: Sequence[Column], by_use: Sequence[str], console: Console) -> list[Column]:
    """Print the columns that fit, taken in the order of their use, and return them."""
    from rich.table import Table
    from rich.text import Text

    shown = fitting(columns, by_use, console.width)
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column, width in zip(shown, room := widths(shown, console.width), strict=True):
        grid.add_column(wrapped(column.name, width), justify="right" if column.right else "left", width=width)
    for row in zip(*(column.cells for column in shown), strict=True):
        cells = zip(shown, row, room, strict=True)
        grid.add_row(
            *(Text(wrapped(text, width), "bold red" if _is_wrong(column.name, text) else "") for column, text, width in cells)
        )
    console.print(grid, soft_wrap=False)
    return shown


def fitting(columns: Sequence[Column], by_use: Sequence[str], width: int) -> list[Column]:
    """Return the columns that fit side by side without breaking a word, taken in the order of their use; at least one."""
    by_name = {column.name: column for column in columns}
    chosen: list[Column] = []
    for column in (by_name[name] for name in by_use if name in by_name):
        if chosen and sum(each.narrowest + GAP for each in (*chosen, column)) - GAP > width:
            break
        chosen.append(column)
    return [column for column in columns if column in chosen]


def widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column: as wide as its texts where there is room, else at least as wide as its longest word."""
    found = [column.narrowest for column in columns]
    room = width - sum(found) - GAP * (len(columns) - 1)
    for index, column in enumerate(columns):
        more = min(column.widest - column.narrowest, max(room, 0))
        found[index] += more
        room -= more
    return found


def wrapped(text: str, width: int) -> str:
    """Return a text in lines of a width, broken at spaces only, and at none that must not be broken (`NO_BREAK`)."""
    if len(text) > width:
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    return text.replace(NO_BREAK, " ")


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.replace(NO_BREAK, " ").isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _column(name: str, values: Sequence[Any]) -> Column:
    right = any(isinstance(value, int) for value in values)
    return Column(name, ["" if value is None else printable(str(value)) for value in values], right)


def _print_plain(columns: Sequence[Column], stream: TextIO) -> None:
    """Print a line per row, however long."""
    for row in ([column.name for column in columns], *zip(*(column.cells for column in columns), strict=True)):
        cells = (_padded(text, column) for text, column in zip(row, columns, strict=True))
        stream.write((" " * GAP).join(cells).rstrip() + "\n")


def _padded(text: str, column: Column) -> str:
    padding = " " * (column.widest - width_of(text))
    return padding + text if column.right else text + padding


def _is_wrong(name: str, text: str) -> bool:
    return (name in WRONG and text != "") or (name in ("opening", "establishment") and text in FAILED)


def _connections(table: pa.Table) -> list[Column]:
    """Return the columns of `connections` for a glance that say anything, in the order in which they are printed."""
    values = _Values(table)
    waiting = values["still_waiting"]
    opening = [STILL_WAITING if waits else kind for kind, waits in zip(values["establishment"], waiting, strict=True)]
    columns = [
        *values.capture(),
        _column("stream", values["stream"]),
        _column("client", values.ends("client")),
        _column("server", values.ends("server")),
        _column("start", values["start"]),
        _column("opening", opening),
        Column("handshake", values.durations("handshake_time"), right=True),
        _column("SYNs repeated", [count or None for count in values["syn_retransmissions"]]),
        Column("duration", values.durations("duration"), right=True),
        _column("client bytes", values["client_bytes"]),
        _column("server bytes", values["server_bytes"]),
        _column("closing", values["termination"]),
        _column("by", values["closed_by"]),
        _column("reset by", values["reset_by"]),
        _column("diagnosis", values["diagnosis"]),
        _column("anomalies", values.names("anomalies")),
    ]
    return _that_say_anything(columns)


def _segments(table: pa.Table) -> list[Column]:
    """Return the columns of `segments` for a glance that say anything, in the order in which they are printed."""
    values = _Values(table)
    steps = zip(values["handshake_step"], values["teardown_step"], strict=True)
    columns = [
        *values.capture(),
        _column("frame", values["frame"]),
        _column("time", values["time"]),
        _column("stream", values["stream"]),
        _column("sender", values["sender"]),
        _column("flags", values["tcp_flags"]),
        _column("bytes", values["length"]),
        _column("role", values["role"]),
        _column("step", [" ".join(str(step) for step in both if step is not None) for both in steps]),
        _column("client state", values["client_state"]),
        _column("server state", values["server_state"]),
        _column("answers", values["responds_to"]),
        Column("after", values.durations("response_time"), right=True),
        _column("anomaly", values.names("anomaly")),
    ]
    return _that_say_anything(columns)


def _that_say_anything(columns: Sequence[Column]) -> list[Column]:
    return [column for column in columns if not column.cells or any(column.cells)]


class _Values:
    """The columns of a table as lists of Python values."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __getitem__(self, name: str) -> list[Any]:
        return as_values(self._table.select([name]))[0]

    def capture(self) -> list[Column]:
        return [_column("capture", self["capture"])] if "capture" in self._table.column_names else []

    def ends(self, end: str) -> list[str]:
        return [endpoint(*both) for both in zip(self[end], self[f"{end}_port"], strict=True)]

    def durations(self, name: str) -> list[str]:
        values = self._table.column(name).cast(pa.int64()).to_pylist()
        return ["" if value is None else nanoseconds_text(value) for value in values]

    def names(self, name: str) -> list[str | None]:
        return [value and value.replace("+", ", ") for value in self[name]]
