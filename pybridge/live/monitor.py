# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn segments into events (opened, failed, closed, reset), count them by server, and forget finished connections.

Pure, as the annotator is: time is that of the segments, or is set by the caller. So the same code follows a live capture and
replays a file.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pybridge.live.peers import Peers
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.connection_row import (
    captured_of,
    closed_by_of,
    establishment_of,
    is_still_waiting,
    reset_by_of,
    row_of,
    termination_of,
    unacknowledged_of,
)
from pybridge.tcp.diagnosis import diagnosis_of
from pybridge.tcp.model import ConnectionRow, NetworkError, Segment
from pybridge.tcp.state import LONG, Connection
from pybridge.tcp.vocabulary import ACK, OPENED, SYN

SECOND = 1_000_000_000
OUTRIGHT = {"refused", "unreachable", "aborted"}
"""Values of `establishment` of connections that failed at a segment or network error (rule C4)."""

WAITING = {"unanswered", "invalid-answer", "half-open"}
"""Values of `establishment` of openings that wait for an answer; `Limits.answer_timeout` or an RST lets them fail."""

OTHERS = ("", 0)
"""Key of the servers beyond `Limits.max_servers`."""

OTHER_CLIENTS = ""
"""Key of the clients beyond `Limits.max_servers`."""


class Event(NamedTuple):
    """Something that happened to a connection: it opened, failed, closed or was reset.

    Attributes
    ----------
    time : int
        Nanoseconds since the epoch: the time of the segment that shows the event, or when the wait for an answer was over.
    stream : int
        The connection.
    what : {"opened", "failed", "closed", "reset"}
    client : str
    client_port : int
    server : str
    server_port : int
    duration : int or None
        Nanoseconds: of the handshake if the connection opened and its beginning was captured, else since the first segment.
    reason : str
        The connection's `establishment` (rule C4) if it opened or failed, else its `termination` (rule C5).
    closed_by : {"client", "server", "both"} or None
        The end that began to close, or that reset the connection (rule C6).
    reset_by : {"client", "server"} or None
        The end whose RST ended the connection (rule C6).
    diagnosis : str
        Why it went as it did, as far as it is known by then (rule D8).
    reset_class : {"mid-connection", "while-closing", "after-close"} or None
        When the RST came that ended a connection which had been open.
    waited : int
        Nanoseconds that the opening lost by repeated SYNs and SYN-ACKs (rule C24).
    unacknowledged : int
        Octets of both ends that were not acknowledged when an RST ended the connection (rule C22).
    silence : int
        Nanoseconds for which nobody had sent anything when an RST ended the connection in its middle (rule C21).
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
    closed_by: str | None
    reset_by: str | None
    diagnosis: str
    reset_class: str | None
    waited: int
    unacknowledged: int
    silence: int


@dataclass(frozen=True)
class Limits:
    """Limits after which the monitor stops waiting for an answer, or forgets a connection.

    Attributes
    ----------
    answer_timeout : float
        Seconds after the last segment of an opening until it has `failed` as `unanswered`, `invalid-answer` or `half-open`.
        It opens all the same if the answer comes later.
    close_timeout : float
        Seconds after the last segment until a closed, reset or failed connection is forgotten: longer than TIME-WAIT and
        than the longest pause between two SYNs.
    idle_timeout : float
        Seconds after the last segment until any other connection is forgotten.
    max_connections : int
        Number of connections to track at most; beyond that, the one that was silent for longest is forgotten.
    max_servers : int
        Number of servers, and of clients, to count one by one; all further ones are counted together.
    """

    answer_timeout: float = LONG / SECOND
    close_timeout: float = 120.0
    idle_timeout: float = 3600.0
    max_connections: int = 100_000
    max_servers: int = 10_000


@dataclass(slots=True)
class _Tracked:
    """The monitor's state of a connection, beside the annotator's record."""

    last: int  # time of its last segment
    queue: str = ""
    opened: bool = False  # `opened` was reported
    ended: tuple[str, str] | None = None  # the outcome that was reported, and its reason


class Monitor:
    """Follows segments in the order of the capture.

    Parameters
    ----------
    limits : Limits
    on_release : callable, optional
        Called with the row of each connection that is forgotten.

    Attributes
    ----------
    now : int
        The latest time so far, nanoseconds since the epoch.
    servers, clients : Peers
        By address and port, and by address, a `Peer`; all beyond `Limits.max_servers` under `OTHERS` and `OTHER_CLIENTS`.
    released : collections.Counter
        Number of forgotten connections by reason: `over`, `idle`, `crowded` (too many), or the `end` of the capture.

    Examples
    --------
    >>> monitor = Monitor()
    >>> list(monitor.feed(Segment(1, 0, 0, "10.0.0.1", 50000, "10.0.0.2", 80, SYN, 100, 0, 0)))
    []
    >>> [event.reason for event in monitor.advance_to(11 * SECOND)]
    ['unanswered']
    """

    def __init__(self, limits: Limits | None = None, on_release: Callable[[ConnectionRow], object] | None = None) -> None:
        self._limits = limits = limits or Limits()
        self._on_release = on_release
        self.now = 0
        self.servers: Peers[tuple[str, int]] = Peers(limits.max_servers, OTHERS)
        self.clients: Peers[str] = Peers(limits.max_servers, OTHER_CLIENTS)
        self.released: Counter[str] = Counter()
        self._annotator = Annotator()
        self._sessions = _Sessions(self._annotator)
        self._tracked: dict[int, _Tracked] = {}
        self._wait = {
            name: int(seconds * SECOND)
            for name, seconds in (
                ("opening", limits.answer_timeout),
                ("open", limits.idle_timeout),
                ("over", limits.close_timeout),
            )
        }
        # Each queue is in the order of the latest segments of its connections.
        self._queues: dict[str, OrderedDict[int, _Tracked]] = {name: OrderedDict() for name in self._wait}

    def begin_session(self) -> None:
        """Note that a new tshark counts streams from 0 again."""
        self._sessions.begin()

    @property
    def tracked_connections(self) -> int:
        """Number of connections that are tracked."""
        return len(self._tracked)

    def feed(self, event: Segment | NetworkError) -> Iterator[Event]:
        """Take in the next segment or network error, and yield the events that it causes; the caller exhausts this."""
        yield from self.advance_to(event.time)
        event = self._sessions.renumbered(event)
        if isinstance(event, Segment):
            self._annotator.segment(*event)
        else:
            self._annotator.network_error(*event)
        if event.stream is None:
            connection = self._annotator.between(event.source, event.source_port, event.destination, event.destination_port)
        else:
            connection = self._annotator.connections.get(event.stream)
        if connection is None:
            return
        tracked = self._tracked.setdefault(connection.stream, _Tracked(self.now))
        tracked.last = self.now
        for news in _news(connection, tracked, event.time):
            yield self._counted(news)
        self._enqueue(connection, tracked)
        if len(self._tracked) > self._limits.max_connections:
            yield from self._forget_quietest()

    def advance_to(self, time: int) -> Iterator[Event]:
        """Let time pass, and yield the events that this alone causes; the caller exhausts this. Time does not go back."""
        self.now = max(self.now, time)
        for name, queue in self._queues.items():
            while queue:
                stream, tracked = next(iter(queue.items()))
                due = tracked.last + self._wait[name]
                if due > self.now:
                    break
                if name == "opening":
                    yield self._timed_out(stream, tracked, due)
                else:
                    self._forget(stream, "over" if name == "over" else "idle")

    def finish(self) -> Iterator[Event]:
        """End the capture: openings have failed unless they were still waiting (C23), and all connections are forgotten."""
        for stream, tracked in list(self._queues["opening"].items()):
            if not is_still_waiting(self._annotator.connections[stream], self.now):
                yield self._timed_out(stream, tracked, self.now)
        for stream in list(self._tracked):
            self._forget(stream, "end")

    def _timed_out(self, stream: int, tracked: _Tracked, time: int) -> Event:
        connection = self._annotator.connections[stream]
        tracked.ended = ("failed", establishment_of(connection))
        self._enqueue(connection, tracked)
        return self._counted(_event(connection, *tracked.ended, time))

    def _forget_quietest(self) -> Iterator[Event]:
        """Forget the connection that was silent for longest."""
        oldest = (next(iter(queue.items())) for queue in self._queues.values() if queue)
        stream, tracked = min(oldest, key=lambda item: item[1].last)
        if tracked.queue == "opening":
            yield self._timed_out(stream, tracked, self.now)
        self._forget(stream, "crowded")

    def _enqueue(self, connection: Connection, tracked: _Tracked) -> None:
        name = "over" if tracked.ended else "opening" if establishment_of(connection) in WAITING else "open"
        if name != tracked.queue:
            if tracked.queue:
                del self._queues[tracked.queue][connection.stream]
            tracked.queue = name
            self._queues[name][connection.stream] = tracked
        else:
            self._queues[name].move_to_end(connection.stream)

    def _forget(self, stream: int, why: str) -> None:
        del self._queues[self._tracked.pop(stream).queue][stream]
        row = row_of(self._annotator.release(stream), self.now)
        self.released[why] += 1
        if self._on_release:
            self._on_release(row)

    def _counted(self, event: Event) -> Event:
        self.servers.count((event.server, event.server_port), event)
        self.clients.count(event.client, event)
        return event


def _news(connection: Connection, tracked: _Tracked, time: int) -> Iterator[Event]:
    """Yield the events of a connection that were not reported yet; an outcome is reported once per attempt."""
    establishment = establishment_of(connection)
    revived = establishment == "half-open" and tracked.ended == ("failed", "unreachable")  # N3
    if revived or (establishment in WAITING and tracked.opened):  # else another attempt
        tracked.opened, tracked.ended = False, None
    if establishment in OPENED and not tracked.opened:
        tracked.opened, tracked.ended = True, None
        yield _event(connection, "opened", establishment, time)
    ended = None
    if establishment in OUTRIGHT or (establishment in WAITING and connection.reset_by):
        ended = ("failed", establishment)
    elif connection.close_complete:
        ended = ("closed", termination_of(connection))
    elif connection.reset_by:
        ended = ("reset", termination_of(connection))
    if ended and ended != tracked.ended:
        tracked.ended = ended
        yield _event(connection, *ended, time)


def _event(connection: Connection, what: str, reason: str, time: int) -> Event:
    client, server = connection.client, connection.server
    duration = connection.handshake_time if what == "opened" else connection.last_time - connection.first_time
    ended = what in ("closed", "reset")
    diagnosis = diagnosis_of(
        connection,
        establishment=establishment_of(connection),
        captured=captured_of(connection),
        still_waiting=False,
        end=time,
    ).diagnosis
    reset_class = _reset_class(connection, diagnosis) if what == "reset" else None
    unacknowledged = (unacknowledged_of(client, server) or 0) + (unacknowledged_of(server, client) or 0)
    return Event(
        time,
        connection.stream,
        what,
        client.address,
        client.port,
        server.address,
        server.port,
        duration,
        reason,
        closed_by_of(connection) if ended else None,
        reset_by_of(connection) if ended else None,
        diagnosis,
        reset_class,
        (connection.retransmission_delay or 0) if what == "opened" else 0,
        unacknowledged if reset_class else 0,
        (connection.idle_before_end or 0) if reset_class == "mid-connection" else 0,
    )


def _reset_class(connection: Connection, diagnosis: str) -> str:
    """Return when the RST came that ended a connection: after the close, while closing, or in mid-connection."""
    if diagnosis == "reset-after-close" or connection.both_closed():
        return "after-close"
    closing = connection.fin_of(connection.a) or connection.fin_of(connection.b)
    return "while-closing" if closing else "mid-connection"


class _Sessions:
    """Continues the numbers of streams when another tshark takes over.

    A new tshark counts streams from 0 and knows no earlier connection. A stream between the ends of a tracked connection belongs
    to that connection, unless it begins with a SYN of another number (rule G4).
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._before = self._next = 0  # streams in earlier sessions, and up to now
        self._streams: dict[int, int] = {}  # of this session, if it is not the first

    def begin(self) -> None:
        self._before = self._next
        self._streams.clear()

    def renumbered(self, event: Segment | NetworkError) -> Segment | NetworkError:
        """Return the event with the stream that one tshark alone would have given it."""
        stream = event.stream
        if stream is None:
            return event
        if self._before:
            known = self._streams.get(stream)
            if known is None:
                known = self._streams[stream] = self._continued(event, self._before + stream)
            stream = known
            event = event._replace(stream=stream)
        self._next = max(self._next, stream + 1)
        return event

    def _continued(self, event: Segment | NetworkError, new: int) -> int:
        """Return the stream of the tracked connection that the event continues, or else the new one."""
        known = self._annotator.between(event.source, event.source_port, event.destination, event.destination_port)
        if known is None:
            return new
        begins = isinstance(event, Segment) and event.flags & (SYN | ACK) == SYN and event.seq not in (known.a.isn, known.b.isn)
        return new if begins else known.stream
