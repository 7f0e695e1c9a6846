# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens, as it happens: events from segments, a count by server, and the release of connections that are done with.

Pure as the annotator: the time is that of the segments, or what the caller says it is. The same code follows a live capture
and a file that is played again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pybridge.report.explanations import OPENED
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import ACK, SYN, ConnectionRow, NetworkError, Segment
from pybridge.tcp.state import Connection

SECOND = 1_000_000_000
OUTRIGHT = {"refused", "unreachable", "aborted"}  # C4: failed; what time alone decides is added by `Limits.answer`
WAITING = {"unanswered", "half-open"}
OTHERS = ("", 0)


class Event(NamedTuple):
    """Something that happened to a connection.

    Attributes
    ----------
    time : int
        Nanoseconds since the epoch: of the segment that shows it, or when the wait for an answer was over.
    stream : int
        The connection.
    what : {"opened", "failed", "closed", "reset"}
    client : str
    client_port : int
    server : str
    server_port : int
    duration : int or None
        Nanoseconds: of the handshake if it opened and its beginning was captured, else from the first segment.
    reason : str
        Of an opened or failed one `establishment` (C4), else `termination` (C5).
    by : {"client", "server", "both"} or None
        Who closed or reset it (C6).
    """

    time: int
    stream: int
    what: str
    client: str
    client_port: int
    server: str
    server_port: int
    duration: int | None
    reason: str
    by: str | None


@dataclass(frozen=True)
class Limits:
    """When to give up waiting, and what to forget.

    Attributes
    ----------
    answer : float
        Seconds after the last segment of an opening until it is `failed`: `unanswered` or `half-open`. It opens all the same
        if the answer comes later.
    linger : float
        Seconds after the last segment until a closed, reset or failed connection is released: longer than TIME-WAIT and than
        the longest pause between two SYNs.
    idle : float
        Seconds after the last segment until any other connection is released.
    connections : int
        So many are remembered at most; beyond that the one that was silent for longest is released.
    servers : int
        So many have a count of their own; all further ones are counted together.
    """

    answer: float = 10.0
    linger: float = 120.0
    idle: float = 3600.0
    connections: int = 100_000
    servers: int = 10_000


@dataclass
class Server:
    """What became of the connections to one server."""

    opened: int = 0
    refused: int = 0
    unanswered: int = 0
    failed: int = 0
    handshakes: int = 0
    handshake_time: int = 0
    slowest: int = 0

    @property
    def connections(self) -> int:
        """How many opened or failed."""
        return self.opened + self.refused + self.unanswered + self.failed

    def count(self, event: Event) -> None:
        """Take an event in; `refused`, `unanswered` and (all other) `failed` exclude each other."""
        if event.what == "opened":
            self.opened += 1
            if event.duration is not None:
                self.handshakes += 1
                self.handshake_time += event.duration
                self.slowest = max(self.slowest, event.duration)
        elif event.what == "failed":
            name = event.reason if event.reason in ("refused", "unanswered") else "failed"
            setattr(self, name, getattr(self, name) + 1)


@dataclass(slots=True)
class _Watched:
    """A connection that is remembered."""

    last: int  # when it was last heard of
    queue: str = ""
    opened: bool = False  # told that it did
    ended: tuple[str, str] | None = None  # told what became of it, and why


