# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the summary of a capture: counts, failures, slowest handshakes, anomalies."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.cli.table_text import NO_BREAK, Column, print_columns, wrapped
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

MARKS = {"alarm": PROBLEM_MARK, "note": BENIGN_MARK, "fine": "\u00b7"}
HARMS = {"alarm": "bold red", "note": "bold", "fine": "dim"}

FAILED_BY_USE = ("failed", "connections", "server", "first stream", "client")
PEERS_BY_USE = ("server", "client", "connections", "failed", "opened", "resets", "handshake (median)", "waited", "(95 %)")
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
    among = translate(" (of the {number} that were open)").format(number=amount(summary.were_open))
    _print_counts(console, translate("closed"), summary.open_termination, among)
    _print_counts(console, translate("closed by"), {translate(end): count for end, count in summary.open_closed_by.items()})
    for text in summary.resets_in_words(translate):
        _print_hanging(console, _label(translate("resets")), text)
    _print_counts(console, translate("why"), summary.diagnoses)
    groups = represented(summary.failures, ROWS)
    _print_section(console, FAILED_BY_USE, len(summary.failures), "more group", translate, (
        {
            "failed": group.establishment,
            "connections": group.connections,
            "server": _named(group.server, group.server_name),
            "client": group.client or amount(group.clients, "client", translate),
            "first stream": group.first_stream,
        }
        for group in groups
    ))  # fmt: skip
    for head, more, peers in (("server", "more server", summary.servers), ("client", "more client", summary.clients)):
        if len(peers) > 1:
            rows = (_peer(head, peer, translate) for peer in peers[:ROWS])
            _print_section(console, PEERS_BY_USE, len(peers), more, translate, rows)
    _print_section(console, SLOWEST_BY_USE, 0, "", translate, (
        {
            "slowest handshake": _Number(duration_text(slow.handshake_time)),
            "stream": slow.stream,
            "client": slow.client,
            "server": _named(slow.server, slow.server_name),
            "waiting": _Number(duration_text(slow.retransmission_delay) if slow.retransmission_delay else ""),
            "server\u2019s answer": _Number(duration_text(slow.server_response_time)),
            "client\u2019s answer": _Number(duration_text(slow.client_response_time)),
        }
        for slow in summary.slowest[:ROWS]
    ))  # fmt: skip
    _print_section(console, ANOMALIES_BY_USE, 0, "", translate, (
        {
            "anomaly": anomaly.name,
            "count": anomaly.count,
            "frames": anomaly.where(translate),
            "display filter": anomaly.display_filter,
        }
        for anomaly in summary.anomalies
    ))  # fmt: skip


class _Number(str):
    """A text that is aligned to the right."""


def _peer(head: str, peer: Peer, translate: Translate) -> dict[str, str | int]:
    return {
        head: _named(peer.name, peer.server_name),
        "connections": _Number(amount(peer.connections)),
        "opened": _Number(amount(peer.opened)),
        "failed": _counts(peer.failures),
        "handshake (median)": _Number(duration_text(peer.handshake_median)),
        "(95 %)": _Number(duration_text(peer.handshake_p95)),
        "waited": _Number(duration_text(peer.waited) if peer.waited else ""),
        "resets": translate(", ").join(filter(None, (_counts(peer.resets), peer.reset_by.text(translate)))),
    }


def _print_section(
    console: Console,
    by_use: tuple[str, ...],
    number: int,
    noun: str,
    translate: Translate,
    rows: Iterable[Mapping[str, str | int]],
) -> None:
    """Print rows as a table after an empty line; say how many more there are."""
    listed = list(rows)
    if not listed:
        return
    columns = [
        Column(
            _head(name, translate),
            [printable(str(row[name])) for row in listed],
            right=not isinstance(value, str) or isinstance(value, _Number),
        )
        for name, value in listed[0].items()
    ]
    console.print()
    translated = tuple(_head(name, translate) for name in by_use)
    print_columns([column for column in columns if any(column.cells)], translated, console)
    if number > len(listed):
        console.print(Text(translate("and {more}").format(more=amount(number - len(listed), noun, translate))))


def _print_counts(console: Console, label: str, counts: dict[str, int], remark: str = "") -> None:
    text = _counts({name: count for name, count in counts.items() if count})
    if text:
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
    return f"{server} ({name})" if name else server


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{amount(count)}{NO_BREAK}{name}" for name, count in counts.items())
