# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and summaries as text: on a terminal, as CSV, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pybridge.report.explanations import FAILED, OPENED
from pybridge.report.summary import Summary
from pybridge.tables import frames
from pybridge.text import PIPED_WIDTH, amount, duration_text, endpoint, printable


class _Console(Console):
    """A console that leaves it to the caller what to do when the reader has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


SHOWN = 10
NUMBERS = ("connections", "first stream", "slowest handshake", "stream", "SYNs repeated", "count")  # columns


def write(blocks: Iterable[pa.RecordBatch], schema: pa.Schema, form: str, target: Path | None) -> None:
    """Write a table as `csv`, `json` (one document), `jsonl` (an object a line) or `table` as its batches come.

    To a file, or to standard output.

    Times are ISO 8601 in UTC with nanoseconds, durations seconds.
    """
    stream = target.open("w", encoding="utf-8", newline="") if target else sys.stdout
    try:
        if form == "csv":
            as_text(frames.frame([], schema)).to_csv(stream, index=False, lineterminator="\n")
            for block in blocks:
                as_text(frames.frame([block], schema)).to_csv(stream, index=False, header=False, lineterminator="\n")
        elif form == "json":
            before = "[\n"
            for block in blocks:
                for record in _records(frames.frame([block], schema)):
                    stream.write(before + json.dumps(record))
                    before = ",\n"
            stream.write("[]\n" if before == "[\n" else "\n]\n")
        elif form == "jsonl":
            for block in blocks:
                stream.writelines(f"{json.dumps(record)}\n" for record in _records(frames.frame([block], schema)))
        else:
            _print_table(stream, frames.frame(blocks, schema))
    finally:
        if target:
            stream.close()


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with times in ISO 8601 and durations in seconds, exactly, as text."""
    text = table.copy()
    for name in table.columns:
        if isinstance(table[name].dtype, pd.DatetimeTZDtype):
            text[name] = _iso(table[name])
        elif table[name].dtype.kind == "m":
            text[name] = [None if pd.isna(value) else _seconds(value) for value in table[name]]
    return text


def _iso(times: pd.Series) -> list[str]:
    return [f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond * 1000 + time.nanosecond:09d}Z" for time in times]


def _seconds(duration: pd.Timedelta) -> str:
    sign = "-" if duration.value < 0 else ""
    whole, part = divmod(abs(duration.value), 1_000_000_000)
    return f"{sign}{whole}.{part:09d}"


def _records(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    seconds = [name for name in table.columns if table[name].dtype.kind == "m"]
    plain = as_text(table).astype(object)
    plain = plain.where(plain.notna(), None)
    for name in seconds:
        plain[name] = pd.Series([None if value is None else float(value) for value in plain[name]], dtype=object)
    return plain.to_dict(orient="records")


def _print_table(stream: TextIO, table: pd.DataFrame) -> None:
    """All columns as they are; on a terminal what people look at, folded to its width."""
    looked_at = stream.isatty()
    text = _glance(table) if looked_at else as_text(table)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in text.columns:
        right = name == "handshake" or pd.api.types.is_numeric_dtype(text[name].dtype)
        grid.add_column(name, justify="right" if right else "left", no_wrap=not looked_at, overflow="fold")
    for row in text.itertuples(index=False):
        grid.add_row(*(_cell(name, value) for name, value in zip(text.columns, row, strict=True)))
    _Console(file=stream, width=None if looked_at else PIPED_WIDTH, highlight=False).print(grid, soft_wrap=False)


def _glance(table: pd.DataFrame) -> pd.DataFrame:
    """Fewer and narrower columns."""
    capture = {"capture": table["capture"]} if "capture" in table else {}
    if "establishment" not in table:
        names = ["frame", "stream", "sender", "flags", "length", "role"]
        rest = ["client_state", "server_state", "anomaly"]
        return pd.DataFrame(
            capture | {name: table[name] for name in names} | {"step": frames.steps(table)} | {name: table[name] for name in rest}
        )
    ends = {end: [endpoint(*both) for both in zip(table[end], table[f"{end}_port"], strict=True)] for end in ("client", "server")}
    told = {
        "opening": table["establishment"],
        "handshake": [duration_text(time) for time in table["handshake_time"]],
        "closing": table["termination"],
        "by": table["closed_by"],
        "anomalies": table["anomalies"].str.replace("+", ", "),
    }
    return pd.DataFrame(capture | {"stream": table["stream"]} | ends | told)


def _cell(name: str, value: Any) -> Text:
    wrong = name in ("anomaly", "anomalies") or (name == "opening" and value in FAILED)
    return Text("" if pd.isna(value) else printable(str(value)), "bold red" if wrong else "")


def print_summary(summary: Summary, source: str) -> None:
    """The verdict on a capture, for a terminal: counts, failures, slowest handshakes, anomalies."""
    console = _Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    console.print(Text(f"{printable(source)}: {summary.size}", "bold"))
    before, failures, after = summary.verdict()
    console.print(Text.assemble(before, (failures, "bold red"), after))
    _print_counts(console, "opened", {name: summary.establishment.get(name, 0) for name in OPENED})
    _print_counts(console, "failed", {name: summary.establishment.get(name, 0) for name in FAILED})
    _print_counts(console, "closed", summary.open_termination, f" (of the {amount(summary.were_open)} that were open)")
    _print_counts(console, "closed by", summary.open_closed_by)
    if summary.failures:
        table = _section("failed", "connections", "server", "client", "first stream")
        for group in summary.failures[:SHOWN]:
            clients = group.client or amount(group.clients, "client")
            _add(table, group.establishment, group.connections, group.server, clients, group.first_stream)
        console.print(table)
    if summary.slowest:
        table = _section("slowest handshake", "stream", "client", "server", "SYNs repeated")
        for slow in summary.slowest[:SHOWN]:
            _add(table, duration_text(slow.handshake_time), slow.stream, slow.client, slow.server, slow.syn_retransmissions or "")
        console.print(table)
    if summary.anomalies:
        table = _section("anomaly", "count", "frames", "display filter")
        for anomaly in summary.anomalies:
            _add(table, anomaly.name, anomaly.count, anomaly.where(), anomaly.display_filter)
        console.print(table)


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    text = ", ".join(f"{amount(count)} {name}" for name, count in counts.items() if count)
    if text:
        console.print(Text(f"{label:>10}  {text}{remark}"))


def _section(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, justify="right" if head in NUMBERS else "left", overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(printable(str(cell))) for cell in cells))
