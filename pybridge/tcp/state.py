# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a connection (rules X): what the state machine remembers of it between two segments.

How it works. A `Connection` is one `tcp.stream` with two ends, A and B; A sent the first segment. Each `End` has facts:
how far its opening is (`phase`), the numbers that it has sent and acknowledged, its FIN, whether it was reset. The annotator
makes a `Judgement` of each segment: the segment itself, its sender and its peer, and room for the verdict. `judge.judge`
changes both records by the rules of its kind: `opening` (H), `closing` (T) or `aborting` (R). Nothing else changes them,
except a network error (N2). The state of an end follows from the facts (`Connection.state_of`, rule X6).

A new SYN on a connection that is over begins another *attempt*: both ends and the attempt's record are reset, while
counts, times and the offers of the ends go on. Whoever adds a field to a record decides to which of the two it belongs,
and `packed_connections` stores it by its name in `__slots__`.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, TypeVar

from pybridge.tcp.model import Annotation, Offer
from pybridge.tcp.vocabulary import (
    ANOMALIES,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    OVER,
    SYN_RECEIVED,
    SYNCHRONISED,
    TIME_WAIT,
)

MODULO = 1 << 32
HALF = 1 << 31

LONG = 10_000_000_000
"""Nanoseconds of a long silence, after which an answer is overdue, too (D, C23)."""

MOMENT = 100_000_000
"""Nanoseconds within which two captures of one segment lie (G8), and segments that were in flight at an RST (R6)."""

NOTICEABLE = 200_000_000
"""Nanoseconds within which a repetition can have crossed the answer, and no timer repeats (H10, D6)."""

OF_APPLICATION = 255 - 64
"""By how much the hop limit that an application sets by RFC 5082 exceeds that of its host's own segments (D1)."""

NEAREST = 10
"""Hop limit below which an application has set it, as BGP does to 1 (D1)."""

OUTLIVED = 1_000_000_000
"""Nanoseconds after an RST within which something new can still have been in flight (R6)."""

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


def is_at_or_after(a: int, b: int) -> bool:
    """Whether number `a` is at or after number `b`."""
    return (a - b) % MODULO < HALF


def is_beyond(a: int, b: int) -> bool:
    """Whether number `a` is beyond number `b`, and `b` before `a`."""
    return (b - a) % MODULO > HALF


@lru_cache(maxsize=4096)
def _interned(value: Any) -> Any:
    return value


def interned(value: _Value) -> _Value:
    """Return one shared object for equal values: thousands of connections hold the same few."""
    known: _Value = _interned(value)
    return known


FormerReset = tuple[bool, int | None, int | None, str | None, str | None]
"""Whether A sent the RST, its frame and hop limit, its class and suspect (D5)."""


class Fin:
    """The FIN of an end (rules T).

    Attributes
    ----------
    seq : int
        The sequence number that the FIN occupies.
    ack : int
        The acknowledgement number of the FIN's first transmission.
    acked_before : int or None
        What its sender had acknowledged before.
    frame, frame_time : int
        Its latest transmission; frame 0 if the FIN was not captured yet, but acknowledged.
    first_time, sent : int
        Time of its first transmission; number of transmissions.
    acked, was_acked : bool
        It is acknowledged, which a repetition takes back (T5); it was acknowledged at some time.
    peer_sent : int or None
        How far its receiver had sent when it was captured (D8).
    missed : bool
        Its receiver shows that it did not arrive (T5).
    """

    __slots__ = (
        "ack", "acked", "acked_before", "first_time", "frame", "frame_time", "missed", "peer_sent", "sent", "seq", "was_acked",
    )  # fmt: skip

    def __init__(self, seq: int, ack: int, acked_before: int | None, frame: int, time: int, peer_sent: int | None) -> None:
        self.seq = seq
        self.ack = ack
        self.acked_before = acked_before
        self.frame = frame
        self.frame_time = self.first_time = time
        self.sent = 1
        self.peer_sent = peer_sent
        self.acked = self.was_acked = self.missed = False

    @property
    def next(self) -> int:
        """The number after the FIN."""
        return (self.seq + 1) % MODULO


