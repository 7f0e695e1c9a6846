# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification (`docs/annotations.md`) as a state machine: segments in, annotations out.

Pure and incremental: no I/O, no clock, no tshark, no pandas. Rule numbers in comments are those of the specification.
Times are integers, nanoseconds since the epoch; sequence and acknowledgement numbers are raw.
"""

from __future__ import annotations

from pybridge.model import (
    ACK,
    ANOMALIES,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    CWR,
    ECE,
    ESTABLISHED,
    FIN,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RST,
    STATES,
    SYN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
    Annotation,
    ConnectionRow,
    Offer,
)

KIND = FIN | SYN | RST | ACK
MODULO = 1 << 32
HALF = 1 << 31
FIRST_WINDOW = 65_536  # X2: a window in a SYN is never scaled, and a FIN counts for one

SYNCHRONISED = frozenset(STATES[4:])
OVER = frozenset((CLOSED, LISTEN, TIME_WAIT))
ABSENT = frozenset((CLOSED, LISTEN))

_RANK = {name: rank for rank, name in enumerate(ANOMALIES)}


def distance(a: int, b: int) -> int:
    """How far `a` is ahead of `b`, modulo 2^32."""
    return (a - b) % MODULO


class _End:
    """One end of a connection (X)."""

    __slots__ = (
        "address", "port", "state", "isn", "syn_length", "syn_seen", "synack_seen", "syn_first", "syn_frame", "syn_time",
        "synack_frame", "synack_time", "synack_ack", "awaiting", "progress", "first_seq", "first_ack", "rejected", "fin_seq", "fin_frame", "fin_time",
        "fin_first", "fin_step", "fin_acked", "segments", "payload", "offered_isn", "offer", "offers_ecn",
    )  # fmt: skip

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.segments = 0
        self.payload = 0
        self.offered_isn: int | None = None  # C11, C12, C13: of the last SYN or SYN-ACK with a role, over all attempts
        self.offer: Offer | None = None
        self.offers_ecn = False
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
        self.forget_fin()

    def forget_fin(self) -> None:
        """Forget the FIN alone (H7)."""
        self.fin_seq: int | None = None
        self.fin_frame = self.fin_time = self.fin_first = self.fin_step = 0
        self.fin_acked = False

    def accepts(self, ack: int, limit: int) -> bool:
        """X2: is `ack` an acceptable acknowledgement of this end's SYN?"""
        return self.isn is None or distance(ack, self.isn + 1) <= limit


class _Notes:
    """What a segment turns out to be, while it is judged."""

    __slots__ = ("anomalies", "answers", "fin_step", "ack_step", "handshake_step", "handshake_time", "repeated", "roles")

    def __init__(self) -> None:
        self.roles: list[str] = []
        self.handshake_step: int | None = None
        self.ack_step = 0
        self.fin_step = 0
        self.repeated = False
        self.answers: tuple[int, int] | None = None  # frame and time
        self.handshake_time: int | None = None
        self.anomalies: set[str] = set()


