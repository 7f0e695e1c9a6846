# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the summary of a capture: counts, failures, slowest handshakes, anomalies."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.cli.table_text import PEERS_BY_USE, Column, PeerRow, counted, peer_columns, print_columns, wrapped
from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK, RESETS
from pybridge.report.summary import Peer, Summary, represented
from pybridge.tcp.vocabulary import FAILED, OPENED
from pybridge.text import amount, duration_text, printable

if TYPE_CHECKING:
    import pandas as pd

ROWS = 10
"""Rows of each list that are printed."""

MARKS = {"alarm": PROBLEM_MARK, "note": BENIGN_MARK, "fine": "\u00b7"}
HARMS = {"alarm": "bold red", "note": "bold", "fine": "dim"}

FAILED_BY_USE = ("failed", "connections", "server", "first stream", "client")
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
    failed = [
        Column("failed", [group.establishment for group in groups]),
        Column("connections", [amount(group.connections) for group in groups], right=True),
        Column("server", [_named(group.server, group.server_name) for group in groups]),
        Column("client", [printable(group.client or amount(group.clients, "client")) for group in groups]),
        Column("first stream", [str(group.first_stream) for group in groups], right=True),
    ]
    _print_section(console, FAILED_BY_USE, failed, len(summary.failures), "group")
    for head, peers in (("server", summary.servers), ("client", summary.clients)):
        if len(peers) > 1:
            columns = peer_columns(head, [_peer(peer) for peer in peers[:ROWS]])
            _print_section(console, PEERS_BY_USE, columns, len(peers), head)
    slowest = [
        Column("slowest handshake", [duration_text(slow.handshake_time) for slow in summary.slowest], right=True),
        Column("stream", [str(slow.stream) for slow in summary.slowest], right=True),
        Column("client", [printable(slow.client) for slow in summary.slowest]),
        Column("server", [_named(slow.server, slow.server_name) for slow in summary.slowest]),
        Column("waiting", [_if_any(slow.retransmission_delay) for slow in summary.slowest], right=True),
    ]
    _print_section(console, SLOWEST_BY_USE, slowest)
    anomalies = [
        Column("anomaly", [printable(anomaly.name) for anomaly in summary.anomalies]),
        Column("count", [amount(anomaly.count) for anomaly in summary.anomalies], right=True),
        Column("frames", [anomaly.where() for anomaly in summary.anomalies]),
        Column("display filter", [printable(anomaly.display_filter) for anomaly in summary.anomalies]),
    ]
    _print_section(console, ANOMALIES_BY_USE, anomalies)


def _peer(peer: Peer) -> PeerRow:
    return PeerRow(
        name=_named(peer.name, peer.server_name),
        connections=amount(peer.connections),
        opened=amount(peer.opened),
        failed=counted(peer.failures),
        median=duration_text(peer.handshake_median),
        p95=duration_text(peer.handshake_p95),
        waited=_if_any(peer.waited),
        resets=counted(peer.resets),
    )


def _print_section(console: Console, by_use: tuple[str, ...], columns: list[Column], number: int = 0, noun: str = "") -> None:
    """Print a table after an empty line, if it has any row; say how many more there are of `number`."""
    rows = len(columns[0].cells)
    if not rows:
        return
    console.print()
    print_columns([column for column in columns if any(column.cells)], by_use, console)
    if number > rows:
        console.print(Text(f"and {amount(number - rows, f'more {noun}')}"))


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    if text := counted(counts):
        _print_hanging(console, Text(f"{label:>10} "), text + remark)


def _print_hanging(console: Console, label: Text, text: str) -> None:
    """Print a text after a label; further lines begin below the text."""
    lines = wrapped(text, console.width - len(label) - 1).split("\n")
    for index, line in enumerate(lines):
        console.print(Text.assemble(label if index == 0 else " " * len(label), " ", line), soft_wrap=True)


def _named(server: str, name: str) -> str:
    return printable(f"{server} ({name})" if name else server)


def _if_any(duration: pd.Timedelta) -> str:
    return duration_text(duration) if duration else ""
