# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the summary of a capture: counts, failures, slowest handshakes, anomalies."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.cli.table_text import PEERS_BY_USE, Column, PeerRow, counted, peer_columns, print_columns, wrapped
from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK
from pybridge.report.language import Language, Translate, translator
from pybridge.report.summary import Peer, Summary, represented
from pybridge.tcp.vocabulary import FAILED, OPENED
from pybridge.text import amount, duration_text, printable

if TYPE_CHECKING:
    import pandas as pd

HEADS = {"connections": "Connections"}
"""Heads that another language has under another phrase."""

LABEL = 10
"""Columns of the terminal for what is counted."""

ROWS = 10
"""Rows of each list that are printed."""

MARKS = {"alarm": PROBLEM_MARK, "note": BENIGN_MARK, "fine": "\u00b7"}
HARMS = {"alarm": "bold red", "note": "bold", "fine": "dim"}

FAILED_BY_USE = ("failed", "connections", "server", "first stream", "client")
SLOWEST_BY_USE = (
    *("slowest handshake", "stream", "server", "waiting", "client"),
    *("server\u2019s answer", "client\u2019s answer"),
)
ANOMALIES_BY_USE = ("anomaly", "count", "display filter", "frames")
"""Columns that a narrow terminal gets first."""


def print_summary(summary: Summary, source: str, language: Language = "en") -> None:
    """Print the summary of a capture to standard output. Names of outcomes and anomalies are the same in all languages."""
    console, translate = console_for(sys.stdout), translator(language)
    console.print(Text(f"{printable(source)}{translate(': ')}{summary.size_text(translate)}", "bold"))
    verdict = summary.verdict(translate)
    console.print(Text.assemble(*((text, "bold red" if counted == "failed" else "") for text, counted in verdict)))
    for finding in summary.findings:
        _print_hanging(console, Text(MARKS[finding.harm], HARMS[finding.harm]), finding.text(translate))
        if finding.display_filter:
            console.print(Text(f"  {finding.display_filter}", "dim"), soft_wrap=True)
    _print_counts(console, translate("opened"), {name: summary.establishment.get(name, 0) for name in OPENED})
    _print_counts(console, translate("failed"), {name: summary.establishment.get(name, 0) for name in FAILED})
    _print_counts(console, translate("waiting"), {translate("at the end of the capture"): summary.still_waiting})
    were_open = " (of the {number} that was open)" if summary.were_open == 1 else " (of the {number} that were open)"
    among = translate(were_open).format(number=amount(summary.were_open))
    _print_counts(console, translate("closed"), summary.open_termination, among)
    _print_counts(console, translate("closed by"), {translate(end): count for end, count in summary.open_closed_by.items()})
    for text in summary.resets_in_words(translate):
        _print_hanging(console, _label(translate("resets")), text)
    _print_counts(console, translate("why"), summary.diagnoses)
    groups = represented(summary.failures, ROWS)
    failed = [
        Column("failed", [group.establishment for group in groups]),
        Column("connections", [amount(group.connections) for group in groups], right=True),
        Column("server", [_named(group.server, group.server_name) for group in groups]),
        Column("client", [printable(group.client or amount(group.clients, "client", translate)) for group in groups]),
        Column("first stream", [str(group.first_stream) for group in groups], right=True),
    ]
    _print_section(console, FAILED_BY_USE, failed, translate, len(summary.failures), "more group")
    for head, more, peers in (("server", "more server", summary.servers), ("client", "more client", summary.clients)):
        if len(peers) > 1:
            columns = peer_columns(head, [_peer(peer, translate) for peer in peers[:ROWS]])
            _print_section(console, PEERS_BY_USE, columns, translate, len(peers), more)
    slowest = [
        Column("slowest handshake", [duration_text(slow.handshake_time) for slow in summary.slowest], right=True),
        Column("stream", [str(slow.stream) for slow in summary.slowest], right=True),
        Column("client", [printable(slow.client) for slow in summary.slowest]),
        Column("server", [_named(slow.server, slow.server_name) for slow in summary.slowest]),
        Column("waiting", [_if_any(slow.retransmission_delay) for slow in summary.slowest], right=True),
        Column("server\u2019s answer", [duration_text(slow.server_response_time) for slow in summary.slowest], right=True),
        Column("client\u2019s answer", [duration_text(slow.client_response_time) for slow in summary.slowest], right=True),
    ]
    _print_section(console, SLOWEST_BY_USE, slowest, translate)
    anomalies = [
        Column("anomaly", [printable(anomaly.name) for anomaly in summary.anomalies]),
        Column("count", [amount(anomaly.count) for anomaly in summary.anomalies], right=True),
        Column("frames", [anomaly.where(translate) for anomaly in summary.anomalies]),
        Column("display filter", [printable(anomaly.display_filter) for anomaly in summary.anomalies]),
    ]
    _print_section(console, ANOMALIES_BY_USE, anomalies, translate)


def _peer(peer: Peer, translate: Translate) -> PeerRow:
    return PeerRow(
        name=_named(peer.name, peer.server_name),
        connections=amount(peer.connections),
        opened=amount(peer.opened),
        failed=counted(peer.failures),
        median=duration_text(peer.handshake_median),
        p95=duration_text(peer.handshake_p95),
        waited=_if_any(peer.waited),
        resets=counted(peer.resets) + peer.reset_details.text(translate),
    )


def _print_section(
    console: Console,
    by_use: tuple[str, ...],
    columns: list[Column],
    translate: Translate,
    number: int = 0,
    noun: str = "",
) -> None:
    """Print a table after an empty line, if it has any row; say how many more there are of `number`."""
    rows = len(columns[0].cells)
    if not rows:
        return
    console.print()
    translated = [replace(column, name=_head(column.name, translate)) for column in columns if any(column.cells)]
    print_columns(translated, tuple(_head(name, translate) for name in by_use), console)
    if number > rows:
        console.print(Text(translate("and {more}").format(more=amount(number - rows, noun, translate))))


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    if text := counted(counts):
        _print_hanging(console, _label(label), text + remark)


def _label(text: str) -> Text:
    return Text(f"{' ' * (LABEL - cell_len(text))}{text} ")


def _head(name: str, translate: Translate) -> str:
    return name if translate is str else translate(HEADS.get(name, name))


def _print_hanging(console: Console, label: Text, text: str) -> None:
    """Print a text after a label; further lines begin below the text."""
    lines = wrapped(text, console.width - label.cell_len - 1).split("\n")
    for index, line in enumerate(lines):
        console.print(Text.assemble(label if index == 0 else " " * label.cell_len, " ", line), soft_wrap=True)


def _named(server: str, name: str) -> str:
    return printable(f"{server} ({name})" if name else server)


def _if_any(duration: pd.Timedelta) -> str:
    return duration_text(duration) if duration else ""
