# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a connection (rules X): what the state machine remembers of it between two segments.

How it works. A `Connection` is one `tcp.stream` with two ends, A and B; A sent the first segment. Each `End` has a state
of RFC 9293 and the few numbers that later segments are judged by. The annotator makes a `Judgement` of each segment: the
segment itself, its sender and its peer, and room for the verdict. `judge.judge` changes both records by the rules of its
kind: `opening` (H), `closing` (T) or `aborting` (R). Nothing else changes an end's state, except a network error (N2).

A new SYN on a connection that is over begins another *attempt*: both ends and the attempt's record are reset, while
counts, times and the offers of the ends go on. Whoever adds a field to a record decides to which of the two it belongs,
and `packed_connections` stores it by its name in `__slots__`.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeVar

from pybridge.tcp.model import Annotation, Offer
from pybridge.tcp.vocabulary import ANOMALIES, CLOSED, ESTABLISHED, LISTEN, OVER, SYNCHRONISED

MODULO = 1 << 32
HALF = 1 << 31

_RANK = {name: rank for rank, name in enumerate(ANOMALIES)}

_Value = TypeVar("_Value")

NO_ANOMALIES: frozenset[str] = frozenset()
NOT_QUIET: tuple[Annotation | None, ...] = (None,) * 4
_QUIET = {
    sender: Annotation(sender, None, None, None, ESTABLISHED, ESTABLISHED, False, None, None, None, None)
    for sender in ("client", "server")
}


def joined(anomalies: AbstractSet[str]) -> str | None:
    """Join anomalies with `+` in the order of the specification's table; None if there are none."""
    return "+".join(sorted(anomalies, key=_RANK.__getitem__)) or None


def distance(a: int, b: int) -> int:
    """Return how far `a` is ahead of `b`, modulo 2^32."""
    return (a - b) % MODULO


@lru_cache(maxsize=4096)
def _interned(value: Any) -> Any:
    return value


def interned(value: _Value) -> _Value:
    """Return one shared object for equal values: thousands of connections hold the same few."""
    known: _Value = _interned(value)
    return known


class Fin:
    """The FIN of an end (rules X).

    Attributes
    ----------
    seq : int
        The sequence number that the FIN occupies.
    step : int
        Its teardown step, 1 or 3.
    frame, frame_time : int
        Its latest transmission.
    first_time : int
        Time of its first transmission.
    acked, was_acked : bool
        It is acknowledged; it was acknowledged at some time.
    """

    __slots__ = ("acked", "first_time", "frame", "frame_time", "seq", "step", "was_acked")

    def __init__(self, seq: int, step: int, frame: int, time: int) -> None:
        self.seq = seq
        self.step = step
        self.frame = frame
        self.frame_time = self.first_time = time
        self.acked = self.was_acked = False


class End:
    """One end of a connection (rules X)."""

    __slots__ = (
        "address", "awaiting", "fin", "first_ack", "first_seq", "isn", "offer", "offered_isn", "offers_ecn", "payload", "port",
        "progress", "recent", "rejected", "segments", "sent_syn", "state", "syn_ack_frame", "syn_ack_frame_time",
        "syn_ack_number", "syn_ack_seen", "syn_frame", "syn_frame_time", "syn_length", "syn_seen", "syn_time",
    )  # fmt: skip

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.segments = 0
        self.payload = 0
        self.offered_isn: int | None = None  # C11 to C13: of the last SYN or SYN-ACK with a role, over all attempts
        self.offer: Offer | None = None
        self.offers_ecn = False
        self.sent_syn = False  # Z2: a SYN or SYN-ACK with a role, in this attempt
        self.recent: tuple[int, ...] = ()  # G8: fingerprints; -1 for a segment without identity
        self.forget()

    def forget(self) -> None:
        """Forget everything that belongs to an attempt (rules H2, H7)."""
        self.state = CLOSED
        self.isn: int | None = None
        self.syn_length = 0
        self.syn_seen = self.syn_ack_seen = False
        self.syn_time = self.syn_frame = self.syn_frame_time = 0
        self.syn_ack_number = self.syn_ack_frame = self.syn_ack_frame_time = 0
        self.awaiting = False
        self.progress = 0
        self.first_seq: int | None = None
        self.first_ack: int | None = None
        self.rejected: int | None = None
        self.fin: Fin | None = None

    def accepts(self, ack: int, limit: int) -> bool:
        """Whether `ack` is an acceptable acknowledgement of this end's SYN (rule X2)."""
        return self.isn is None or distance(ack, self.isn + 1) <= limit


