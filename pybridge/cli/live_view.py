# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a live capture: events and a table by server on a terminal, or line by line in a pipe."""

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
SERVERS_SHOWN = 20
"""Servers that the table lists."""

COLOURS = {"opened": "green", "failed": "bold red", "reset": "red", "closed": "default"}

Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]


def follow(source: str, bpf: str, limits: Limits, stopping: Stopping) -> None:
    """Print events as they happen; at the end print the table by server and the number of dropped packets.

    On a terminal, the table is below the events all the time.

    Parameters
    ----------
    source, bpf, limits
        As of `pybridge.live.events`.
    stopping : callable
        Returns a context in which the user can stop the capture; its argument is the function that stops it.
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
    """Yield a batch with the columns `schema.CONNECTIONS` whenever connections are forgotten; conclude as `follow` does."""
    waiting: list[ConnectionRow] = []
    sys.stdout.flush()
    with Live(source, bpf=bpf, limits=limits, on_release=waiting.append) as live, stopping(live.stop):
        for _ in live.steps():
            yield from batches.connections(waiting)
            waiting.clear()
            sys.stdout.flush()
        _conclude(live)


def line(event: Event) -> Text:
    """Return the event as one line."""
    duration = MISSING if event.duration is None else nanoseconds_text(event.duration)
    ends = f"{endpoint(event.client, event.client_port)} \u2192 {endpoint(event.server, event.server_port)}"
    reason = _reason(event)
    text = Text(f"{_iso(event.time)}  ")
    text.append(f"{event.what:6}", COLOURS[event.what])
    return text.append(printable(f"  {ends}  {duration}  {reason}"))


def _reason(event: Event) -> str:
    """Return how a connection ended, and by whom."""
    if event.reset_by is None:
        return event.reason + (f" by {event.closed_by}" if event.closed_by else "")
    if event.closed_by in (None, event.reset_by):
        return f"reset by {event.reset_by}"
    return f"closed first by {event.closed_by}, reset by {event.reset_by}"


def by_server(monitor: Monitor) -> Table:
    """Return a table of the servers with the most connections."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("server", "opened", "refused", "unanswered", "other failures", "handshake (mean)", "(slowest)"):
        table.add_column(head, justify="left" if head == "server" else "right", no_wrap=True)
    counts = sorted(monitor.servers.items(), key=lambda item: -item[1].connections)
    for key, count in counts[:SERVERS_SHOWN]:
        name = "all other servers" if key == OTHERS else printable(endpoint(*key))
        mean = nanoseconds_text(count.handshake_time // count.handshakes) if count.handshakes else MISSING
        slowest = nanoseconds_text(count.slowest) if count.handshakes else MISSING
        numbers = (count.opened, count.refused, count.unanswered, count.failed)
        table.add_row(Text(name), *map(amount, numbers), mean, slowest)
    if len(counts) > SERVERS_SHOWN:
        table.add_row(f"and {amount(len(counts) - SERVERS_SHOWN, 'other server')}")
    return table


def _conclude(live: Live) -> None:
    console = console_for(sys.stderr)
    console.print(by_server(live.monitor))
    released = live.monitor.released
    early = released["idle"] + released["crowded"]
    if early:
        console.print(
            f"{amount(early, 'connection')} forgotten before the end: {released['idle']:,} idle for too long, "
            f"{released['crowded']:,} because there were too many; their later segments count as joined midway."
        )
    drops = live.drops()
    if drops is None:
        console.print("The number of dropped packets is unknown: another program captured them.")
    else:
        console.print(f"{amount(drops[0], 'packet')} captured, {amount(drops[1])} dropped.")


def _iso(time: int) -> str:
    """Return a time in ISO 8601, UTC, with nanoseconds; as seconds since the epoch if the year is beyond the calendar."""
    seconds, rest = divmod(time, SECOND)
    try:
        return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except OverflowError:
        return f"{seconds}.{rest:09d}"
