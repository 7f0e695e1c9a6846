# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening: how a SYN, a SYN-ACK and the segments that follow them change a connection (rules H)."""

from __future__ import annotations

from pybridge.tcp.evidence import note_answered_syn, note_invalid_answer, note_repeated_syn, note_repeated_syn_ack
from pybridge.tcp.numbers import follow_acknowledged, follow_sent, settle_early_ack
from pybridge.tcp.state import MODULO, Judgement, distance, is_beyond
from pybridge.tcp.vocabulary import ABSENT, CLOSED, ESTABLISHED, FIN, LISTEN, SYN_RECEIVED, SYN_SENT

FIRST_WINDOW = 65_536
"""Octets that can have followed a SYN before its first acknowledgement: a window in a SYN is never scaled, a FIN counts (X2)."""


def judge_syn(segment: Judgement) -> None:
    """Judge a SYN without ACK (rules H1 to H7)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    segment.roles.append("SYN")
    segment.handshake_step = 1
    repeated = sender.syn_seen and sender.isn == segment.seq and not (connection.over and connection.opened)
    if not connection.over:
        connection.revive(sender)
    if connection.fresh:  # H1
        sender.phase, peer.phase = SYN_SENT, LISTEN
    elif connection.over or (sender.phase == SYN_SENT and sender.isn != segment.seq and peer.phase in ABSENT):
        # H2, H6: where H6 fits, H3 to H5 cannot fit
        _begin_attempt(segment, repeated=repeated)
    elif repeated:  # H3
        segment.repeats("syn-retransmission")
        note_repeated_syn(segment)
        peer.challenged = sender.spoke or peer.challenged
        if not sender.syn_ack_seen and not sender.spoke and sender.phase == ESTABLISHED:
            sender.phase = SYN_SENT
            connection.opened = False
            peer.fin = None
        if peer.phase == CLOSED:
            peer.phase = LISTEN
        connection.revive(peer)
    elif _is_late_syn(segment):  # H4
        pass
    elif peer.phase == SYN_SENT and not sender.syn_seen and sender.phase in ABSENT:  # H5
        segment.anomalies.add("simultaneous-open")
        connection.simultaneous_open = True
        sender.phase = peer.phase = SYN_RECEIVED
    elif sender.syn_ack_seen and sender.isn == segment.seq:  # H7, its first row
        segment.anomalies.add("syn-on-established")
        peer.challenged = True
        return
    else:  # H7
        segment.anomalies.add("syn-on-established")
        sender.forget()
        peer.fin = None
        connection.begin_attempt()
        sender.phase = SYN_SENT
    if not (sender.syn_seen and sender.isn == segment.seq):
        sender.syn_time = segment.time
        sender.syn_length = 0
        sender.syn_sent = 0
        sender.syns = ()
    _remember_isn(segment)
    sender.syn_sent += 1
    sender.syns = (*sender.syns[-7:], (segment.frame, segment.time, segment.offer.tsval if segment.offer else None))
    sender.isn, sender.syn_seen, sender.syn_length = segment.seq, True, max(sender.syn_length, segment.length)
    sender.syn_frame, sender.syn_frame_time = segment.frame, segment.time
    connection.syn_seen = True


def _begin_attempt(segment: Judgement, *, repeated: bool) -> None:
    """Begin another attempt; of the former one only the first transmission of the same SYN is kept (rules H2, H6)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if repeated:
        segment.repeats("syn-retransmission")
    else:
        segment.anomalies.add("port-reuse")
    syn_time, syn_sent, syns = sender.syn_time, sender.syn_sent, sender.syns
    connection.forget_attempt()
    sender.phase, peer.phase = SYN_SENT, LISTEN
    if repeated:
        sender.syn_time = syn_time
        sender.isn, sender.syn_seen = segment.seq, True
        sender.syn_sent, sender.syns = syn_sent, syns


def _is_late_syn(segment: Judgement) -> bool:
    """Whether what followed this SYN was captured before it (rule H4)."""
    sender, peer = segment.sender, segment.peer
    if sender.isn is not None:
        return False
    answered = peer.syn_ack_seen and distance(peer.syn_ack_number, segment.seq + 1) <= segment.length
    return answered or _precedes_first(segment)


def _precedes_first(segment: Judgement) -> bool:
    """Whether the segment that followed this SYN or SYN-ACK was captured before it (rules H4, H8.4)."""
    return segment.sender.first_seq == (segment.seq + 1) % MODULO