class Connection:
    """One `tcp.stream`: its two ends, its latest attempt, and its counts."""

    __slots__ = (
        "a", "aborted", "anomalies", "b", "client", "client_response_time", "client_settled", "close_complete",
        "closed_by_error", "completeness", "first_fin_by", "first_time", "fresh", "handshake_time", "history_letters",
        "last_time", "merged", "opened", "quiet", "refused", "reset_by", "retransmissions", "server_response_time",
        "simultaneous_close", "simultaneous_open", "stream", "syn_ack_matched", "syn_seen", "teardown_time",
        "third_step_seen", "unreachable",
    )  # fmt: skip

    def __init__(self, stream: int, a: End, b: End, time: int) -> None:
        self.stream = stream
        self.a = a
        self.b = b
        self.client = b if a.port < b.port else a  # E2
        self.client_settled = False
        self.fresh = True
        self.first_time = self.last_time = time
        self.completeness = 0
        self.anomalies: frozenset[str] = NO_ANOMALIES
        self.history_letters = ""  # Z1: upper case for A, lower case for B
        self.retransmissions: tuple[int, ...] = (0, 0, 0)  # C14: SYN, SYN-ACK, FIN
        self.handshake_time: int | None = None
        self.server_response_time: int | None = None
        self.client_response_time: int | None = None
        self.teardown_time: int | None = None
        self.closed_by_error = False  # N3
        # Of segments that change nothing: from A, from B without payload, from A, from B with payload
        self.quiet: tuple[Annotation | None, ...] = NOT_QUIET
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Reset the record of the attempt (rules X)."""
        self.opened = self.syn_seen = self.syn_ack_matched = self.third_step_seen = False
        self.simultaneous_open = self.simultaneous_close = self.merged = self.close_complete = False
        self.first_fin_by: End | None = None
        self.reset_by: End | None = None
        self.aborted = self.refused = self.unreachable = False
        self.a.sent_syn = self.b.sent_syn = False

    @property
    def server(self) -> End:
        """The end that is not the client."""
        return self.b if self.client is self.a else self.a

    @property
    def over(self) -> bool:
        """Whether no end is live any more (rules X)."""
        return not self.fresh and self.a.state in OVER and self.b.state in OVER

    def states(self) -> tuple[str, str]:
        """Return the states of client and server (rule X1)."""
        if self.fresh:
            return CLOSED, LISTEN
        return self.client.state, self.server.state

    def name(self, end: End) -> str:
        """Return `client` or `server` (rule E3)."""
        return "client" if end is self.client else "server"

    def update_opened(self) -> None:
        """Note that the attempt is opened once both ends are synchronised (rule X3)."""
        if not self.opened and self.a.state in SYNCHRONISED and self.b.state in SYNCHRONISED:
            self.opened = True

    def update_quiet(self) -> None:
        """Cache the annotations of plain segments while the connection is quiet: both ends ESTABLISHED, nothing outstanding.

        Most segments of a capture are such.
        """
        a, b = self.a, self.b
        if (
            a.state == b.state == ESTABLISHED
            and a.progress == b.progress == 3
            and not (a.awaiting or b.awaiting)
            and not (a.fin or b.fin)
        ):
            names = (self.name(a), self.name(b))
            self.quiet = interned(
                tuple(
                    _QUIET[name] if letter in self.history_letters and not end.recent else None
                    for end, name, letter in zip((a, b, a, b), names * 2, "AaDd", strict=True)
                )
            )
        else:
            self.quiet = NOT_QUIET


class Judgement:
    """A segment on its way from its sender to its peer, and what the rules find out about it.

    Attributes
    ----------
    connection : Connection
    sender, peer : End
    kind : int
        Its flags among FIN, SYN, RST and ACK (rule G7).
    frame, time, seq, ack, length : int
        As of `model.Segment`.
    roles : list of str
        In the order of rule T6.
    handshake_step : int or None
    ack_step, fin_step : int
        The teardown step of its acknowledgement of a FIN and of its own FIN; 0 for none.
    retransmission : bool
    answers : tuple of int, or None
        Frame and time of the segment that it answers.
    handshake_time : int or None
        Nanoseconds.
    anomalies : set of str
    judged : bool
        False if the segment is invalid (G7) or came on a connection that is over (X4).
    """

    __slots__ = (
        "ack", "ack_step", "anomalies", "answers", "connection", "fin_step", "frame", "handshake_step", "handshake_time",
        "judged", "kind", "length", "peer", "retransmission", "roles", "sender", "seq", "time",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, sender: End, peer: End, *, kind: int, frame: int, time: int, seq: int, ack: int, length: int
    ) -> None:
        self.connection = connection
        self.sender = sender
        self.peer = peer
        self.kind = kind
        self.frame = frame
        self.time = time
        self.seq = seq
        self.ack = ack
        self.length = length
        self.roles: list[str] = []
        self.handshake_step: int | None = None
        self.ack_step = 0
        self.fin_step = 0
        self.retransmission = False
        self.answers: tuple[int, int] | None = None
        self.handshake_time: int | None = None
        self.anomalies: set[str] = set()
        self.judged = True

    def repeats(self, anomaly: str) -> None:
        """Mark the segment as a retransmission (rule A3)."""
        self.retransmission = True
        self.anomalies.add(anomaly)
