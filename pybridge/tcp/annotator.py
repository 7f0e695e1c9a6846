# SPDX-License-Identifier: GPL-2.0-or-later
"""The annotator: segments and network errors in, annotations out, in the order of the capture (rule G6).

Pure and incremental: no I/O, no clock, no tshark, no pandas. Rule numbers in comments are those of `docs/annotations.md`.
Times are integers, nanoseconds since the epoch; sequence and acknowledgement numbers are raw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pybridge.tcp.connection_row import completeness_of, history_letters_of, row_of
from pybridge.tcp.evidence import note_hop_limit, note_network_error, retransmission_delay_of
from pybridge.tcp.judge import judge
from pybridge.tcp.model import Annotation, ConnectionRow, NetworkError, Offer, Segment
from pybridge.tcp.packed_connections import LIVE_OBJECTS, ConnectionStore
from pybridge.tcp.state import HALF, LONG, MODULO, MOMENT, NOT_QUIET, Connection, End, Judgement, interned, joined
from pybridge.tcp.vocabulary import ABSENT, ACK, AE, CLOSED, CWR, ECE, FIN, RETRANSMISSIONS, RST, SYN, SYN_SENT

KIND = FIN | SYN | RST | ACK
EARLIEST = -(1 << 63)
IDENTIFICATIONS = 0xFFFF  # of an IP header; identities above are timestamps (G8)


class Annotator:
    """Annotates segments in the order of the capture.

    Parameters
    ----------
    live_objects : int
        As of `ConnectionStore`.

    Attributes
    ----------
    connections : ConnectionStore
        By stream, in the order of their first segments.
    end : int
        The latest time of a segment or network error so far.

    Examples
    --------
    >>> annotator = Annotator()
    >>> annotator.segment(1, 0, 0, "10.0.0.1", 50000, "10.0.0.2", 80, SYN, 100, 0, 0).client_state
    'SYN-SENT'
    >>> annotator.segment(2, 150_000, 0, "10.0.0.2", 80, "10.0.0.1", 50000, RST | ACK, 0, 101, 0).anomaly
    'connection-refused'
    >>> from pybridge.tcp.connection_row import establishment_of
    >>> establishment_of(annotator.connections[0])
    'refused'
    """

    def __init__(self, live_objects: int = LIVE_OBJECTS) -> None:
        self.connections = ConnectionStore(live_objects)
        self.end = EARLIEST
        self._latest: dict[int, int] = {}  # by hash of the ends in canonical order: their latest stream

    def annotate(self, events: Iterable[Segment | NetworkError]) -> Iterator[tuple[Segment, Annotation]]:
        """Annotate segments and network errors in order; yield each segment with its annotation."""
        for event in events:
            if isinstance(event, NetworkError):
                self.network_error(*event)
            else:
                yield event, self.segment(*event)

    def segment(
        self,
        frame: int,
        time: int,
        stream: int,
        source: str,
        source_port: int,
        destination: str,
        destination_port: int,
        flags: int,
        seq: int,
        ack: int,
        length: int,
        offer: Offer | None = None,
        identity: int | None = None,
        hop_limit: int | None = None,
    ) -> Annotation:
        """Annotate the next segment.

        Parameters
        ----------
        frame, time, stream : int
            Frame number, nanoseconds since the epoch, `tcp.stream`.
        source, source_port, destination, destination_port
            The ends (rules G3, G5).
        flags, seq, ack, length : int
            `tcp.flags`, `tcp.seq_raw`, `tcp.ack_raw`, `tcp.len`.
        offer : Offer, optional
            The options of a segment with SYN, if they are known (rule C12).
        identity : int, optional
            The number that tells a segment that was sent twice from one that was captured twice (rule G8).
        hop_limit : int, optional
            `ip.ttl` or `ipv6.hlim` (rule D1).
        """
        self.end = max(self.end, time)
        connection = self.connections.get(stream)
        if connection is None:
            connection = Connection(stream, End(source, source_port), End(destination, destination_port), time)
            self.connections.add(connection)
            former = self._register(connection)
            if former is not None and flags & (SYN | ACK | RST | FIN) == SYN:
                connection.remember_former(former)
        else:
            former = None
            connection.first_time = min(connection.first_time, time)
        before = connection.last_time
        if time > before:
            connection.last_time = time
        a = connection.a
        b = connection.b
        from_a = source_port == a.port and (source_port != b.port or source == a.address)  # G5
        sender = a if from_a else b
        peer = b if from_a else a
        sender.last_time = time
        sender.segments += 1  # C3
        sender.payload += length
        kind = flags & KIND
        if kind == ACK:
            connection.completeness |= 8 if length else 4  # C15
            quiet = connection.quiet[(0 if from_a else 1) + (2 if length else 0)]
            if (
                quiet is not None
                and seq == sender.next_sent == sender.in_order
                and (peer.next_sent - ack) % MODULO < HALF  # type: ignore[operator] # F2
                and sender.early_ack is None
                and peer.gap is None
                and peer.early_ack is None
                and time - before < LONG
            ):
                if length:
                    connection.talker = sender
                    sender.next_sent = sender.in_order = (seq + length) % MODULO
                if (ack - sender.acknowledged) % MODULO < HALF:  # type: ignore[operator]
                    sender.acknowledged = ack
                return quiet
        else:
            connection.completeness |= completeness_of(kind, length)

        fingerprint = -1 if identity is None else _fingerprint(flags, seq, ack, length, identity)
        if _is_copy(sender, fingerprint, time) and _identifies(
            identity, kind, duplicated="duplicate" in connection.anomalies
        ):  # G8
            connection.anomalies = interned(connection.anomalies | {"duplicate"})
            states = connection.states()
            return Annotation(connection.name(sender), None, None, None, *states, False, None, None, None, "duplicate")
        letters = history_letters_of(kind, length)
        for letter in letters if from_a else letters.lower():
            if letter not in connection.history_letters:
                connection.history_letters = interned(connection.history_letters + letter)
        judgement = Judgement(connection, sender, peer, kind=kind, frame=frame, time=time, seq=seq, ack=ack, length=length)
        judgement.silence = time - before
        judgement.offer = offer
        judgement.hop_limit = hop_limit
        spoke = sender.spoke
        judge(judgement)
        if judgement.judged and hop_limit is not None:
            note_hop_limit(judgement, is_first=sender.spoke and not spoke)
        if judgement.roles or judgement.in_flight:
            sender.recent = (*sender.recent[-3:], (fingerprint, time))
        elif judgement.judged:
            sender.recent = ()
        if former is not None and (kind == SYN or kind & ~FIN == SYN | ACK):  # A2
            judgement.anomalies.add("port-reuse")
        if judgement.roles and judgement.roles[0] in ("SYN", "SYN-ACK"):
            sender.sent_syn = True
            again = sender.offered_isn == seq and judgement.roles[0] == "SYN"
            sender.offered_isn = seq  # C11
            sender.offer = offer
            sender.offers_ecn = flags & (AE | ECE | CWR) | (sender.offers_ecn if again else 0)  # C13
            if length:  # A1
                judgement.anomalies.add("syn-with-data")
        annotation = _annotation(judgement)
        _count(judgement, annotation)
        connection.update_quiet()
        return annotation

    def network_error(
        self,
        frame: int,
        time: int,
        stream: int | None,
        source: str,
        source_port: int,
        destination: str,
        destination_port: int,
        message: tuple[int, int, int] = (4, 3, 0),
        reporter: str = "",
    ) -> Annotation | None:
        """Annotate an ICMP error that quotes a segment between these ends; None if it answers no SYN (rules N1, N2)."""
        self.end = max(self.end, time)
        if stream is None:
            connection = self.between(source, source_port, destination, destination_port)
        else:
            connection = self.connections.get(stream)
        if connection is None or connection.fresh:
            return None
        client = connection.client
        if connection.state_of(client) != SYN_SENT or connection.state_of(connection.server) not in ABSENT:
            return None
        if (source, source_port) != (client.address, client.port):
            return None
        client.phase = CLOSED
        connection.update_states()
        connection.unreachable = connection.closed_by_error = True
        note_network_error(connection, frame, message, reporter)
        connection.quiet = NOT_QUIET
        error = Judgement(connection, client, connection.server, kind=0, frame=frame, time=time, seq=0, ack=0, length=0)
        error.anomalies.add("unreachable")
        error.answers = client.syn_answered_by(None)
        connection.anomalies = interned(connection.anomalies | error.anomalies)
        return _annotation(error)

    def rows(self, end: int | None = None) -> Iterator[ConnectionRow]:
        """Yield the rows of all connections by stream.

        Parameters
        ----------
        end : int, optional
            The latest time of the whole capture, if this annotator got only a part of it.
        """
        end = self.end if end is None else end
        return (row_of(connection, end) for connection in self.connections.each())

    def between(self, source: str, source_port: int, destination: str, destination_port: int) -> Connection | None:
        """Return the latest connection between these ends, in either direction."""
        stream = self._latest.get(_key(source, source_port, destination, destination_port))
        return None if stream is None else self.connections.get(stream)

    def release(self, stream: int) -> Connection:
        """Forget a connection, and return it.

        The annotator takes a later segment of its stream for one that was joined midway (H1), and a later connection
        between its ends for the first one (A2).
        """
        connection = self.connections.remove(stream)
        a, b = connection.a, connection.b
        key = _key(a.address, a.port, b.address, b.port)
        if self._latest.get(key) == stream:
            del self._latest[key]
        return connection

    def _register(self, connection: Connection) -> Connection | None:
        """Remember the ends of a new connection; return the latest connection between them (rule A2)."""
        a, b = connection.a, connection.b
        key = _key(a.address, a.port, b.address, b.port)
        known = self._latest.get(key)
        self._latest[key] = connection.stream
        return None if known is None else self.connections.get(known)


def _fingerprint(flags: int, seq: int, ack: int, length: int, identity: int) -> int:
    """Pack what two captures of one segment have in common into one integer, which takes a fifth of a tuple's memory (rule G8).

    From the highest bits: length, seq (32 bits), ack (32), flags (16), identity (33).
    """
    return ((((length << 32 | seq) << 32 | ack) << 16) | flags) << 33 | identity


def _is_copy(sender: End, fingerprint: int, time: int) -> bool:
    """Whether the sender sent the same a moment ago (rule G8)."""
    return any(known == fingerprint and time - then <= MOMENT for known, then in sender.recent)


def _identifies(identity: int | None, kind: int, *, duplicated: bool) -> bool:
    """Whether two segments with this identity are one segment that was captured twice (rule G8)."""
    if identity is None:
        return False
    return duplicated or 0 < identity <= IDENTIFICATIONS or (identity > IDENTIFICATIONS and kind in (SYN, FIN | ACK))


def _key(source: str, source_port: int, destination: str, destination_port: int) -> int:
    """Hash two ends, the same for both directions.

    64 bits take a third of a tuple's memory and collide once in 10^19 pairs.
    """
    one, other = (source, source_port), (destination, destination_port)
    return hash((one, other) if one <= other else (other, one))


def _annotation(judgement: Judgement) -> Annotation:
    """Return the annotation that a judgement comes to (rules H10, T9)."""
    connection = judgement.connection
    client_state, server_state = connection.states()
    steps = [str(step) for step in (judgement.ack_step, judgement.fin_step) if step]
    answers = judgement.answers
    return Annotation(
        sender=connection.name(judgement.sender),
        role="+".join(judgement.roles) or None,
        handshake_step=judgement.handshake_step,
        teardown_step="+".join(steps) or None,
        client_state=client_state,
        server_state=server_state,
        retransmission=judgement.retransmission,
        responds_to=answers[0] if answers else None,
        response_time=judgement.time - answers[1] if answers and answers[1] is not None else None,
        handshake_time=judgement.handshake_time,
        anomaly=joined(judgement.anomalies),
    )


def _count(judgement: Judgement, annotation: Annotation) -> None:
    """Add a segment to its connection's anomalies, counts and times (rules C8, C9, C14, C16)."""
    connection = judgement.connection
    if judgement.anomalies:
        connection.anomalies = interned(connection.anomalies | judgement.anomalies)
    if judgement.retransmission:
        counts = zip(connection.retransmissions, RETRANSMISSIONS, strict=True)
        connection.retransmissions = tuple(count + (name in judgement.anomalies) for count, name in counts)
    if connection.handshake_time is None and annotation.handshake_time is not None:
        connection.handshake_time = annotation.handshake_time
        connection.handshake_frame = 0 if judgement.seq != ((judgement.sender.isn or 0) + 1) % MODULO else judgement.frame
        connection.retransmission_delay = retransmission_delay_of(judgement.sender, judgement.peer)
    if annotation.response_time is not None:
        by_client = annotation.sender == "client"
        if judgement.handshake_step == 2 and not by_client and connection.server_response_time is None:
            connection.server_response_time = annotation.response_time
        elif judgement.handshake_step == 3 and by_client and connection.client_response_time is None:
            connection.client_response_time = annotation.response_time
