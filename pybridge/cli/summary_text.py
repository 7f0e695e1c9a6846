# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the summary of a capture: counts, failures, slowest handshakes, anomalies."""

from __future__ import annotations

import sys

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.report.explanations import BENIGN_MARK, PROBLEM_MARK
from pybridge.report.language import Language, Translate, translator
from pybridge.report.summary import Peer, Summary, represented
from pybridge.tcp.vocabulary import FAILED, OPENED
from pybridge.text import amount, duration_text, printable

HEADS = {"connections": "Connections"}
"""Heads that another language has under another phrase."""

LABEL = 10
"""Columns of the terminal for what is counted."""

ROWS = 10
"""Rows of each list that are printed."""

NUMBERS = (
    *("connections", "first stream", "slowest handshake", "stream", "waiting", "count", "opened", "handshake (median)"),
    *("(95 %)", "waited", "server\u2019s answer", "client\u2019s answer"),
)
"""Columns that are aligned to the right."""


MARKS = {"alarm": PROBLEM_MARK, "note": BENIGN_MARK, "fine": "\u00b7"}
HARMS = {"alarm": "bold red", "note": "bold", "fine": "dim"}


def print_summary(summary: Summary, source: str, language: Language = "en") -> None:
    """Print the summary of a capture to standard output. Names of outcomes and anomalies are the same in all languages."""
    console, translate = console_for(sys.stdout), translator(language)
    console.print(Text(f"{printable(source)}{translate(': ')}{summary.size_text(translate)}", "bold"))
    before, failures, after = summary.verdict(translate)
    console.print(Text.assemble(before, (failures, "bold red"), after))
    for finding in summary.findings:
        console.print(Text.assemble((f"{MARKS[finding.harm]} ", HARMS[finding.harm]), finding.text(translate)))
        if finding.display_filter:
            console.print(Text(f"  {finding.display_filter}", "dim"), soft_wrap=True)
    _print_counts(console, translate("opened"), {name: summary.establishment.get(name, 0) for name in OPENED})
    _print_counts(console, translate("failed"), {name: summary.establishment.get(name, 0) for name in FAILED})
    _print_counts(console, translate("waiting"), {translate("at the end of the capture"): summary.still_waiting})
    among = translate(" (of the {number} that were open)").format(number=amount(summary.were_open))
    _print_counts(console, translate("closed"), summary.open_termination, among)
    _print_counts(console, translate("closed by"), {translate(end): count for end, count in summary.open_closed_by.items()})
    for text in summary.resets_in_words(translate):
        console.print(_labelled(translate("resets"), text))
    _print_counts(console, translate("why"), summary.diagnoses)
    if summary.failures:
        table = _section(translate, "failed", "connections", "server", "client", "first stream")
        for group in represented(summary.failures, ROWS):
            clients = group.client or amount(group.clients, "client", translate)
            _add(table, group.establishment, group.connections, group.server, clients, group.first_stream)
        console.print(table)
        _print_more(console, len(summary.failures), "more group", translate)
    for head, more, peers in (("server", "more server", summary.servers), ("client", "more client", summary.clients)):
        if len(peers) > 1:
            table = _section(
                translate, head, "connections", "opened", "failed", "handshake (median)", "(95 %)", "waited", "resets"
            )
            for peer in peers[:ROWS]:
                _add(
                    table, peer.name, amount(peer.connections), amount(peer.opened), _counts(peer.failures),
                    duration_text(peer.handshake_median), duration_text(peer.handshake_p95),
                    duration_text(peer.waited) if peer.waited else "", _resets(peer, translate),
                )  # fmt: skip
            console.print(table)
            _print_more(console, len(peers), more, translate)
    if summary.slowest:
        table = _section(
            translate,
            "slowest handshake",
            "stream",
            "client",
            "server",
            "waiting",
            "server\u2019s answer",
            "client\u2019s answer",
        )
        for slow in summary.slowest[:ROWS]:
            waited = duration_text(slow.retransmission_delay) if slow.retransmission_delay else ""
            answers = duration_text(slow.server_response_time), duration_text(slow.client_response_time)
            _add(table, duration_text(slow.handshake_time), slow.stream, slow.client, slow.server, waited, *answers)
        console.print(table)
    if summary.anomalies:
        table = _section(translate, "anomaly", "count", "frames", "display filter")
        for anomaly in summary.anomalies:
            _add(table, anomaly.name, anomaly.count, anomaly.where(translate), anomaly.display_filter)
        console.print(table)


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    text = ", ".join(f"{amount(count)} {name}" for name, count in counts.items() if count)
    if text:
        console.print(_labelled(label, f"{text}{remark}"))


def _labelled(label: str, text: str) -> Text:
    return Text(f"{' ' * (LABEL - cell_len(label))}{label}  {text}")


def _print_more(console: Console, number: int, noun: str, translate: Translate) -> None:
    if number > ROWS:
        console.print(Text(translate("and {more}").format(more=amount(number - ROWS, noun, translate))))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{amount(count)} {name}" for name, count in counts.items())


def _resets(peer: Peer, translate: Translate) -> str:
    return translate(", ").join(filter(None, (_counts(peer.resets), peer.reset_by.text(translate))))


def _section(translate: Translate, *heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        name = head if translate is str else translate(HEADS.get(head, head))
        table.add_column(name, justify="right" if head in NUMBERS else "left", overflow="fold")
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*(Text(printable(str(cell))) for cell in cells))
