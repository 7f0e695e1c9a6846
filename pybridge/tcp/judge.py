# SPDX-License-Identifier: GPL-2.0-or-later
"""How one segment changes a connection: opening (H), closing (T), aborting (R), in the order of the specification."""

from __future__ import annotations

from pybridge.tcp.model import (
    ACK,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RST,
    SYN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)
from pybridge.tcp.state import ABSENT, MODULO, Connection, End, Fin, distance

HALF = 1 << 31
FIRST_WINDOW = 65_536  # X2: a window in a SYN is never scaled, and a FIN counts for one


class Case:
    """A segment from S to P while it is judged, and what it turns out to be."""

    __slots__ = (
        "ack", "ack_step", "anomalies", "answers", "connection", "fin_step", "frame", "handshake_step", "handshake_time",
        "judged", "kind", "length", "p", "repeated", "roles", "s", "seq", "time",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, s: End, p: End, *, kind: int, frame: int, time: int, seq: int, ack: int, length: int
    ) -> None:
        self.connection = connection
        self.s = s
        self.p = p
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
        self.repeated = False
        self.answers: tuple[int, int] | None = None  # frame and time
        self.handshake_time: int | None = None
        self.anomalies: set[str] = set()
        self.judged = True  # X: not invalid, and not stopped by X4


def judge(case: Case) -> None:
    """One segment from S to P, by its case.kind (G7)."""
    connection, s, p = case.connection, case.s, case.p
    if connection.given_up:  # N3
        connection.given_up = False
        connection.client.state = SYN_SENT
    if case.kind & RST:
        if case.kind & (SYN | FIN):
            case.anomalies.add("invalid-flags")
        _reset(case)
    elif case.kind & (SYN | FIN) == SYN | FIN or not case.kind & (SYN | ACK):
        case.anomalies.add("invalid-flags")
        case.judged = False
        return
    elif case.kind & SYN:
        if not connection.fixed:  # E1
            connection.client = p if case.kind & ACK else s
            connection.fixed = True
        if case.kind & ACK:
            _syn_ack(case)
        else:
            _syn(case)
    elif connection.fresh:  # H1
        s.state = p.state = ESTABLISHED
        connection.fresh = False
        _closing(case)
    elif not connection.over:
        if _opening(case):
            _closing(case)
    elif case.kind & FIN and s.fin and s.fin.seq == (case.seq + case.length) % MODULO and not connection.reset_by:  # X4
        _closing(case)
    else:
        _stop(case)
    connection.fresh = False
    connection.update_opened()


def _stop(case: Case) -> None:
    """X4."""
    case.anomalies.add("segment-after-close")
    case.judged = False


def _syn(case: Case) -> None:
    """H1 to H7."""
    connection, s, p = case.connection, case.s, case.p
    case.roles.append("SYN")
    case.handshake_step = 1
    repeated = s.syn_seen and s.isn == case.seq
    if connection.fresh:  # H1
        s.state, p.state = SYN_SENT, LISTEN
    elif connection.over or (s.state == SYN_SENT and s.isn != case.seq and p.state in ABSENT):
        # H2, H6: H3 to H5 cannot fit where H6 does
        if repeated:
            case.repeated = True
            case.anomalies.add("syn-retransmission")
        else:
            case.anomalies.add("port-reuse")
        first = s.syn_first
        s.forget()
        p.forget()
        connection.begin()
        s.state, p.state = SYN_SENT, LISTEN
        if repeated:
            s.syn_first = first
            s.isn, s.syn_seen = case.seq, True
    elif repeated:  # H3
        case.repeated = True
        case.anomalies.add("syn-retransmission")
        if s.progress == 1 and s.state == ESTABLISHED:
            s.state = SYN_SENT
        if p.state == CLOSED:
            p.state = LISTEN
    elif _late(case):  # H4
        pass
    elif p.state == SYN_SENT and not s.syn_seen and s.state in ABSENT:  # H5
        case.anomalies.add("simultaneous-open")
        connection.simultaneous_open = True
        s.state = p.state = SYN_RECEIVED
    else:  # H7
        case.anomalies.add("syn-on-established")
        s.forget()
        p.fin = None
        connection.begin()
        s.state = SYN_SENT
    if not (s.syn_seen and s.isn == case.seq):
        s.syn_first = case.time
        s.syn_length = 0
    s.isn, s.syn_seen, s.syn_length = case.seq, True, max(s.syn_length, case.length)
    s.syn_frame, s.syn_time = case.frame, case.time
    s.progress = max(s.progress, 1)
    connection.syn_seen = True


def _late(case: Case) -> bool:
    """Whether what followed this SYN was captured before it (H4)."""
    s, p = case.s, case.p
    if s.isn is not None:
        return False
    return (p.synack_seen and distance(p.synack_ack, case.seq + 1) <= case.length) or _followed(case)


