# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of an interface, or of a source that grows, as they happen.

>>> from pybridge import live
>>> [event.what for event in live.events("pcaps/refused.pcapng")]  # a file is played as fast as it can be read
['failed']
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import chain

from pybridge.live.monitor import SECOND, Event, Limits, Watch
from pybridge.tcp.model import ConnectionRow
from pybridge.wireshark import segments
from pybridge.wireshark.dumpcap import Packets

PATIENCE = 0.5  # seconds without packets after which time passes by the clock; not so in a file, where it has passed


def events(source: str, *, bpf: str = "", limits: Limits | None = None) -> Iterator[Event]:
    """Events as they happen.

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
    """A running capture; iterate over it for its events, in a `with` block that ends it.

    Parameters
    ----------
    source, bpf, limits
        As of `events`.
    on_release : callable, optional
        Is given the row of each connection when it is released, at the latest when the capture ends.

    Attributes
    ----------
    watch : Watch
        The count by server, and what is remembered.
    """

    def __init__(
        self,
        source: str,
        *,
        bpf: str = "",
        limits: Limits | None = None,
        on_release: Callable[[ConnectionRow], object] | None = None,
    ) -> None:
        self.watch = Watch(limits, on_release)
        self._packets = Packets(source, bpf=bpf)
        self._patience = None if os.path.isfile(source) else PATIENCE

    def __enter__(self) -> Live:
        self._packets.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._packets.__exit__()

    def __iter__(self) -> Iterator[Event]:
        """Events until the source ends, or `stop` is called; to be iterated once."""
        return chain.from_iterable(self.steps())

    def steps(self) -> Iterator[list[Event]]:
        """The same in lists, also empty ones while nothing happens: a chance to look at the rest of what is known."""
        watch = self.watch
        for session in self._packets.sessions(self._patience):
            watch.begin_session()
            heard, then = time.monotonic(), watch.now
            for batch in session:
                if batch is not None:
                    yield [event for seen in segments.events(batch) for event in watch.take(seen)]
                    heard, then = time.monotonic(), watch.now
                elif then:
                    yield list(watch.until(then + int((time.monotonic() - heard) * SECOND)))
        yield list(watch.end())

    def stop(self) -> None:
        """Capture no more; the iteration then ends with what is still on its way. May be called by a signal handler."""
        self._packets.stop()

    def drops(self) -> tuple[int, int] | None:
        """How many packets were captured and how many dropped, when the iteration is over; None if that is not known here."""
        return self._packets.drops()