class Connection:
    """One `tcp.stream`: its two ends, its latest attempt, and its counts."""

    __slots__ = (
        "stream", "a", "b", "client", "fixed", "fresh", "first", "last", "completeness", "anomalies", "retransmissions",
        "handshake_time", "server_response_time", "client_response_time", "teardown_time", "given_up",
        "opened", "syn_seen", "synack_seen", "third_seen", "simultaneous_open", "simultaneous_close", "merged", "complete",
        "first_fin", "reset_by", "aborted", "refused", "unreachable", "plain",
    )  # fmt: skip

    def __init__(self, stream: int, a: _End, b: _End, time: int) -> None:
        self.stream = stream
        self.a = a
        self.b = b
        self.client = b if a.port < b.port else a  # E2
        self.fixed = False
        self.fresh = True
        self.first = self.last = time
        self.completeness = 0
        self.anomalies: set[str] = set()
        self.retransmissions = [0, 0, 0]  # SYN, SYN-ACK, FIN
        self.handshake_time: int | None = None
        self.server_response_time: int | None = None
        self.client_response_time: int | None = None
        self.teardown_time: int | None = None
        self.given_up = False  # N3
        self.plain: tuple[Annotation, Annotation] | None = None  # of A and of B, while no plain segment can change a thing
        self.begin()

    def begin(self) -> None:
        """Begin an attempt (X)."""
        self.opened = self.syn_seen = self.synack_seen = self.third_seen = False
        self.simultaneous_open = self.simultaneous_close = self.merged = self.complete = False
        self.first_fin: _End | None = None
        self.reset_by: _End | None = None
        self.aborted = self.refused = self.unreachable = False

    @property
    def server(self) -> _End:
        return self.b if self.client is self.a else self.a

    @property
    def over(self) -> bool:
        return not self.fresh and self.a.state in OVER and self.b.state in OVER

    def states(self) -> tuple[str, str]:
        """Of client and server."""
        if self.fresh:
            return CLOSED, LISTEN
        return self.client.state, self.server.state

    def name(self, end: _End) -> str:
        """E3."""
        return "client" if end is self.client else "server"

    def update_opened(self) -> None:
        """X3."""
        if not self.opened and self.a.state in SYNCHRONISED and self.b.state in SYNCHRONISED:
            self.opened = True

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
    def termination(self) -> str:
        """C5."""
        if self.complete:
            return "simultaneous" if self.simultaneous_close else "three-way" if self.merged else "four-way"
        if self.reset_by:
            return "reset"
        fins = (self.a.fin_seq is not None) + (self.b.fin_seq is not None)
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
            sack_permitted=all(offer.sack_permitted for offer in offers) if offers else None,
            timestamps=all(offer.timestamps for offer in offers) if offers else None,
            ecn=all(ecn) if ecn else None,
            syn_retransmissions=self.retransmissions[0],
            syn_ack_retransmissions=self.retransmissions[1],
            fin_retransmissions=self.retransmissions[2],
            completeness=self.completeness,
            anomalies="+".join(sorted(self.anomalies, key=_RANK.__getitem__)) or None,
        )


class Annotator:
    """Annotates segments in the order of the capture.

    Attributes
    ----------
    connections : dict[int, Connection]
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
        self.connections: dict[int, Connection] = {}
        self._latest: dict[tuple[str, int, str, int], int] = {}  # ends in canonical order: their latest stream

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
        """
        connection = self.connections.get(stream)
        if connection is None:
            connection = Connection(stream, _End(source, source_port), _End(destination, destination_port), time)
            self.connections[stream] = connection
            reused = self._register(connection)
        else:
            reused = False
            if time > connection.last:
                connection.last = time
            elif time < connection.first:
                connection.first = time
        a = connection.a
        from_a = source_port == a.port and source == a.address or a.port == connection.b.port and a.address == connection.b.address
        sender = a if from_a else connection.b
        sender.segments += 1
        sender.payload += length
        kind = flags & KIND
        if kind == ACK:
            connection.completeness |= 8 if length else 4
            if connection.plain is not None:
                return connection.plain[0 if from_a else 1]
        else:
            connection.completeness |= _completeness(kind, length)

        peer = connection.b if from_a else a
        notes = _Notes()
        _judge(connection, sender, peer, kind, frame, time, seq, ack, length, notes)
        if reused and kind in (SYN, SYN | ACK):  # A2
            notes.anomalies.add("port-reuse")
        if notes.roles and notes.roles[0] in ("SYN", "SYN-ACK"):
            sender.offered_isn = seq
            sender.offer = offer
            sender.offers_ecn = flags & (ECE | CWR) == (ECE | CWR if kind == SYN else ECE)
            if length:  # A1
                notes.anomalies.add("syn-with-data")
        annotation = _annotation(connection, sender, time, notes)
        _count(connection, annotation, notes)
        connection.plain = _plain(connection)
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
            stream = self._latest.get(_pair(source, source_port, destination, destination_port))
        connection = None if stream is None else self.connections.get(stream)
        if connection is None or connection.fresh:
            return None
        client = connection.client
        if client.state != SYN_SENT or connection.server.state not in ABSENT:
            return None
        if (source, source_port) != (client.address, client.port):
            return None
        client.state = CLOSED
        connection.unreachable = connection.given_up = True
        connection.plain = None
        notes = _Notes()
        notes.anomalies.add("unreachable")
        notes.answers = (client.syn_frame, client.syn_time)
        connection.anomalies.add("unreachable")
        return _annotation(connection, client, time, notes)

    def _register(self, connection: Connection) -> bool:
        """Remember the ends; whether there was an earlier connection between them (A2)."""
        a, b = connection.a, connection.b
        pair = _pair(a.address, a.port, b.address, b.port)
        known = pair in self._latest
        self._latest[pair] = connection.stream
        return known