def _followed(case: Case) -> bool:
    """Whether a segment that followed S's SYN or SYN-ACK with this number was captured before it (H4, H8.4)."""
    s, p = case.s, case.p
    return (case.seq + 1) % MODULO in (s.first_seq, p.first_ack)


def _syn_ack(case: Case) -> None:
    """H1, H8."""
    connection, s, p = case.connection, case.s, case.p
    if connection.fresh:  # H1
        s.state, p.state = SYN_RECEIVED, ESTABLISHED
        _remember_syn_ack(case, awaiting=True)
        connection.synack_seen = True
        return
    if connection.over:
        _stop(case)
        return
    acceptable = p.accepts(case.ack, p.syn_length)
    waiting = p.state in (SYN_SENT, SYN_RECEIVED)
    if s.synack_seen and s.isn == case.seq:  # H8.1
        case.repeated = True
        case.anomalies.add("syn-ack-retransmission")
        if not acceptable:
            case.anomalies.add("ack-mismatch")
            case.roles.append("SYN-ACK")
            case.handshake_step = 2
            return
        awaiting = s.awaiting
        if s.progress == 2:
            awaiting = True
            if s.state == ESTABLISHED:
                s.state = SYN_RECEIVED
        if waiting:
            p.state, p.awaiting = ESTABLISHED, False
        _remember_syn_ack(case, awaiting=awaiting)
    elif waiting and not acceptable:  # H8.2
        case.anomalies.add("ack-mismatch")
        p.rejected = case.ack
        if p.state == SYN_SENT:
            s.state = SYN_RECEIVED
            _remember_syn_ack(case, awaiting=True)
        case.roles[:] = ["SYN-ACK"]
        case.handshake_step = 2
        s.progress = max(s.progress, 2)
        return
    elif waiting:  # H8.3
        acknowledged = s.state == ESTABLISHED and s.isn == case.seq
        if not acknowledged:
            s.state = SYN_RECEIVED
        p.state, p.awaiting = ESTABLISHED, False
        _remember_syn_ack(case, awaiting=not acknowledged)
    elif s.isn is None and ((p.isn is not None and acceptable) or _followed(case)):  # H8.4
        _remember_syn_ack(case, awaiting=p.progress < 3)
    else:  # H8.5
        case.anomalies.add("syn-on-established")
        return
    connection.synack_seen = True
    if p.syn_seen:
        case.answers = (p.syn_frame, p.syn_time)


def _remember_syn_ack(case: Case, *, awaiting: bool) -> None:
    s = case.s
    case.roles.append("SYN-ACK")
    case.handshake_step = 2
    s.isn, s.synack_seen, s.synack_ack, s.awaiting = case.seq, True, case.ack, awaiting
    s.synack_frame, s.synack_time = case.frame, case.time
    s.progress = max(s.progress, 2)


def _opening(case: Case) -> bool:
    """H9; False if the segment is stopped."""
    s, p = case.s, case.p
    acceptable = p.accepts(case.ack, FIRST_WINDOW)
    if p.state == SYN_SENT:  # 1
        if not acceptable:
            if s.state in ABSENT:
                s.state = ESTABLISHED
            return _mismatch(case)
        p.state = ESTABLISHED
        if s.state in ABSENT:
            s.state = ESTABLISHED
    if p.awaiting:  # 2
        if acceptable:
            _third_step(case)
            case.answers = (p.synack_frame, p.synack_time)
            p.awaiting = False
            if p.state == SYN_RECEIVED:
                p.state = ESTABLISHED
        elif p.state == SYN_RECEIVED:
            return _mismatch(case)
    elif p.state == SYN_RECEIVED:  # 3
        if not acceptable:
            return _mismatch(case)
        p.state = ESTABLISHED
    if s.state == SYN_SENT:  # 4
        s.state = ESTABLISHED
        if p.state in ABSENT:
            p.state = ESTABLISHED
        if not case.roles and not p.synack_seen and s.isn is not None and distance(case.seq, s.isn + 1) <= s.syn_length:
            _third_step(case)
    if s.state == SYN_RECEIVED:  # 5
        beyond = s.synack_seen and 0 < distance(case.ack, s.synack_ack) < HALF
        fast_open = s.synack_seen and p.isn is not None and s.synack_ack != (p.isn + 1) % MODULO
        if case.kind & FIN or beyond or (case.length and not fast_open):
            s.state = ESTABLISHED
    elif s.state in ABSENT and s.fin is None:  # 6
        s.state = ESTABLISHED
    return True


def _mismatch(case: Case) -> bool:
    p = case.p
    case.anomalies.add("ack-mismatch")
    p.rejected = case.ack
    return False


def _third_step(case: Case) -> None:
    connection, s = case.connection, case.s
    case.roles.append("HANDSHAKE-ACK")
    case.handshake_step = 3
    connection.third_seen = True
    if s.syn_seen:  # H10
        case.handshake_time = case.time - s.syn_first


