# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification (`docs/annotations.md`) as a state machine: segments in, annotations out.

Pure and incremental: no I/O, no clock, no tshark, no pandas. Rule numbers in comments are those of the specification.
Times are integers, nanoseconds since the epoch; sequence and acknowledgement numbers are raw.
"""

from __future__ import annotations

from pybridge.tcp.judge import Case, judge
from pybridge.tcp.model import ACK, ANOMALIES, CLOSED, CWR, ECE, FIN, RST, SYN, SYN_SENT, Annotation, Offer
from pybridge.tcp.packed_connections import Store
from pybridge.tcp.state import ABSENT, UNSETTLED, Connection, End, joined, shared

KIND = FIN | SYN | RST | ACK
IDENTIFICATIONS = 0xFFFF  # of an IP header; identities above are timestamps (G8)


class Annotator:
    """Annotates segments in the order of the capture.

    Attributes
    ----------
    connections : Store
        By stream, in the order of their first segments.

    Examples
    --------
    >>> annotator = Annotator()
    >>> annotator.segment(1, 0, 0, "10.0.0.1", 50000, "10.0.0.2", 80, SYN, 100, 0, 0).client_state
    'SYN-SENT'
    >>> annotator.segment(2, 150_000, 0, "10.0.0.2", 80, "10.0.0.1", 50000, RST | ACK, 0, 101, 0).anomaly
    'connection-refused'
    >>> annotator.connections[0].establishment
    'refused'
    """

    def __init__(self) -> None:
        self.connections = Store()
        self._latest: dict[int, int] = {}  # by hash of the ends in canonical order: their latest stream

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
    ) -> Annotation:
        """Annotate the next segment.

        Parameters
        ----------
        frame, time, stream : int
            Frame number, nanoseconds since the epoch, `tcp.stream`.
        source, source_port, destination, destination_port
            The ends (G3, G5).
        flags, seq, ack, length : int
            `tcp.flags`, `tcp.seq_raw`, `tcp.ack_raw`, `tcp.len`.
        offer : Offer, optional
            The options, if the segment has SYN set and they can be told (C12).
        identity : int, optional
            What tells a segment that was sent twice from one that was captured twice (G8).
        """
        connection = self.connections.get(stream)
        if connection is None:
            connection = Connection(stream, End(source, source_port), End(destination, destination_port), time)
            self.connections.add(connection)
            reused = self._register(connection)
        else:
            reused = False
            if time > connection.last:
                connection.last = time
            elif time < connection.first:
                connection.first = time
        a = connection.a
        b = connection.b
        from_a = source_port == a.port and (source_port != b.port or source == a.address)  # G5
        sender = a if from_a else b
        sender.segments += 1
        sender.payload += length
        kind = flags & KIND
        if kind == ACK:
            connection.completeness |= 8 if length else 4
            plain = connection.plain[(0 if from_a else 1) + (2 if length else 0)]
            if plain is not None:
                return plain
        else:
            connection.completeness |= completeness(kind, length)

        peer = b if from_a else a
        header = -1 if identity is None else ((((length << 32 | seq) << 32 | ack) << 16) | flags) << 33 | identity
        if header in sender.recent and _tells(identity, kind, doubled="duplicate" in connection.anomalies):  # G8
            connection.anomalies = shared(connection.anomalies | {"duplicate"})
            states = connection.states()
            return Annotation(connection.name(sender), None, None, None, *states, False, None, None, None, "duplicate")
        case = Case(connection, sender, peer, kind=kind, frame=frame, time=time, seq=seq, ack=ack, length=length)
        letters = _letters(kind, length)  # Z1
        for letter in letters if from_a else letters.lower():
            if letter not in connection.letters:
                connection.letters = shared(connection.letters + letter)
        judge(case)
        if case.roles:
            sender.recent = (*sender.recent[-3:], header)
        elif case.judged:
            sender.recent = ()
        if reused and kind in (SYN, SYN | ACK):  # A2
            case.anomalies.add("port-reuse")
        if case.roles and case.roles[0] in ("SYN", "SYN-ACK"):
            sender.sent_syn = True
            sender.offered_isn = seq
            sender.offer = offer
            sender.offers_ecn = flags & (ECE | CWR) == (ECE | CWR if kind == SYN else ECE)
            if length:  # A1
                case.anomalies.add("syn-with-data")
        annotation = _annotation(case)
        _count(case, annotation)
        connection.update_plain()
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
    ) -> Annotation | None:
        """Take note of an ICMP error that quotes a segment of these ends (N1, N2); None if it answers no SYN."""
        if stream is None:
            connection = self.between(source, source_port, destination, destination_port)
        else:
            connection = self.connections.get(stream)
        if connection is None or connection.fresh:
            return None
        client = connection.client
        if client.state != SYN_SENT or connection.server.state not in ABSENT:
            return None
        if (source, source_port) != (client.address, client.port):
            return None
        client.state = CLOSED
        connection.unreachable = connection.given_up = True
        connection.plain = UNSETTLED
        case = Case(connection, client, connection.server, kind=0, frame=frame, time=time, seq=0, ack=0, length=0)
        case.anomalies.add("unreachable")
        case.answers = (client.syn_frame, client.syn_time)
        connection.anomalies = shared(connection.anomalies | case.anomalies)
        return _annotation(case)

    def between(self, source: str, source_port: int, destination: str, destination_port: int) -> Connection | None:
        """The latest connection between these ends, in either direction."""
        stream = self._latest.get(_key(source, source_port, destination, destination_port))
        return None if stream is None else self.connections.get(stream)

    def release(self, stream: int) -> Connection:
        """Forget a connection; returns it as it was.

        A later segment of its stream is taken for one that was joined midway (H1), a later connection between its ends
        for the first one (A2).
        """
        connection = self.connections.remove(stream)
        a, b = connection.a, connection.b
        key = _key(a.address, a.port, b.address, b.port)
        if self._latest.get(key) == stream:
            del self._latest[key]
        return connection

    def _register(self, connection: Connection) -> bool:
        """Remember the ends; whether there was an earlier connection between them (A2)."""
        a, b = connection.a, connection.b
        key = _key(a.address, a.port, b.address, b.port)
        known = key in self._latest
        self._latest[key] = connection.stream
        return known


def _tells(identity: int | None, kind: int, *, doubled: bool) -> bool:
    """Whether the same identity means the same segment (G8)."""
    if identity is None:
        return False
    return doubled or 0 < identity <= IDENTIFICATIONS or (identity > IDENTIFICATIONS and kind in (SYN, FIN | ACK))


def _key(source: str, source_port: int, destination: str, destination_port: int) -> int:
    """The same for both directions; 64 bits take a third of what a tuple does, and collide once in 10^19 pairs."""
    one, other = (source, source_port), (destination, destination_port)
    return hash((one, other) if one <= other else (other, one))


def completeness(kind: int, length: int) -> int:
    """C15."""
    value = 0
    if kind & (SYN | ACK) == SYN:
        value |= 1
    if kind & (SYN | ACK) == SYN | ACK:
        value |= 2
    if kind & (SYN | ACK) == ACK and not length:
        value |= 4
    if kind & (SYN | ACK) in (SYN, ACK) and length:
        value |= 8
    if kind & (FIN | ACK) == FIN | ACK:
        value |= 16
    if kind & RST:
        value |= 32
    return value


def _letters(kind: int, length: int) -> str:
    """Z1."""
    if kind & SYN and kind & (RST | FIN):
        return "Q"
    if kind & RST:
        return "I" if kind & FIN else "R"
    opening = "" if not kind & SYN else "H" if kind & ACK else "S"
    return opening + ("D" if length else "") + ("F" if kind & FIN else "") or ("A" if kind == ACK else "")


def _annotation(case: Case) -> Annotation:
    connection = case.connection
    client_state, server_state = connection.states()
    steps = [str(step) for step in (case.ack_step, case.fin_step) if step]
    answers = case.answers
    return Annotation(
        sender=connection.name(case.s),
        role="+".join(case.roles) or None,
        handshake_step=case.handshake_step,
        teardown_step="+".join(steps) or None,
        client_state=client_state,
        server_state=server_state,
        retransmission=case.repeated,
        responds_to=answers[0] if answers else None,
        response_time=case.time - answers[1] if answers else None,
        handshake_time=case.handshake_time,
        anomaly=joined(case.anomalies),
    )


def _count(case: Case, annotation: Annotation) -> None:
    """C8, C9, C10, C14, C16."""
    connection = case.connection
    if case.anomalies:
        connection.anomalies = shared(connection.anomalies | case.anomalies)
    if case.repeated:
        counts = zip(connection.retransmissions, ANOMALIES, strict=False)  # A: the first three
        connection.retransmissions = tuple(count + (name in case.anomalies) for count, name in counts)
    if connection.handshake_time is None:
        connection.handshake_time = annotation.handshake_time
    if annotation.responds_to is not None:
        by_client = annotation.sender == "client"
        if case.handshake_step == 2 and not by_client and connection.server_response_time is None:
            connection.server_response_time = annotation.response_time
        elif case.handshake_step == 3 and by_client and connection.client_response_time is None:
            connection.client_response_time = annotation.response_time