def _pair(source: str, source_port: int, destination: str, destination_port: int) -> tuple[str, int, str, int]:
    if (source, source_port) <= (destination, destination_port):
        return source, source_port, destination, destination_port
    return destination, destination_port, source, source_port


def _completeness(kind: int, length: int) -> int:
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


def _annotation(connection: Connection, sender: _End, time: int, notes: _Notes) -> Annotation:
    client_state, server_state = connection.states()
    steps = [str(step) for step in (notes.ack_step, notes.fin_step) if step]
    answers = notes.answers
    return Annotation(
        sender=connection.name(sender),
        role="+".join(notes.roles) or None,
        handshake_step=notes.handshake_step,
        teardown_step="+".join(steps) or None,
        client_state=client_state,
        server_state=server_state,
        retransmission=notes.repeated,
        responds_to=answers[0] if answers else None,
        response_time=time - answers[1] if answers else None,
        handshake_time=notes.handshake_time,
        anomaly="+".join(sorted(notes.anomalies, key=_RANK.__getitem__)) or None,
    )


def _count(connection: Connection, annotation: Annotation, notes: _Notes) -> None:
    """C8, C9, C14, C16."""
    if notes.anomalies:
        connection.anomalies |= notes.anomalies
        for index in range(3):
            connection.retransmissions[index] += ANOMALIES[index] in notes.anomalies
    if connection.handshake_time is None:
        connection.handshake_time = annotation.handshake_time
    if annotation.responds_to is not None:
        by_client = annotation.sender == "client"
        if notes.handshake_step == 2 and not by_client and connection.server_response_time is None:
            connection.server_response_time = annotation.response_time
        elif notes.handshake_step == 3 and by_client and connection.client_response_time is None:
            connection.client_response_time = annotation.response_time


def _plain(connection: Connection) -> tuple[Annotation, Annotation] | None:
    """The annotations of a plain segment by A and by B, if no such segment can change anything; else None."""
    a, b = connection.a, connection.b
    if not (a.state == b.state == ESTABLISHED and a.progress == b.progress == 3) or a.awaiting or b.awaiting:
        return None
    if a.fin_seq is not None or b.fin_seq is not None:
        return None
    quiet = _Notes()
    return _annotation(connection, a, 0, quiet), _annotation(connection, b, 0, quiet)


def _judge(
    connection: Connection, s: _End, p: _End, kind: int, frame: int, time: int, seq: int, ack: int, length: int, notes: _Notes
) -> None:
    """One segment from S to P, by its kind (G7)."""
    if connection.given_up:  # N3
        connection.given_up = False
        connection.client.state = SYN_SENT
    if kind & RST:
        if kind & (SYN | FIN):
            notes.anomalies.add("invalid-flags")
        _reset(connection, s, p, kind, seq, ack, notes)
    elif kind & (SYN | FIN) == SYN | FIN or not kind & (SYN | ACK):
        notes.anomalies.add("invalid-flags")
        return
    elif kind & SYN:
        if not connection.fixed:  # E1
            connection.client = p if kind & ACK else s
            connection.fixed = True
        if kind & ACK:
            _syn_ack(connection, s, p, frame, time, seq, ack, notes)
        else:
            _syn(connection, s, p, frame, time, seq, length, notes)
    elif connection.fresh:  # H1
        s.state = p.state = ESTABLISHED
        connection.fresh = False
        _closing(connection, s, p, kind, frame, time, seq, ack, length, notes)
    elif not connection.over:
        if _opening(connection, s, p, kind, time, seq, ack, length, notes):
            _closing(connection, s, p, kind, frame, time, seq, ack, length, notes)
    elif kind & FIN and s.fin_seq == (seq + length) % MODULO and connection.reset_by is None:  # X4
        _closing(connection, s, p, kind, frame, time, seq, ack, length, notes)
    else:
        notes.anomalies.add("segment-after-close")
    connection.fresh = False
    connection.update_opened()