def _closing(case: Case) -> None:
    """T1 to T5."""
    connection, s, p = case.connection, case.s, case.p
    if s.progress < 3:
        s.progress = 3
        if s.isn is None:  # for H4 and H8.4 alone
            s.first_seq = case.seq
        if p.isn is None:
            s.first_ack = case.ack
    first_ack_of_fin = False
    fin = p.fin
    if fin and not fin.acked and distance(case.ack, fin.seq + 1) < HALF:  # T1
        case.roles.append("ACK-OF-FIN")
        case.ack_step = fin.step + 1
        if case.answers is None:
            case.answers = (fin.frame, fin.time)
        first_ack_of_fin = not fin.acked_once
        fin.acked = fin.acked_once = True
        p.state = {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED}.get(p.state, p.state)
        if s.fin and s.fin.acked:  # T7
            connection.complete = True
            first = connection.first_fin
            connection.teardown_time = case.time - (first.fin.first if first and first.fin else case.time)
    end = (case.seq + case.length) % MODULO
    if case.length:  # T2
        if s.state == CLOSE_WAIT and fin and fin.acked:
            case.anomalies.add("half-close-data")
        if s.fin and 0 < distance(end, s.fin.seq) < HALF:
            case.anomalies.add("data-after-fin")
    if case.kind & FIN:
        case.roles.append("FIN")
        if s.fin is None:
            s.fin = _first_fin(case, end, first_ack_of_fin)
            _deliver_fin(p)
        else:
            _another_fin(case, s.fin, end)
        case.fin_step = s.fin.step


def _first_fin(case: Case, number: int, first_ack_of_fin: bool) -> Fin:
    """T3."""
    connection, s, p = case.connection, case.s, case.p
    step = 1
    if p.fin is None:
        connection.first_fin = s
        if s.state in (ESTABLISHED, SYN_RECEIVED):
            s.state = FIN_WAIT_1
    elif p.fin.acked:
        step = 3
        connection.merged = first_ack_of_fin
        if s.state == CLOSE_WAIT:
            s.state = LAST_ACK
    else:
        connection.simultaneous_close = True
        case.anomalies.add("simultaneous-close")
        if s.state == CLOSE_WAIT:
            s.state = CLOSING
    return Fin(number, step, case.frame, case.time)


def _another_fin(case: Case, fin: Fin, number: int) -> None:
    """T5."""
    connection, s, p = case.connection, case.s, case.p
    if fin.seq == number:
        case.repeated = True
        case.anomalies.add("fin-retransmission")
    fin.seq, fin.frame, fin.time = number, case.frame, case.time
    if fin.step == 1 and not connection.simultaneous_close and p.fin and p.fin.acked:  # an old duplicate
        return
    fin.acked = False
    if s.state == TIME_WAIT:
        s.state = CLOSING if connection.simultaneous_close else FIN_WAIT_1
    else:
        s.state = {FIN_WAIT_2: FIN_WAIT_1, CLOSED: LAST_ACK}.get(s.state, s.state)
    _deliver_fin(p)


def _deliver_fin(p: End) -> None:
    """T3."""
    received = {ESTABLISHED: CLOSE_WAIT, SYN_RECEIVED: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT}
    p.state = received.get(p.state, p.state)


def _reset(case: Case) -> None:
    """R."""
    connection, s, p = case.connection, case.s, case.p
    case.roles.append("RST")
    if s.fin or p.fin:
        case.anomalies.add("rst-after-fin")
    if connection.fresh:  # R1
        s.state = p.state = CLOSED
        connection.reset_by = s
        return
    if connection.over:  # R2
        case.anomalies.add("segment-after-close")
        for end in (s, p):
            if end.state == TIME_WAIT:
                end.state = CLOSED
        return
    passive = p.synack_seen and not p.syn_seen  # X5
    if s.state in (SYN_SENT, SYN_RECEIVED) and s.rejected == case.seq:  # R3
        p.state = LISTEN if p.state == LISTEN or (p.state == SYN_RECEIVED and passive) else CLOSED
        if s.state == SYN_SENT:
            return
        if not connection.opened:
            connection.aborted = True
            case.anomalies.add("handshake-aborted")
    elif p.state == SYN_SENT:  # R4
        s.state = CLOSED
        if not case.kind & ACK:
            return
        if not p.accepts(case.ack, p.syn_length):
            case.anomalies.add("ack-mismatch")
            return
        p.state = CLOSED
        connection.refused = True
        case.anomalies.add("connection-refused")
        case.answers = (p.syn_frame, p.syn_time)
    elif not connection.opened:  # R5
        connection.aborted = True
        case.anomalies.add("handshake-aborted")
        s.state = CLOSED
        p.state = LISTEN if p.state == LISTEN or (p.state == SYN_RECEIVED and passive) else CLOSED
    else:  # R6
        s.state = p.state = CLOSED
    if connection.reset_by is None:
        connection.reset_by = s
