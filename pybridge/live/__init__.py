# SPDX-License-Identifier: GPL-2.0-or-later
"""Live captures: the events of an interface, of standard input or of a named pipe as they happen.

`monitor` is pure: segments in, events out. This package may import `tcp`, `wireshark` and `errors`; `cli` shows its events.

>>> from pybridge import examples, live
>>> [event.what for event in live.events(str(examples.capture("refused")))]  # a file is replayed as fast as it can be read
['failed']
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain

from pybridge.live.monitor import SECOND, Event, Limits, Monitor
from pybridge.tcp.model import ConnectionRow
from pybridge.wireshark.capture_source import SourceKind, kind_of
from pybridge.wireshark.dumpcap import SESSION_PACKETS, Packets

PATIENCE = 0.5
"""Seconds without packets after which time passes by the clock; in a file it passes by the packets alone."""


def events(source: str, *, bpf: str = "", limits: Limits | None = None) -> Iterator[Event]:
    """Yield events as they happen.

    Parameters
    ----------
    source : str
        An interface (`eth0`); or `-`, standard input; or a file or named pipe.
    bpf : str
        Capture filter for an interface, in libpcap's language (`tcp port 443`).
    limits : Limits, optional

    Yields
    ------
    Event

    Raises
    ------
    CaptureError, TSharkError

    Warns
    -----
    CutShortWarning
    """
    with Live(source, bpf=bpf, limits=limits) as live:
        yield from live


class Live:
    """A running capture. Iterate over it for its events; the `with` block ends it.

    Parameters
    ----------
    source, bpf, limits
        As of `events`.
    on_release : callable, optional
        Called with the row of each connection when it is forgotten, at the latest when the capture ends.
    session_packets : int, optional
        Packets that one tshark reads before another one continues, so that memory does not grow.

    Attributes
    ----------
    monitor : Monitor
        The counts by server, and the tracked connections.
    """

    def __init__(
        self,
        source: str,
        *,
        bpf: str = "",
        limits: Limits | None = None,
        on_release: Callable[[ConnectionRow], object] | None = None,
        session_packets: int = SESSION_PACKETS,
    ) -> None:
        self.monitor = Monitor(limits, on_release)
        self._packets = Packets(source, bpf=bpf, session_packets=session_packets)
        self._patience = None if kind_of(source) is SourceKind.FILE else PATIENCE

    def __enter__(self) -> Live:
        self._packets.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._packets.__exit__()

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events until the source ends or `stop` is called; once only."""
        return chain.from_iterable(self.steps())

    def steps(self) -> Iterator[list[Event]]:
        """Yield lists of events, also empty lists while nothing happens, so that the caller can look at `monitor`."""
        from pybridge.wireshark import segments  # the command line offers the options of `live` before pyarrow is loaded

        monitor = self.monitor
        for session in self._packets.sessions(self._patience):
            monitor.begin_session()
            heard_at, heard_time = time.monotonic(), monitor.now
            for batch in session:
                if batch is not None:
                    yield [news for event in segments.events(batch) for news in monitor.feed(event)]
                    heard_at, heard_time = time.monotonic(), monitor.now
                elif heard_time:
                    yield list(monitor.advance_to(heard_time + int((time.monotonic() - heard_at) * SECOND)))
        yield list(monitor.finish())

    def stop(self) -> None:
        """Stop capturing; the iteration ends after the packets that are already captured. A signal handler may call this."""
        self._packets.stop()

    def drops(self) -> tuple[int, int] | None:
        """Return how many packets were captured and dropped, after the iteration; None if another program captured."""
        return self._packets.drops()