def _syn(connection: Connection, s: _End, p: _End, frame: int, time: int, seq: int, length: int, notes: _Notes) -> None:
    """H1 to H7."""
    notes.roles.append("SYN")
    notes.handshake_step = 1
    repeated = s.syn_seen and s.isn == seq
    if connection.fresh:  # H1
        s.state, p.state = SYN_SENT, LISTEN
    elif connection.over or (s.state == SYN_SENT and s.isn != seq and p.state in ABSENT):  # H2, H6 (H3 to H5 cannot fit where H6 does)
        if repeated:
            notes.repeated = True
            notes.anomalies.add("syn-retransmission")
        else:
            notes.anomalies.add("port-reuse")
        first = s.syn_first
        s.forget()
        p.forget()
        connection.begin()
        s.state, p.state = SYN_SENT, LISTEN
        if repeated:
            s.syn_first = first
            s.isn, s.syn_seen = seq, True
    elif repeated:  # H3
        notes.repeated = True
        notes.anomalies.add("syn-retransmission")
        if s.progress == 1 and s.state == ESTABLISHED:
            s.state = SYN_SENT
        if p.state == CLOSED:
            p.state = LISTEN
    elif _late(p, s, seq, length):  # H4
        pass
    elif p.state == SYN_SENT and not s.syn_seen and s.state in ABSENT:  # H5
        notes.anomalies.add("simultaneous-open")
        connection.simultaneous_open = True
        s.state = p.state = SYN_RECEIVED
    else:  # H7
        notes.anomalies.add("syn-on-established")
        s.forget()
        p.forget_fin()
        connection.begin()
        s.state = SYN_SENT
    if not (s.syn_seen and s.isn == seq):
        s.syn_first = time
        s.syn_length = 0
    s.isn, s.syn_seen, s.syn_length = seq, True, max(s.syn_length, length)
    s.syn_frame, s.syn_time = frame, time
    s.progress = max(s.progress, 1)
    connection.syn_seen = True


def _late(p: _End, s: _End, seq: int, length: int) -> bool:
    """H4: was what followed this SYN captured before it?"""
    if s.isn is not None:
        return False
    return (p.synack_seen and distance(p.synack_ack, seq + 1) <= length) or _followed(s, p, seq)


def _followed(s: _End, p: _End, seq: int) -> bool:
    """H4, H8.4: did a segment captured before it follow S's SYN or SYN-ACK with this number?"""
    return (seq + 1) % MODULO in (s.first_seq, p.first_ack)


def _syn_ack(connection: Connection, s: _End, p: _End, frame: int, time: int, seq: int, ack: int, notes: _Notes) -> None:
    """H1, H8."""
    if connection.fresh:  # H1
        s.state, p.state = SYN_RECEIVED, ESTABLISHED
        _remember_syn_ack(s, frame, time, seq, ack, notes, awaiting=True)
        connection.synack_seen = True
        return
    if connection.over:  # X4
        notes.anomalies.add("segment-after-close")
        return
    acceptable = p.accepts(ack, p.syn_length)
    waiting = p.state in (SYN_SENT, SYN_RECEIVED)
    if s.synack_seen and s.isn == seq:  # H8.1
        notes.repeated = True
        notes.anomalies.add("syn-ack-retransmission")
        if not acceptable:
            notes.anomalies.add("ack-mismatch")
            notes.roles.append("SYN-ACK")
            notes.handshake_step = 2
            return
        awaiting = s.awaiting
        if s.progress == 2:
            awaiting = True
            if s.state == ESTABLISHED:
                s.state = SYN_RECEIVED
        if waiting:
            p.state, p.awaiting = ESTABLISHED, False
        _remember_syn_ack(s, frame, time, seq, ack, notes, awaiting=awaiting)
    elif waiting and not acceptable:  # H8.2
        notes.anomalies.add("ack-mismatch")
        p.rejected = ack
        if p.state == SYN_SENT:
            s.state = SYN_RECEIVED
            _remember_syn_ack(s, frame, time, seq, ack, notes, awaiting=True)
        notes.roles[:] = ["SYN-ACK"]
        notes.handshake_step = 2
        s.progress = max(s.progress, 2)
        return
    elif waiting:  # H8.3
        acknowledged = s.state == ESTABLISHED and s.isn == seq
        if not acknowledged:
            s.state = SYN_RECEIVED
        p.state, p.awaiting = ESTABLISHED, False
        _remember_syn_ack(s, frame, time, seq, ack, notes, awaiting=not acknowledged)
    elif s.isn is None and ((p.isn is not None and acceptable) or _followed(s, p, seq)):  # H8.4
        _remember_syn_ack(s, frame, time, seq, ack, notes, awaiting=p.progress < 3)
    else:  # H8.5
        notes.anomalies.add("syn-on-established")
        return
    connection.synack_seen = True
    if p.syn_seen:
        notes.answers = (p.syn_frame, p.syn_time)