class Watch:
    """Follows segments in the order of the capture.

    Parameters
    ----------
    limits : Limits
    on_release : callable, optional
        Is given the row of each connection that is released.

    Attributes
    ----------
    now : int
        The latest time so far, nanoseconds since the epoch.
    servers : dict
        By address and port a `Server`; all beyond `Limits.servers` under `OTHERS`.
    released : collections.Counter
        How many connections were released since they were `over`, `idle`, or since there were too many (`crowded`).

    Examples
    --------
    >>> watch = Watch()
    >>> list(watch.take(Segment(1, 0, 0, "10.0.0.1", 50000, "10.0.0.2", 80, SYN, 100, 0, 0)))
    []
    >>> [event.reason for event in watch.until(11 * SECOND)]
    ['unanswered']
    """

    def __init__(self, limits: Limits | None = None, on_release: Callable[[ConnectionRow], object] | None = None) -> None:
        self._limits = limits = limits or Limits()
        self._on_release = on_release
        self.now = 0
        self.servers: dict[tuple[str, int], Server] = {}
        self.released: Counter[str] = Counter()
        self._annotator = Annotator()
        self._sessions = _Sessions(self._annotator)
        self._watched: dict[int, _Watched] = {}
        self._wait = {
            name: int(seconds * SECOND)
            for name, seconds in (("opening", limits.answer), ("open", limits.idle), ("over", limits.linger))
        }
        # Each in the order in which its connections were last heard of.
        self._queues: dict[str, OrderedDict[int, _Watched]] = {name: OrderedDict() for name in self._wait}

    def begin_session(self) -> None:
        """From here on tshark counts streams from 0 again, as `tshark -M` lets it to keep its memory."""
        self._sessions.begin()

    @property
    def remembered(self) -> int:
        """Number of connections that are not released."""
        return len(self._watched)

    def take(self, seen: Segment | NetworkError) -> Iterator[Event]:
        """What the next segment or network error brings to light; to be exhausted."""
        yield from self.until(seen.time)
        seen = self._sessions.renumbered(seen)
        if isinstance(seen, Segment):
            self._annotator.segment(*seen)
        else:
            self._annotator.network_error(*seen)
        if seen.stream is None:
            connection = self._annotator.between(seen.source, seen.source_port, seen.destination, seen.destination_port)
        else:
            connection = self._annotator.connections.get(seen.stream)
        if connection is None:
            return
        watched = self._watched.setdefault(connection.stream, _Watched(self.now))
        watched.last = self.now
        for event in _news(connection, watched, seen.time):
            yield self._counted(event)
        self._enqueue(connection, watched)
        if len(self._watched) > self._limits.connections:
            yield from self._crowd_out()

    def until(self, time: int) -> Iterator[Event]:
        """What the passing of time alone brings to light; to be exhausted. Time does not go back."""
        self.now = max(self.now, time)
        for name, queue in self._queues.items():
            while queue:
                stream, watched = next(iter(queue.items()))
                due = watched.last + self._wait[name]
                if due > self.now:
                    break
                if name == "opening":
                    yield self._given_up(stream, watched, due)
                else:
                    self._release(stream, "over" if name == "over" else "idle")

    def end(self) -> Iterator[Event]:
        """The capture is over: what still waits for an answer has failed, and all connections are released."""
        for stream, watched in list(self._queues["opening"].items()):
            yield self._given_up(stream, watched, self.now)
        for stream in list(self._watched):
            self._release(stream, "end")

    def _given_up(self, stream: int, watched: _Watched, time: int) -> Event:
        connection = self._annotator.connections[stream]
        watched.ended = ("failed", connection.establishment)
        self._enqueue(connection, watched)
        return self._counted(_event(connection, *watched.ended, time))

    def _crowd_out(self) -> Iterator[Event]:
        """Release the connection that was silent for longest."""
        oldest = (next(iter(queue.items())) for queue in self._queues.values() if queue)
        stream, watched = min(oldest, key=lambda item: item[1].last)
        if watched.queue == "opening":
            yield self._given_up(stream, watched, self.now)
        self._release(stream, "crowded")

    def _enqueue(self, connection: Connection, watched: _Watched) -> None:
        name = "over" if watched.ended else "opening" if connection.establishment in WAITING else "open"
        if name != watched.queue:
            if watched.queue:
                del self._queues[watched.queue][connection.stream]
            watched.queue = name
            self._queues[name][connection.stream] = watched
        else:
            self._queues[name].move_to_end(connection.stream)

    def _release(self, stream: int, why: str) -> None:
        del self._queues[self._watched.pop(stream).queue][stream]
        row = self._annotator.release(stream).row()
        self.released[why] += 1
        if self._on_release:
            self._on_release(row)

    def _counted(self, event: Event) -> Event:
        key = (event.server, event.server_port)
        if key not in self.servers and len(self.servers) >= self._limits.servers:
            key = OTHERS
        self.servers.setdefault(key, Server()).count(event)
        return event


def _news(connection: Connection, watched: _Watched, time: int) -> Iterator[Event]:
    """What has not been told of the connection; the same is not told again until it was open in between."""
    establishment = connection.establishment
    if establishment in WAITING and watched.opened:  # another attempt
        watched.opened, watched.ended = False, None
    if establishment in OPENED and not watched.opened:
        watched.opened, watched.ended = True, None
        yield _event(connection, "opened", establishment, time)
    ended = None
    if establishment in OUTRIGHT:
        ended = ("failed", establishment)
    elif connection.complete:
        ended = ("closed", connection.termination)
    elif connection.reset_by:
        ended = ("reset", connection.termination)
    if ended and ended != watched.ended:
        watched.ended = ended
        yield _event(connection, *ended, time)


def _event(connection: Connection, what: str, reason: str, time: int) -> Event:
    client, server = connection.client, connection.server
    duration = connection.handshake_time if what == "opened" else connection.last - connection.first
    by = connection.closed_by if what in ("closed", "reset") else None
    return Event(time, connection.stream, what, client.address, client.port, server.address, server.port, duration, reason, by)


class _Sessions:
    """Numbers streams on when tshark begins anew.

    It then counts streams from 0, and knows of no connection. A stream between the ends of one that is remembered goes on with
    that one, unless it begins with a SYN of another number (G4).
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._before = self._next = 0  # streams in earlier sessions, and up to now
        self._streams: dict[int, int] = {}  # of this session, if it is not the first

    def begin(self) -> None:
        self._before = self._next
        self._streams.clear()

    def renumbered(self, seen: Segment | NetworkError) -> Segment | NetworkError:
        """The same with the stream that it would have in one session."""
        stream = seen.stream
        if stream is None:
            return seen
        if self._before:
            known = self._streams.get(stream)
            if known is None:
                known = self._streams[stream] = self._continued(seen, self._before + stream)
            stream = known
            seen = seen._replace(stream=stream)
        self._next = max(self._next, stream + 1)
        return seen

    def _continued(self, seen: Segment | NetworkError, new: int) -> int:
        """The stream that goes on with this, or else the new one."""
        known = self._annotator.between(seen.source, seen.source_port, seen.destination, seen.destination_port)
        if known is None:
            return new
        begins = isinstance(seen, Segment) and seen.flags & (SYN | ACK) == SYN and seen.seq not in (known.a.isn, known.b.isn)
        return new if begins else known.stream