def judge_syn_ack(segment: Judgement) -> None:
    """Judge a SYN-ACK on a connection that is not over (rules H1, H8)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if connection.fresh:  # H1
        begin_with_syn_ack(segment)
        return
    acceptable = peer.accepts(segment.ack, peer.syn_length)
    waiting = peer.phase in (SYN_SENT, SYN_RECEIVED)
    if sender.syn_ack_seen and sender.isn == segment.seq:  # H8.1
        segment.repeats("syn-ack-retransmission")
        if not acceptable:
            segment.anomalies.add("ack-mismatch")
            sender.syn_ack_sent += 1
            _note_syn_ack(segment)
            return
        if sender.phase in ABSENT or (sender.phase == ESTABLISHED and not sender.spoke):
            sender.phase = SYN_RECEIVED
        if waiting:
            peer.phase, peer.awaiting = ESTABLISHED, False
        peer.challenged = sender.spoke or peer.challenged
        note_repeated_syn_ack(segment)
        _remember_syn_ack(segment, awaiting=sender.awaiting or not sender.spoke)
    elif waiting and not acceptable:  # H8.2
        _reject(segment)
        if peer.phase == SYN_SENT:
            note_invalid_answer(segment)
            sender.phase = SYN_RECEIVED
            _remember_syn_ack(segment, awaiting=True)
        else:
            _note_syn_ack(segment)
        return
    elif waiting:  # H8.3
        acknowledged = sender.phase == ESTABLISHED and sender.isn == segment.seq
        if not acknowledged:
            sender.phase = SYN_RECEIVED
        peer.phase, peer.awaiting = ESTABLISHED, False
        _remember_syn_ack(segment, awaiting=not acknowledged)
    elif sender.isn is None and ((peer.isn is not None and acceptable) or _precedes_first(segment)):  # H8.4
        _remember_syn_ack(segment, awaiting=not peer.spoke)
    elif sender.phase == SYN_SENT and sender.isn == segment.seq:  # H8.4: it answers a SYN that was not captured
        sender.phase = SYN_RECEIVED
        if peer.phase in ABSENT:
            peer.phase = SYN_RECEIVED
        connection.simultaneous_open = True
        _remember_syn_ack(segment, awaiting=True)
    else:  # H8.5
        segment.anomalies.add("syn-on-established")
        peer.challenged = True
        return
    connection.syn_ack_matched = True
    if acceptable:
        follow_acknowledged(sender, peer, segment.ack)
    if peer.syn_seen:
        echo = segment.offer.tsecr if segment.offer else None
        segment.answers = peer.syn_answered_by(echo)
        if sender.answered_syn_time is None:
            sender.answered_syn_time = peer.time_of_answered_syn(echo)
            sender.syn_ack_first_time = segment.time
        if sender.syn_ack_sent == 1:
            note_answered_syn(segment)


def begin_with_syn_ack(segment: Judgement) -> None:
    """Begin an attempt whose SYN is missing from the capture (rules H1, H2)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    sender.phase, peer.phase = SYN_RECEIVED, ESTABLISHED
    _remember_syn_ack(segment, awaiting=True)
    connection.syn_ack_matched = True
    follow_acknowledged(sender, peer, segment.ack)


def begins_attempt_with_syn_ack(segment: Judgement) -> bool:
    """Whether a SYN-ACK after the end of a connection belongs to another attempt (rule H2)."""
    return segment.connection.opened and segment.sender.isn != segment.seq and not answers_syn(segment)


def answers_syn(segment: Judgement) -> bool:
    """Whether a SYN-ACK answers the SYN that its peer was seen to send (rules X2, X4)."""
    peer = segment.peer
    return peer.isn is not None and peer.accepts(segment.ack, peer.syn_length)


def _remember_isn(segment: Judgement) -> None:
    """Follow the number of a SYN or SYN-ACK (rule F1)."""
    sender = segment.sender
    if sender.isn != segment.seq and not sender.spoke:
        sender.next_sent = sender.in_order = sender.gap = None
    sender.first_seq = segment.seq
    if sender.fin is not None and not is_beyond(sender.fin.seq, segment.seq):
        sender.fin = None  # no FIN can come before its SYN
    follow_sent(sender, segment.seq, segment.length + 1)
    settle_early_ack(segment.peer, sender)


def _note_syn_ack(segment: Judgement) -> None:
    segment.roles.append("SYN-ACK")
    segment.handshake_step = 2