def _remember_syn_ack(s: _End, frame: int, time: int, seq: int, ack: int, notes: _Notes, *, awaiting: bool) -> None:
    notes.roles.append("SYN-ACK")
    notes.handshake_step = 2
    s.isn, s.synack_seen, s.synack_ack, s.awaiting = seq, True, ack, awaiting
    s.synack_frame, s.synack_time = frame, time
    s.progress = max(s.progress, 2)


def _opening(
    connection: Connection, s: _End, p: _End, kind: int, time: int, seq: int, ack: int, length: int, notes: _Notes
) -> bool:
    """H9; False if the segment is stopped."""
    acceptable = p.accepts(ack, FIRST_WINDOW)
    if p.state == SYN_SENT:  # 1
        if not acceptable:
            if s.state in ABSENT:
                s.state = ESTABLISHED
            return _mismatch(p, ack, notes)
        p.state = ESTABLISHED
        if s.state in ABSENT:
            s.state = ESTABLISHED
    if p.awaiting:  # 2
        if acceptable:
            _third_step(connection, s, time, notes)
            notes.answers = (p.synack_frame, p.synack_time)
            p.awaiting = False
            if p.state == SYN_RECEIVED:
                p.state = ESTABLISHED
        elif p.state == SYN_RECEIVED:
            return _mismatch(p, ack, notes)
    elif p.state == SYN_RECEIVED:  # 3
        if not acceptable:
            return _mismatch(p, ack, notes)
        p.state = ESTABLISHED
    if s.state == SYN_SENT:  # 4
        s.state = ESTABLISHED
        if p.state in ABSENT:
            p.state = ESTABLISHED
        if not notes.roles and not p.synack_seen and s.isn is not None and distance(seq, s.isn + 1) <= s.syn_length:
            _third_step(connection, s, time, notes)
    if s.state == SYN_RECEIVED:  # 5
        beyond = s.synack_seen and 0 < distance(ack, s.synack_ack) < HALF
        fast_open = s.synack_seen and p.isn is not None and s.synack_ack != (p.isn + 1) % MODULO
        if kind & FIN or beyond or (length and not fast_open):
            s.state = ESTABLISHED
    elif s.state in ABSENT and s.fin_seq is None:  # 6
        s.state = ESTABLISHED
    return True


def _mismatch(p: _End, ack: int, notes: _Notes) -> bool:
    notes.anomalies.add("ack-mismatch")
    p.rejected = ack
    return False


def _third_step(connection: Connection, s: _End, time: int, notes: _Notes) -> None:
    notes.roles.append("HANDSHAKE-ACK")
    notes.handshake_step = 3
    connection.third_seen = True
    if s.syn_seen:  # H10
        notes.handshake_time = time - s.syn_first


