# SPDX-License-Identifier: GPL-2.0-or-later
"""A live capture on a terminal, or line by line in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from rich.console import Console
from rich.live import Live as Display
from rich.table import Table
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.live import Live
from pybridge.live.monitor import OTHERS, SECOND, Event, Limits, Monitor
from pybridge.tables import batches
from pybridge.tcp.model import ConnectionRow
from pybridge.text import MISSING, amount, endpoint, nanoseconds_text, printable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SERVERS = 20  # shown
COLOURS = {"opened": "green", "failed": "bold red", "reset": "red", "closed": "default"}

Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]


def follow(source: str, bpf: str, limits: Limits, stopping: Stopping) -> None:
    """Print events as they happen, with the table by server below them on a terminal; the table and what was lost at the end.

    Parameters
    ----------
    source, bpf, limits
        As of `pybridge.live.events`.
    stopping : callable
        Makes a context in which the user can stop the capture; is given what stops it.
    """
    with Live(source, bpf=bpf, limits=limits) as live, stopping(live.stop):
        if sys.stdout.isatty():
            console = Console(highlight=False)
            with Display(get_renderable=lambda: by_server(live.monitor), console=console, transient=True):
                for event in live:
                    console.print(line(event), soft_wrap=True)
        else:
            for event in live:
                print(line(event), flush=True)
        _conclude(live)


def rows(source: str, bpf: str, limits: Limits, stopping: Stopping) -> Iterator[pa.RecordBatch]:
    """A batch with the columns `CONNECTIONS` whenever connections were released; then as `follow`."""
    waiting: list[ConnectionRow] = []
    sys.stdout.flush()
    with Live(source, bpf=bpf, limits=limits, on_release=waiting.append) as live, stopping(live.stop):
        for _ in live.steps():
            yield from batches.connections(waiting)
            waiting.clear()
            sys.stdout.flush()
        _conclude(live)


def line(event: Event) -> Text:
    """The event in one line."""
    duration = MISSING if event.duration is None else nanoseconds_text(event.duration)
    ends = f"{endpoint(event.client, event.client_port)} \u2192 {endpoint(event.server, event.server_port)}"
    reason = event.reason + (f" by {event.by}" if event.by else "")
    text = Text(f"{_iso(event.time)}  ")
    text.append(f"{event.what:6}", COLOURS[event.what])
    return text.append(printable(f"  {ends}  {duration}  {reason}"))


def by_server(monitor: Monitor) -> Table:
    """The servers with the most connections."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("server", "opened", "refused", "unanswered", "other failures", "handshake (mean)", "(slowest)"):
        table.add_column(head, justify="left" if head == "server" else "right", no_wrap=True)
    counts = sorted(monitor.servers.items(), key=lambda item: -item[1].connections)
    for key, count in counts[:SERVERS]:
        name = "all other servers" if key == OTHERS else printable(endpoint(*key))
        mean = nanoseconds_text(count.handshake_time // count.handshakes) if count.handshakes else MISSING
        slowest = nanoseconds_text(count.slowest) if count.handshakes else MISSING
        numbers = (count.opened, count.refused, count.unanswered, count.failed)
        table.add_row(Text(name), *map(amount, numbers), mean, slowest)
    if len(counts) > SERVERS:
        table.add_row(f"and {amount(len(counts) - SERVERS, 'other server')}")
    return table


def _conclude(live: Live) -> None:
    console = console_for(sys.stderr)
    console.print(by_server(live.monitor))
    released = live.monitor.released
    early = released["idle"] + released["crowded"]
    if early:
        console.print(
            f"{amount(early, 'connection')} released before the end: {released['idle']:,} silent for too long, "
            f"{released['crowded']:,} too many; what came of them later counts as joined midway."
        )
    drops = live.drops()
    if drops is None:
        console.print("How many packets were dropped is known only where they were captured.")
    else:
        console.print(f"{amount(drops[0], 'packet')} captured, {amount(drops[1])} dropped.")


def _iso(time: int) -> str:
    """ISO 8601 in UTC with nanoseconds; seconds since the epoch where a calendar knows no such year."""
    seconds, rest = divmod(time, SECOND)
    try:
        return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except OverflowError:
        return f"{seconds}.{rest:09d}"