class End:
    """One end of a connection (rules X)."""

    __slots__ = (
        "acknowledged",
        "address",
        "answered_syn_time",
        "awaiting",
        "challenged",
        "doubtful_rst",
        "early_ack",
        "fin",
        "first_seq",
        "former",
        "gap",
        "gone",
        "guesses",
        "heard",
        "hop_limit",
        "hop_limit_varies",
        "in_order",
        "isn",
        "last_time",
        "misnumbered",
        "next_sent",
        "offer",
        "offered_isn",
        "offers_ecn",
        "payload",
        "phase",
        "port",
        "recent",
        "rejected",
        "repeat_frame",
        "repeat_seq",
        "repeats",
        "rst_ack",
        "rst_next_sent",
        "segments",
        "sent_syn",
        "silent",
        "spoke",
        "syn_ack_first_time",
        "syn_ack_frame",
        "syn_ack_frame_time",
        "syn_ack_number",
        "syn_ack_seen",
        "syn_ack_sent",
        "syn_frame",
        "syn_frame_time",
        "syn_length",
        "syn_seen",
        "syn_sent",
        "syn_time",
        "syns",
        "was_reset",
        "wild_hop_limit",
        "wild_rst",
        "wild_seq",
        "zeek_end",
    )  # fmt: skip

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.segments = 0
        self.payload = 0
        self.last_time: int | None = None
        self.offered_isn: int | None = None  # C11 to C13: of the last SYN or SYN-ACK with a role, over all attempts
        self.offer: Offer | None = None
        self.offers_ecn = 0
        self.sent_syn = False  # Z2: a SYN or SYN-ACK with a role, in this attempt
        self.zeek_end = ""  # Z2: how Zeek takes it to have ended in this attempt
        self.former: int | None = None  # X7
        self.recent: tuple[tuple[int, int], ...] = ()  # G8: fingerprint (-1 without identity) and time
        self.forget()

    def forget(self) -> None:
        """Forget everything that belongs to an attempt (rules H2, H7)."""
        self.phase = CLOSED
        self.isn: int | None = None
        self.syn_length = 0
        self.syn_seen = self.syn_ack_seen = False
        self.syn_time = self.syn_frame = self.syn_frame_time = 0
        self.syns: tuple[tuple[int, int, int | None], ...] = ()  # H10: frame, time and timestamp of the last eight SYNs
        self.syn_sent = self.syn_ack_sent = 0
        self.syn_ack_number = self.syn_ack_frame = self.syn_ack_frame_time = self.syn_ack_first_time = 0
        self.answered_syn_time: int | None = None  # C24: time of the SYN that its first SYN-ACK answers
        self.awaiting = self.spoke = False
        self.rejected: int | None = None
        self.first_seq: int | None = None
        self.next_sent: int | None = None
        self.in_order: int | None = None
        self.gap: int | None = None
        self.acknowledged: int | None = None
        self.early_ack: int | None = None
        self.heard = False
        self.fin: Fin | None = None
        self.gone = self.was_reset = self.challenged = False
        self.rst_next_sent: int | None = None
        self.rst_ack: int | None = None  # C22

    def forget_evidence(self) -> None:
        """Forget what the diagnosis reads (rules D1 to D4)."""
        self.hop_limit: int | None = None
        self.hop_limit_varies = self.silent = self.misnumbered = False
        self.repeats = 0
        self.repeat_seq: int | None = None
        self.repeat_frame = 0
        self.wild_rst: int | None = None
        self.wild_seq: int | None = None
        self.wild_hop_limit: int | None = None
        self.guesses = 0
        self.doubtful_rst: tuple[int, int, int, int | None] | None = None  # frame, time, sequence number and hop limit

    def hops_off(self, hop_limit: int | None) -> int | None:
        """Return by how much the hop limit of an RST differs from that of this end; None if nothing shows it (rule D1)."""
        if hop_limit is None or self.hop_limit is None or self.hop_limit_varies:
            return None
        return abs(hop_limit - self.hop_limit)

    def is_foreign(self, hop_limit: int | None) -> bool:
        """Whether the hop limit of an RST is that of another device (rule D1)."""
        off = self.hops_off(hop_limit)
        if hop_limit is None or self.hop_limit is None or off is None:
            return False
        return off > 1 and self.hop_limit >= NEAREST and abs(self.hop_limit - hop_limit - OF_APPLICATION) > 1

    def accepts(self, ack: int, limit: int) -> bool:
        """Whether `ack` is an acceptable acknowledgement of this end's SYN (rule X2)."""
        return self.isn is None or distance(ack, self.isn + 1) <= limit

    def syn_answered_by(self, echo: int | None) -> tuple[int, int | None]:
        """Return frame and time of the SYN that an answer with this echoed timestamp answers (rule H10)."""
        found = self._echoed_syn(echo)
        return found or (self.syn_frame, self.syn_frame_time if self.syn_sent == 1 else None)

    def has_asked_again(self, peer: End) -> bool:
        """Whether this end repeated its SYN in spite of the SYN-ACK of its peer (rule H10)."""
        return self.syn_frame > peer.syn_ack_frame and self.syn_frame_time - peer.syn_ack_frame_time > NOTICEABLE

    def time_of_answered_syn(self, echo: int | None) -> int:
        """Return the time of the SYN that an answer with this echoed timestamp answers, be it ambiguous (rule C24)."""
        found = self._echoed_syn(echo)
        return found[1] if found else self.syn_frame_time

    def _echoed_syn(self, echo: int | None) -> tuple[int, int] | None:
        if self.syn_sent == 1:
            return None
        return next(((frame, time) for frame, time, stamp in reversed(self.syns) if stamp is not None and stamp == echo), None)

    def went_on_after(self, fin: Fin) -> bool:
        """Whether this end has sent more since a FIN of its peer was first captured (rules D5, D8)."""
        return self.next_sent is not None and fin.peer_sent is not None and is_beyond(self.next_sent, fin.peer_sent)

    def is_passive_opener(self) -> bool:
        """Whether a SYN-ACK but no SYN of this end was seen (rule X5)."""
        return self.syn_ack_seen and not self.syn_seen


