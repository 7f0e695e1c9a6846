# SPDX-License-Identifier: GPL-2.0-or-later
"""What is remembered of a connection (rules X), and the row that it comes to (rules C)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeVar

from pybridge.tcp.model import ANOMALIES, CLOSED, ESTABLISHED, LISTEN, STATES, TIME_WAIT, Annotation, ConnectionRow, Offer

MODULO = 1 << 32

SYNCHRONISED = frozenset(STATES[4:])
OVER = frozenset((CLOSED, LISTEN, TIME_WAIT))
ABSENT = frozenset((CLOSED, LISTEN))

_RANK = {name: rank for rank, name in enumerate(ANOMALIES)}


_Value = TypeVar("_Value")

NOTHING: frozenset[str] = frozenset()
UNSETTLED: tuple[Annotation | None, ...] = (None,) * 4
_PLAIN = {
    sender: Annotation(sender, None, None, None, ESTABLISHED, ESTABLISHED, False, None, None, None, None)
    for sender in ("client", "server")
}


def joined(anomalies: AbstractSet[str]) -> str | None:
    """Anomalies in the order of the specification's table, joined with `+`; None if there are none."""
    return "+".join(sorted(anomalies, key=_RANK.__getitem__)) or None


def distance(a: int, b: int) -> int:
    """How far `a` is ahead of `b`, modulo 2^32."""
    return (a - b) % MODULO


@lru_cache(maxsize=4096)
def _shared(value: Any) -> Any:
    return value


def shared(value: _Value) -> _Value:
    """The same value as one object: connections are many, and what is said of them is not."""
    known: _Value = _shared(value)
    return known


class Fin:
    """What is remembered of an end's FIN (X)."""

    __slots__ = ("acked", "acked_once", "first", "frame", "seq", "step", "time")

    def __init__(self, seq: int, step: int, frame: int, time: int) -> None:
        self.seq = seq
        self.step = step
        self.frame = frame
        self.time = self.first = time
        self.acked = self.acked_once = False


class End:
    """One end of a connection (X)."""

    __slots__ = (
        "address", "awaiting", "fin", "first_ack", "first_seq", "isn", "offer", "offered_isn", "offers_ecn", "payload", "port",
        "progress", "recent", "rejected", "segments", "sent_syn", "state", "syn_first", "syn_frame", "syn_length", "syn_seen",
        "syn_time", "synack_ack", "synack_frame", "synack_seen", "synack_time",
    )  # fmt: skip

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.segments = 0
        self.payload = 0
        self.offered_isn: int | None = None  # C11, C12, C13: of the last SYN or SYN-ACK with a role, over all attempts
        self.offer: Offer | None = None
        self.offers_ecn = False
        self.sent_syn = False  # or a SYN-ACK, with a role, in this attempt
        self.recent: tuple[int, ...] = ()  # G8: identity, flags, seq, ack and length in one number; -1 without identity
        self.forget()

    def forget(self) -> None:
        """Begin without a past (H2, H7)."""
        self.state = CLOSED
        self.isn: int | None = None
        self.syn_length = 0
        self.syn_seen = self.synack_seen = False
        self.syn_first = self.syn_frame = self.syn_time = self.synack_frame = self.synack_time = 0
        self.synack_ack = 0
        self.awaiting = False
        self.progress = 0
        self.first_seq: int | None = None
        self.first_ack: int | None = None
        self.rejected: int | None = None
        self.fin: Fin | None = None

    def accepts(self, ack: int, limit: int) -> bool:
        """Whether `ack` is an acceptable acknowledgement of this end's SYN (X2)."""
        return self.isn is None or distance(ack, self.isn + 1) <= limit


