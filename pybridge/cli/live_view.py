# SPDX-License-Identifier: GPL-2.0-or-later
"""Show a live capture: events and tables by server and by client on a terminal, or line by line in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from rich.console import Console, Group, RenderableType
from rich.live import Live as Display
from rich.text import Text

from pybridge.cli.console import console_for
from pybridge.cli.table_text import PEERS_BY_USE, PeerRow, counted, fitting, grid, peer_columns
from pybridge.live import Live
from pybridge.live.monitor import OTHERS, SECOND, Event, Limits, Monitor
from pybridge.live.peers import Peer
from pybridge.report.explanations import RESETS
from pybridge.tables import batches
from pybridge.tcp.model import ConnectionRow
from pybridge.tcp.vocabulary import HARMLESS
from pybridge.text import MISSING, amount, endpoint, nanoseconds_text, printable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PEERS_SHOWN = 20
"""Servers, and clients, that the tables list."""

COLOURS = {"opened": "green", "failed": "bold red", "reset": "red", "closed": "default"}

Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]


def follow(source: str, bpf: str, limits: Limits, stopping: Stopping) -> None:
    """Print events as they happen; at the end print tables by server and by client, and the number of dropped packets.

    On a terminal, the tables are below the events all the time.

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
            with Display(get_renderable=lambda: by_peer(live.monitor, console.width), console=console, transient=True):
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
    """Return how a connection opened or ended, by whom, and why unless it is no reason to worry."""
    if event.reset_by is None:
        reason = event.reason + (f" by {event.closed_by}" if event.closed_by else "")
    elif event.closed_by in (None, event.reset_by):
        reason = f"reset by {event.reset_by}"
    else:
        reason = f"closed first by {event.closed_by}, reset by {event.reset_by}"
    if event.reset_class == "mid-connection":
        reason += f" {RESETS[event.reset_class]}"
    if event.unacknowledged:
        reason += f", {amount(event.unacknowledged, 'octet')} unacknowledged"
    if event.silence:
        reason += f", after {nanoseconds_text(event.silence)} of silence"
    return reason if event.diagnosis in HARMLESS else f"{reason}: {event.diagnosis}"


def by_peer(monitor: Monitor, width: int) -> Group:
    """Return tables of the servers and the clients with the most connections; of the clients only if there are several."""
    servers = _table("server", {"" if key == OTHERS else endpoint(*key): peer for key, peer in monitor.servers.items()}, width)
    if len(monitor.clients) < 2:
        return Group(*servers)
    return Group(*servers, "", *_table("client", dict(monitor.clients), width))


def _table(head: str, peers: Mapping[str, Peer], width: int) -> list[RenderableType]:
    """Return the columns that fit, and how many peers are left out."""
    counts = sorted(peers.items(), key=lambda item: -item[1].connections)
    columns = peer_columns(head, [_row(printable(key) or f"all other {head}s", peer) for key, peer in counts[:PEERS_SHOWN]])
    table = grid(fitting(columns, PEERS_BY_USE, width), width)
    more = len(counts) - PEERS_SHOWN
    return [table, f"and {amount(more, f'other {head}')}"] if more > 0 else [table]


def _row(name: str, peer: Peer) -> PeerRow:
    median, p95 = (MISSING if time is None else nanoseconds_text(time) for time in map(peer.handshake_time, (0.5, 0.95)))
    return PeerRow(
        name=name,
        opened=amount(peer.opened),
        failed=counted(dict(peer.failures.most_common())),
        median=median,
        p95=p95,
        waited=nanoseconds_text(peer.waited) if peer.waited else "",
        resets=_resets(peer),
    )


def _resets(peer: Peer) -> str:
    """Return how many resets there were by class; of the harmful ones by whom, how much was lost, how long it was silent."""
    parts = [counted(dict(peer.resets.most_common())), *(f"by {end}" for end in peer.resetters)]
    if peer.unacknowledged:
        parts.append(f"{amount(peer.unacknowledged, 'octet')} unacknowledged")
    if peer.silence >= SECOND:
        parts.append(f"silent for up to {nanoseconds_text(peer.silence)}")
    return ", ".join(parts)


def _conclude(live: Live) -> None:
    console = console_for(sys.stderr)
    console.print(by_peer(live.monitor, console.width))
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