class Connection:
    """One `tcp.stream`: its two ends, its latest attempt, and its counts."""

    __slots__ = (
        "a", "aborted", "anomalies", "b", "client", "client_from", "client_response_time", "close_complete",
        "closed_by_error", "closing_rst", "completeness", "delay_frame", "delay_kind", "delay_suspect", "error_frame",
        "error_kind", "error_suspect", "first_talk_missed", "first_talker", "first_time", "former_reset", "fresh",
        "handshake_frame", "handshake_time", "history_letters", "idle_before_end", "injected_end", "injected_hop_limit",
        "injected_rst", "invalid_answer", "invalid_frame", "last_time", "old_answer", "opened", "quiet", "refused",
        "reset_by", "reset_frame", "reset_hop_limit", "reset_kind", "reset_suspect", "retransmission_delay",
        "retransmissions", "rst_time", "server_response_time", "silence_frame", "simultaneous_open", "state_a", "state_b",
        "stream", "syn_ack_matched", "syn_seen", "talker", "teardown_time", "third_step_seen", "third_step_time",
        "unreachable",
    )  # fmt: skip

    def __init__(self, stream: int, a: End, b: End, time: int) -> None:
        self.stream = stream
        self.a = a
        self.b = b
        self.client = b if a.port < b.port else a  # E2
        self.client_from = "port"
        self.fresh = True
        self.first_time = self.last_time = time
        self.completeness = 0
        self.anomalies: frozenset[str] = NO_ANOMALIES
        self.history_letters = ""  # Z1: upper case for A, lower case for B
        self.retransmissions: tuple[int, ...] = (0, 0, 0)  # C14: SYN, SYN-ACK, FIN
        self.handshake_time: int | None = None
        self.handshake_frame = 0
        self.retransmission_delay: int | None = None
        self.server_response_time: int | None = None
        self.client_response_time: int | None = None
        self.teardown_time: int | None = None
        self.closed_by_error = False  # N3
        # Of segments that change nothing: from A, from B without payload, from A, from B with payload
        self.quiet: tuple[Annotation | None, ...] = NOT_QUIET
        self.state_a = self.state_b = CLOSED
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Reset the record of the attempt (rules X)."""
        self.opened = self.syn_seen = self.syn_ack_matched = self.third_step_seen = False
        self.simultaneous_open = self.close_complete = False
        self.reset_by: End | None = None
        self.rst_time: int | None = None
        self.idle_before_end: int | None = None
        self.aborted = self.refused = self.unreachable = self.invalid_answer = False
        for end in (self.a, self.b):
            end.sent_syn = False
            end.zeek_end = ""
            end.forget_evidence()
        self._forget_evidence()

    def _forget_evidence(self) -> None:
        """Forget what the diagnosis reads (rules D3 to D7)."""
        self.first_talk_missed = False
        self.first_talker: End | None = None
        self.talker: End | None = None
        self.delay_kind: str | None = None
        self.delay_suspect: str | None = None
        self.delay_frame = 0
        self.third_step_time: int | None = None
        self.forget_reset()
        self.error_kind: str | None = None
        self.error_suspect: str | None = None
        self.silence_frame: int | None = None
        self.injected_rst: int | None = None
        self.injected_end: End | None = None
        self.injected_hop_limit: int | None = None
        self.closing_rst: int | None = None
        self.old_answer: int | None = None
        self.invalid_frame: int | None = None
        self.error_frame: int | None = None

    def forget_reset(self) -> None:
        """Forget the RST that ended the attempt, and its class (rule D5)."""
        self.reset_by = None
        self.reset_kind: str | None = None
        self.reset_suspect: str | None = None
        self.reset_frame: int | None = None
        self.reset_hop_limit: int | None = None
        self.former_reset: FormerReset | None = None

    def take_back_reset(self, reset_by: End) -> None:
        """Forget the RST that ended the attempt, but for one that its sender can repeat (rule D5)."""
        former = (reset_by is self.a, self.reset_frame, self.reset_hop_limit, self.reset_kind, self.reset_suspect)
        self.forget_reset()
        self.former_reset = former if reset_by.gone else None

    def restore_reset(self, former: FormerReset) -> None:
        """Take an RST for the repetition of one that was taken back (rule D5)."""
        _, self.reset_frame, self.reset_hop_limit, self.reset_kind, self.reset_suspect = former

    def note_injected(self, frame: int | None, end: End, hop_limit: int | None) -> None:
        """Note an RST in the name of an end that did not send it (rule D4)."""
        self.injected_rst, self.injected_end, self.injected_hop_limit = frame, end, hop_limit

    def injected_suspect(self) -> str | None:
        """Return `path` if another device sent the RST that was injected (rule D4)."""
        return "path" if self.injected_end and self.injected_end.is_foreign(self.injected_hop_limit) else None

    def revive(self, end: End) -> None:
        """Note that an end has not gone, or not for good: its next RST says something new (rule D5)."""
        end.gone = False
        if self.former_reset and self.former_reset[0] == (end is self.a):
            self.former_reset = None

    def forget_attempt(self) -> None:
        """Forget the attempt and what both ends did in it (rules H2, H6)."""
        self.a.forget()
        self.b.forget()
        self.begin_attempt()

    @property
    def server(self) -> End:
        """The end that is not the client."""
        return self.b if self.client is self.a else self.a

    @property
    def over(self) -> bool:
        """Whether no end was live any more after the segment before (rules X)."""
        return not self.fresh and self.state_a in OVER and self.state_b in OVER

    def update_states(self) -> None:
        """Derive the states of both ends from what is known of them (rules X3, X6)."""
        a, b = self.a, self.b
        if a.fin is None and b.fin is None and not (a.gone or b.gone or a.was_reset or b.was_reset):
            self.state_a, self.state_b = a.phase, b.phase
        else:
            self.state_a, self.state_b = self.state_of(a), self.state_of(b)
        if not self.opened and self.state_a in SYNCHRONISED and self.state_b in SYNCHRONISED:
            self.opened = True
            a.former = b.former = None  # X7

    def was_open(self, end: End) -> bool:
        """Whether an end cannot have closed before the capture began (rule D8)."""
        return not end.misnumbered and (self.syn_seen or self.syn_ack_matched or self.has_talked(end))

    def has_talked(self, end: End) -> bool:
        """Whether an end has sent payload (rule Z1)."""
        return ("D" if end is self.a else "d") in self.history_letters

    def is_unheard(self, end: End) -> bool:
        """Whether an end has sent no payload on a connection whose opening was captured (rule D5)."""
        return not self.has_talked(end) and (self.syn_seen or self.syn_ack_matched)

    def other(self, end: End) -> End:
        """Return the end that is not this one."""
        return self.b if end is self.a else self.a

    def fin_of(self, end: End) -> Fin | None:
        """Return the FIN that an end has sent, if it counts (rule T1)."""
        fin = end.fin
        if fin is None or fin.acked:
            return fin
        peer = self.other(end)
        if peer.next_sent is not None and is_beyond(fin.ack, peer.next_sent):
            return None
        return fin

    def both_closed(self) -> bool:
        """Whether the FINs of both ends count (rule T1)."""
        return self.fin_of(self.a) is not None and self.fin_of(self.b) is not None

    def has_received_fin(self, end: End) -> bool:
        """Whether the FIN of its peer has arrived at an end (rule T2)."""
        peer = self.other(end)
        fin = self.fin_of(peer)
        if fin is None or fin.missed or peer.in_order is None:
            return False
        return fin.acked or is_at_or_after(peer.in_order, fin.next)

    def is_passive(self, end: End) -> bool:
        """Whether the FIN of an end answers the FIN of its peer, which it acknowledges (rule T3)."""
        fin, other = self.fin_of(end), self.fin_of(self.other(end))
        return fin is not None and other is not None and is_at_or_after(fin.ack, other.next)

    def is_simultaneous(self) -> bool:
        """Whether both ends have closed before either heard of it (rule T3)."""
        return self.both_closed() and not self.is_passive(self.a) and not self.is_passive(self.b)

    def state_of(self, end: End) -> str:
        """Return the state of an end, which follows from what it has sent and what has arrived (rule X6)."""
        if end.gone or end.was_reset:
            return LISTEN if end.was_reset and not end.gone and end.is_passive_opener() and not self.opened else CLOSED
        if end.phase not in (ESTABLISHED, SYN_RECEIVED):
            return end.phase
        received = self.has_received_fin(end)
        fin = self.fin_of(end)
        if fin is None:
            return CLOSE_WAIT if received else end.phase
        if fin.acked:
            return (CLOSED if self.is_passive(end) else TIME_WAIT) if received else FIN_WAIT_2
        return (LAST_ACK if self.is_passive(end) else CLOSING) if received else FIN_WAIT_1

    def states(self) -> tuple[str, str]:
        """Return the states of client and server (rule X1)."""
        if self.fresh:
            return CLOSED, LISTEN
        return (self.state_a, self.state_b) if self.client is self.a else (self.state_b, self.state_a)

    def name(self, end: End) -> str:
        """Return `client` or `server` (rule E3)."""
        return "client" if end is self.client else "server"

    def remember_former(self, former: Connection) -> None:
        """Keep how far the ends of an older connection, which one of them still holds, have sent (rule X7)."""
        ends = (
            [former.a, former.b] if (former.a.address, former.a.port) == (self.a.address, self.a.port) else [former.b, former.a]
        )
        held = not former.over or TIME_WAIT in (former.state_a, former.state_b)
        if not held or ends[0].next_sent is None or ends[1].next_sent is None:
            return
        self.a.former, self.b.former = ends[0].next_sent, ends[1].next_sent

    def update_quiet(self) -> None:
        """Cache the annotations of plain segments while the connection is quiet: both ends ESTABLISHED, nothing outstanding.

        Most segments of a capture are such.
        """
        a, b = self.a, self.b
        if (
            self.state_a == self.state_b == ESTABLISHED
            and a.spoke
            and b.spoke
            and not (a.awaiting or b.awaiting or a.fin or b.fin or a.challenged or b.challenged or a.heard or b.heard)
            and not (a.repeats or b.repeats or a.silent or b.silent or a.doubtful_rst or b.doubtful_rst)
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
        In the order of rule T9.
    handshake_step : int or None
    ack_step, fin_step : int
        The teardown step of its acknowledgement of a FIN and of its own FIN; 0 for none.
    retransmission : bool
    answers : tuple, or None
        Frame and time of the segment that it answers; the time is None if a repetition makes it ambiguous.
    handshake_time : int or None
        Nanoseconds.
    anomalies : set of str
    judged : bool
        False if the segment is invalid (G7) or came on a connection that is over (X4).
    in_flight : bool
        It was under way when an RST ended its sender (R6).
    skips : bool
        The capture lacks what both ends have said before it (F6).
    rejects : bool
        It is an RST that rejects the acknowledgement of a SYN-ACK (R2).
    silence : int
        Nanoseconds since the latest segment of the connection before.
    offer : Offer or None
    hop_limit : int or None
    """

    __slots__ = (
        "ack", "ack_step", "anomalies", "answers", "connection", "fin_step", "frame", "handshake_step", "handshake_time",
        "hop_limit", "in_flight", "judged", "kind", "length", "offer", "peer", "rejects", "retransmission", "roles",
        "sender", "seq", "silence", "skips", "time",
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
        self.answers: tuple[int, int | None] | None = None
        self.handshake_time: int | None = None
        self.anomalies: set[str] = set()
        self.judged = True
        self.in_flight = False
        self.skips = self.rejects = False
        self.silence = 0
        self.offer: Offer | None = None
        self.hop_limit: int | None = None

    def repeats(self, anomaly: str) -> None:
        """Mark the segment as a retransmission (rule A3)."""
        self.retransmission = True
        self.anomalies.add(anomaly)