def _remember_syn_ack(segment: Judgement, *, awaiting: bool) -> None:
    _note_syn_ack(segment)
    sender = segment.sender
    if sender.syn_ack_seen and sender.isn == segment.seq:
        sender.syn_ack_sent += 1
    else:
        sender.syn_ack_sent = 1
        sender.answered_syn_time = None
    _remember_isn(segment)
    sender.isn, sender.syn_ack_seen, sender.syn_ack_number, sender.awaiting = segment.seq, True, segment.ack, awaiting
    sender.syn_ack_frame, sender.syn_ack_frame_time = segment.frame, segment.time


def judge_opening(segment: Judgement) -> bool:
    """Judge what a plain or FIN segment says about the opening (rule H9).

    Returns
    -------
    bool
        False if the segment is stopped, so that nothing further of it counts.
    """
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    acceptable = peer.accepts(segment.ack, FIRST_WINDOW)
    if peer.phase == SYN_SENT:  # H9.1
        if sender.phase in ABSENT:
            sender.phase = ESTABLISHED
        if not acceptable or (peer.next_sent is not None and is_beyond(segment.ack, peer.next_sent)):
            _reject(segment)
            note_invalid_answer(segment)
            connection.old_answer = segment.frame
            if not segment.length and not segment.kind & FIN:
                segment.anomalies.discard("ack-mismatch")
                segment.anomalies.add("challenge-ack")
            return False
        peer.phase = ESTABLISHED
    is_far = not sender.spoke and sender.isn is not None and distance(segment.seq, sender.isn + 1) > FIRST_WINDOW
    if peer.phase == SYN_RECEIVED and is_far:
        segment.anomalies.add("seq-mismatch")
        peer.challenged = True
        return False
    if peer.awaiting and acceptable and is_far:  # the third step is missing from the capture
        peer.awaiting = False
    elif peer.awaiting:  # H9.2; more than once if the SYN-ACK comes again (note H11)
        if acceptable:
            _note_third_step(segment)
            certain = peer.syn_ack_sent == 1 and not sender.has_asked_again(peer)
            segment.answers = (peer.syn_ack_frame, peer.syn_ack_frame_time if certain else None)
            peer.awaiting = False
            if peer.phase == SYN_RECEIVED:
                peer.phase = ESTABLISHED
        elif peer.phase == SYN_RECEIVED:
            _reject(segment)
            return False
    elif peer.phase == SYN_RECEIVED:  # H9.3
        if not acceptable:
            _reject(segment)
            return False
        peer.phase = ESTABLISHED
    if sender.phase == SYN_SENT:  # H9.4
        sender.phase = ESTABLISHED
        if peer.phase in ABSENT:
            peer.phase = ESTABLISHED
        follows_syn = sender.isn is not None and distance(segment.seq, sender.isn + 1) <= sender.syn_length
        if follows_syn and not segment.roles and not peer.syn_ack_seen:
            _note_third_step(segment)
    if sender.phase == SYN_RECEIVED:  # H9.5
        if _shows_acknowledged_syn(segment):
            sender.phase = ESTABLISHED
    elif sender.phase in ABSENT and sender.fin is None:  # H9.6
        sender.phase = ESTABLISHED
    return True


def _shows_acknowledged_syn(segment: Judgement) -> bool:
    """Whether the sender can only have sent this once its SYN was acknowledged (rule H9.5)."""
    sender, peer = segment.sender, segment.peer
    beyond = sender.syn_ack_seen and is_beyond(segment.ack, sender.syn_ack_number)
    fast_open = sender.syn_ack_seen and peer.isn is not None and sender.syn_ack_number != (peer.isn + 1) % MODULO
    alone = sender.syn_seen and peer.isn is None  # the peer's SYN was not captured
    return bool(segment.kind & FIN or beyond or alone or (segment.length and not fast_open))


def _reject(segment: Judgement) -> None:
    """Let the peer reject the acknowledgement of its SYN (rules H8.2, H9)."""
    segment.anomalies.add("ack-mismatch")
    segment.peer.rejected = segment.ack
    segment.connection.invalid_frame = segment.frame


def _note_third_step(segment: Judgement) -> None:
    connection, sender = segment.connection, segment.sender
    segment.roles.append("HANDSHAKE-ACK")
    segment.handshake_step = 3
    connection.third_step_seen = True
    connection.third_step_time = segment.time
    if sender.syn_seen:  # H10
        segment.handshake_time = segment.time - sender.syn_time
