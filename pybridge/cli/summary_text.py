# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the summary of a capture: counts, failures, slowest handshakes, anomalies."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.cli.table_text import NO_BREAK, Column, print_columns, wrapped
from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK, RESETS
from pybridge.report.summary import Peer, Summary, represented
from pybridge.tcp.vocabulary import FAILED, OPENED
from pybridge.text import amount, duration_text, printable

ROWS = 10
"""Rows of each list that are printed."""

MARKS = {"alarm": PROBLEM_MARK, "note": BENIGN_MARK, "fine": "\u00b7"}
HARMS = {"alarm": "bold red", "note": "bold", "fine": "dim"}

FAILED_BY_USE = ("failed", "connections", "server", "first stream", "client")
PEERS_BY_USE = ("server", "client", "connections", "failed", "opened", "resets", "handshake (median)", "waited", "(95 %)")
SLOWEST_BY_USE = ("slowest handshake", "stream", "server", "waiting", "client")
ANOMALIES_BY_USE = ("anomaly", "count", "display filter", "frames")
"""Columns that a narrow terminal gets first."""


def print_summary(summary: Summary, source: str) -> None:
    """Print the summary of a capture to standard output."""
    console = console_for(sys.stdout)
    console.print(Text(f"{printable(source)}: {summary.size}", "bold"))
    console.print(Text.assemble(*((text, "bold red" if counted == "failed" else "") for text, counted in summary.verdict())))
    for finding in summary.findings:
        _print_hanging(console, Text(MARKS[finding.harm], HARMS[finding.harm]), finding.text())
        if finding.display_filter:
            console.print(Text(f"  {finding.display_filter}", "dim"), soft_wrap=True)
    _print_counts(console, "opened", {name: summary.establishment.get(name, 0) for name in OPENED})
    _print_counts(console, "failed", {name: summary.establishment.get(name, 0) for name in FAILED})
    _print_counts(console, "waiting", {"at the end of the capture": summary.still_waiting})
    _print_counts(console, "closed", summary.open_termination, f" (of the {amount(summary.were_open)} that were open)")
    _print_counts(console, "closed by", summary.open_closed_by)
    _print_counts(console, "reset", {RESETS[name]: count for name, count in summary.resets.items()})
    _print_counts(console, "why", summary.diagnoses)
    groups = represented(summary.failures, ROWS)
    _print_section(console, FAILED_BY_USE, len(summary.failures), "group", (
        {
            "failed": group.establishment,
            "connections": group.connections,
            "server": _named(group.server, group.server_name),
            "client": group.client or amount(group.clients, "client"),
            "first stream": group.first_stream,
        }
        for group in groups
    ))  # fmt: skip
    for head, peers in (("server", summary.servers), ("client", summary.clients)):
        if len(peers) > 1:
            _print_section(console, PEERS_BY_USE, len(peers), head, (_peer(head, peer) for peer in peers[:ROWS]))
    _print_section(console, SLOWEST_BY_USE, 0, "", (
        {
            "slowest handshake": _Number(duration_text(slow.handshake_time)),
            "stream": slow.stream,
            "client": slow.client,
            "server": _named(slow.server, slow.server_name),
            "waiting": _Number(duration_text(slow.retransmission_delay) if slow.retransmission_delay else ""),
        }
        for slow in summary.slowest[:ROWS]
    ))  # fmt: skip
    _print_section(console, ANOMALIES_BY_USE, 0, "", (
        {
            "anomaly": anomaly.name,
            "count": anomaly.count,
            "frames": anomaly.where(),
            "display filter": anomaly.display_filter,
        }
        for anomaly in summary.anomalies
    ))  # fmt: skip


class _Number(str):
    """A text that is aligned to the right."""


def _peer(head: str, peer: Peer) -> dict[str, str | int]:
    return {
        head: _named(peer.name, peer.server_name),
        "connections": _Number(amount(peer.connections)),
        "opened": _Number(amount(peer.opened)),
        "failed": _counts(peer.failures),
        "handshake (median)": _Number(duration_text(peer.handshake_median)),
        "(95 %)": _Number(duration_text(peer.handshake_p95)),
        "waited": _Number(duration_text(peer.waited) if peer.waited else ""),
        "resets": _counts(peer.resets),
    }


def _print_section(
    console: Console, by_use: tuple[str, ...], number: int, noun: str, rows: Iterable[Mapping[str, str | int]]
) -> None:
    """Print rows as a table after an empty line; say how many more there are."""
    listed = list(rows)
    if not listed:
        return
    columns = [
        Column(
            name, [printable(str(row[name])) for row in listed], right=not isinstance(value, str) or isinstance(value, _Number)
        )
        for name, value in listed[0].items()
    ]
    console.print()
    print_columns([column for column in columns if any(column.cells)], by_use, console)
    if number > len(listed):
        console.print(Text(f"and {amount(number - len(listed), f'more {noun}')}"))


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    text = _counts({name: count for name, count in counts.items() if count})
    if text:
        _print_hanging(console, Text(f"{label:>10} "), text + remark)


def _print_hanging(console: Console, label: Text, text: str) -> None:
    """Print a text after a label; further lines begin below the text."""
    lines = wrapped(text, console.width - len(label) - 1).split("\n")
    for index, line in enumerate(lines):
        console.print(Text.assemble(label if index == 0 else " " * len(label), " ", line), soft_wrap=True)


def _named(server: str, name: str) -> str:
    return f"{server} ({name})" if name else server


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{amount(count)}{NO_BREAK}{name}" for name, count in counts.items())