def _closing(
    connection: Connection,
    s: _End,
    p: _End,
    kind: int,
    frame: int,
    time: int,
    seq: int,
    ack: int,
    length: int,
    notes: _Notes,
) -> None:
    """T1 to T5."""
    if s.progress < 3:
        s.progress, s.first_seq, s.first_ack = 3, seq, ack
    if p.fin_seq is not None and not p.fin_acked and distance(ack, p.fin_seq + 1) < HALF:  # T1
        notes.roles.append("ACK-OF-FIN")
        notes.ack_step = p.fin_step + 1
        if notes.answers is None:
            notes.answers = (p.fin_frame, p.fin_time)
        p.fin_acked = True
        p.state = {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED}.get(p.state, p.state)
        if s.fin_acked:  # T7
            connection.complete = True
            first = connection.first_fin
            connection.teardown_time = time - (first.fin_first if first else time)
    end = (seq + length) % MODULO
    if length:  # T2
        if s.state == CLOSE_WAIT and p.fin_acked:
            notes.anomalies.add("half-close-data")
        if s.fin_seq is not None and 0 < distance(end, s.fin_seq) < HALF:
            notes.anomalies.add("data-after-fin")
    if kind & FIN:
        _fin(connection, s, p, frame, time, end, notes)


def _fin(connection: Connection, s: _End, p: _End, frame: int, time: int, number: int, notes: _Notes) -> None:
    """T3, T5."""
    notes.roles.append("FIN")
    if s.fin_seq is None:
        s.fin_first = time
        if p.fin_seq is None:
            s.fin_step = 1
            connection.first_fin = s
            if s.state in (ESTABLISHED, SYN_RECEIVED):
                s.state = FIN_WAIT_1
        elif p.fin_acked:
            s.fin_step = 3
            connection.merged = "ACK-OF-FIN" in notes.roles
            if s.state == CLOSE_WAIT:
                s.state = LAST_ACK
        else:
            s.fin_step = 1
            connection.simultaneous_close = True
            notes.anomalies.add("simultaneous-close")
            if s.state == CLOSE_WAIT:
                s.state = CLOSING
        s.fin_seq = number
    else:
        if s.fin_seq == number:
            notes.repeated = True
            notes.anomalies.add("fin-retransmission")
        s.fin_seq = number
    notes.fin_step = s.fin_step
    stale = s.fin_frame and s.fin_step == 1 and not connection.simultaneous_close and p.fin_acked
    if s.fin_frame and not stale:  # T5
        s.fin_acked = False
        if s.state == TIME_WAIT:
            s.state = CLOSING if connection.simultaneous_close else FIN_WAIT_1
        else:
            s.state = {FIN_WAIT_2: FIN_WAIT_1, CLOSED: LAST_ACK}.get(s.state, s.state)
    s.fin_frame, s.fin_time = frame, time
    if not stale:
        received = {ESTABLISHED: CLOSE_WAIT, SYN_RECEIVED: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT}
        p.state = received.get(p.state, p.state)


def _reset(connection: Connection, s: _End, p: _End, kind: int, seq: int, ack: int, notes: _Notes) -> None:
    """R."""
    notes.roles.append("RST")
    if s.fin_seq is not None or p.fin_seq is not None:
        notes.anomalies.add("rst-after-fin")
    if connection.fresh:  # R1
        s.state = p.state = CLOSED
        connection.reset_by = s
        return
    if connection.over:  # R2
        notes.anomalies.add("segment-after-close")
        for end in (s, p):
            if end.state == TIME_WAIT:
                end.state = CLOSED
        return
    passive = p.synack_seen and not p.syn_seen  # X5
    if s.state in (SYN_SENT, SYN_RECEIVED) and s.rejected == seq:  # R3
        p.state = LISTEN if p.state == LISTEN or (p.state == SYN_RECEIVED and passive) else CLOSED
        if s.state == SYN_SENT:
            return
        if not connection.opened:
            connection.aborted = True
            notes.anomalies.add("handshake-aborted")
    elif p.state == SYN_SENT:  # R4
        s.state = CLOSED
        if not kind & ACK:
            return
        if not p.accepts(ack, p.syn_length):
            notes.anomalies.add("ack-mismatch")
            return
        p.state = CLOSED
        connection.refused = True
        notes.anomalies.add("connection-refused")
        notes.answers = (p.syn_frame, p.syn_time)
    elif not connection.opened:  # R5
        connection.aborted = True
        notes.anomalies.add("handshake-aborted")
        s.state = CLOSED
        p.state = LISTEN if p.state == LISTEN or (p.state == SYN_RECEIVED and passive) else CLOSED
    else:  # R6
        s.state = p.state = CLOSED
    if connection.reset_by is None:
        connection.reset_by = s