class Connection:
    """One `tcp.stream`: its two ends, its latest attempt, and its counts."""

    __slots__ = (
        "a", "aborted", "anomalies", "b", "client", "client_response_time", "complete", "completeness", "first", "first_fin",
        "fixed", "fresh", "given_up", "handshake_time", "last", "letters", "merged", "opened", "plain", "refused", "reset_by",
        "retransmissions", "server_response_time", "simultaneous_close", "simultaneous_open", "stream",
        "syn_seen", "synack_seen", "teardown_time", "third_seen", "unreachable",
    )  # fmt: skip

    def __init__(self, stream: int, a: End, b: End, time: int) -> None:
        self.stream = stream
        self.a = a
        self.b = b
        self.client = b if a.port < b.port else a  # E2
        self.fixed = False
        self.fresh = True
        self.first = self.last = time
        self.completeness = 0
        self.anomalies: frozenset[str] = NOTHING
        self.letters = ""  # Z1: upper case for A, lower case for B
        self.retransmissions: tuple[int, ...] = (0, 0, 0)  # SYN, SYN-ACK, FIN
        self.handshake_time: int | None = None
        self.server_response_time: int | None = None
        self.client_response_time: int | None = None
        self.teardown_time: int | None = None
        self.given_up = False  # N3
        # Of plain segments that can change nothing: by A, by B without payload, by A, by B with it
        self.plain: tuple[Annotation | None, ...] = UNSETTLED
        self.begin()

    def begin(self) -> None:
        """Begin an attempt (X)."""
        self.opened = self.syn_seen = self.synack_seen = self.third_seen = False
        self.simultaneous_open = self.simultaneous_close = self.merged = self.complete = False
        self.first_fin: End | None = None
        self.reset_by: End | None = None
        self.aborted = self.refused = self.unreachable = False
        self.a.sent_syn = self.b.sent_syn = False

    @property
    def server(self) -> End:
        """The end that is not the client."""
        return self.b if self.client is self.a else self.a

    @property
    def over(self) -> bool:
        """Whether no end is live any more (X)."""
        return not self.fresh and self.a.state in OVER and self.b.state in OVER

    def states(self) -> tuple[str, str]:
        """Of client and server."""
        if self.fresh:
            return CLOSED, LISTEN
        return self.client.state, self.server.state

    def name(self, end: End) -> str:
        """E3."""
        return "client" if end is self.client else "server"

    def update_opened(self) -> None:
        """X3."""
        if not self.opened and self.a.state in SYNCHRONISED and self.b.state in SYNCHRONISED:
            self.opened = True

    def update_plain(self) -> None:
        """Keep the annotations of plain segments ready while none of them can change anything; most segments are such."""
        a, b = self.a, self.b
        if (
            a.state == b.state == ESTABLISHED
            and a.progress == b.progress == 3
            and not (a.awaiting or b.awaiting)
            and not (a.fin or b.fin)
        ):
            names = (self.name(a), self.name(b))
            self.plain = shared(
                tuple(
                    _PLAIN[name] if letter in self.letters and not end.recent else None
                    for end, name, letter in zip((a, b, a, b), names * 2, "AaDd", strict=True)
                )
            )
        else:
            self.plain = UNSETTLED

    @property
    def establishment(self) -> str:
        """C4."""
        if not (self.syn_seen or self.synack_seen):
            return "not-captured"
        if self.opened:
            if self.simultaneous_open:
                return "simultaneous"
            return "complete" if self.syn_seen and self.synack_seen and self.third_seen else "partial"
        if self.aborted:
            return "aborted"
        if self.refused:
            return "refused"
        if self.unreachable:
            return "unreachable"
        return "half-open" if self.synack_seen else "unanswered"

    @property
    def history(self) -> str | None:
        """Z1."""
        return (self.letters if self.client is self.a else "^" + self.letters.swapcase()) or None

    @property
    def conn_state(self) -> str:
        """Z2."""
        c, s = self.client.sent_syn, self.server.sent_syn
        c_fin, s_fin = self.client.fin, self.server.fin
        if self.complete:
            return "SF"
        if self.reset_by is self.server:
            return ("RSTR" if s else "REJ") if c else "RSTRH" if s else "OTH"
        if self.reset_by is self.client:
            return "RSTO" if s else "RSTOS0" if c else "OTH"
        if c_fin and s_fin:
            return "SF"
        if c_fin:
            return "S2" if s else "SH" if c else "OTH"
        if s_fin:
            return "S3" if c else "SHR" if s else "OTH"
        return ("S1" if s else "S0") if c else "OTH"

    @property
    def termination(self) -> str:
        """C5."""
        if self.complete:
            return "simultaneous" if self.simultaneous_close else "three-way" if self.merged else "four-way"
        if self.reset_by:
            return "reset"
        fins = bool(self.a.fin) + bool(self.b.fin)
        return ("none", "half-closed", "unacknowledged")[fins]

    @property
    def closed_by(self) -> str | None:
        """C6."""
        if self.simultaneous_close:
            return "both"
        end = self.first_fin or self.reset_by
        return self.name(end) if end else None

    def row(self) -> ConnectionRow:
        """The connection's row as known so far."""
        client, server = self.client, self.server
        offers = [end.offer for end in (client, server) if end.offer is not None]
        ecn = [end.offers_ecn for end in (client, server) if end.offered_isn is not None]
        client_state, server_state = self.states()
        return ConnectionRow(
            stream=self.stream,
            client=client.address,
            client_port=client.port,
            server=server.address,
            server_port=server.port,
            start=self.first,
            duration=self.last - self.first,
            segments_client=client.segments,
            segments_server=server.segments,
            bytes_client=client.payload,
            bytes_server=server.payload,
            establishment=self.establishment,
            termination=self.termination,
            closed_by=self.closed_by,
            client_state=client_state,
            server_state=server_state,
            handshake_time=self.handshake_time,
            server_response_time=self.server_response_time,
            client_response_time=self.client_response_time,
            teardown_time=self.teardown_time,
            client_isn=client.offered_isn,
            server_isn=server.offered_isn,
            client_mss=client.offer.mss if client.offer else None,
            server_mss=server.offer.mss if server.offer else None,
            client_window_scale=client.offer.window_scale if client.offer else None,
            server_window_scale=server.offer.window_scale if server.offer else None,
            client_fast_open=client.offer.fast_open if client.offer else None,
            server_fast_open=server.offer.fast_open if server.offer else None,
            sack_permitted=all(offer.sack_permitted for offer in offers) if offers else None,
            timestamps=all(offer.timestamps for offer in offers) if offers else None,
            ecn=all(ecn) if ecn else None,
            syn_retransmissions=self.retransmissions[0],
            syn_ack_retransmissions=self.retransmissions[1],
            fin_retransmissions=self.retransmissions[2],
            completeness=self.completeness,
            conn_state=self.conn_state,
            history=self.history,
            anomalies=joined(self.anomalies),
        )
