# SPDX-License-Identifier: GPL-2.0-or-later
"""Aborting: which RST its receiver accepts, and life that goes on after one (rules R)."""

from __future__ import annotations

from pybridge.tcp.evidence import note_invalid_answer, note_reset, note_rst, note_wild_rst
from pybridge.tcp.numbers import LARGEST_WINDOW, follow_acknowledged, follow_sent, is_new, settle_early_ack
from pybridge.tcp.state import MOMENT, Judgement, distance, is_beyond
from pybridge.tcp.vocabulary import ABSENT, ACK, CLOSED, ESTABLISHED, FIN, LISTEN, SYN, SYN_RECEIVED, SYN_SENT


def judge_rst(segment: Judgement) -> None:
    """Judge an RST: the first of the rules R1 to R5 that fits decides."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    segment.roles.append("RST")
    if connection.fin_of(sender) or connection.fin_of(peer):
        segment.anomalies.add("rst-after-fin")
    connection.rst_time = segment.time
    note_rst(segment)
    was_over = connection.over
    if connection.fresh:  # R1
        sender.phase = peer.phase = ESTABLISHED
        sender.gone = True
        peer.was_reset = True
    elif sender.phase in (SYN_SENT, SYN_RECEIVED) and sender.rejected == segment.seq:  # R2
        _judge_rejection(segment)
    elif sender.syn_ack_seen and not sender.spoke and segment.seq == peer.early_ack:  # R2: it rejects a third step
        sender.phase = SYN_RECEIVED
        connection.opened = False
        _judge_rejection(segment)
    elif peer.phase == SYN_SENT and not peer.gone and not peer.was_reset:  # R3
        _judge_answer_to_syn(segment)
    elif sender.phase == SYN_SENT and peer.phase in ABSENT:  # R4
        sender.gone = True
        if segment.kind & ACK and segment.ack:  # a SYN-ACK has arrived, which is missing from the capture
            _note_abort(segment)
    else:
        _judge_number(segment)
    was_fresh = connection.fresh
    connection.update_states()
    if not was_over and (was_fresh or connection.over):
        _note_reset(segment)


def _note_reset(segment: Judgement) -> None:
    """Note that the RST has ended the attempt, unless another one has before."""
    connection = segment.connection
    if connection.reset_by is None:
        connection.reset_by = segment.sender
        note_reset(segment)
        if connection.idle_before_end is None:
            connection.idle_before_end = segment.silence


def _judge_rejection(segment: Judgement) -> None:
    """Judge an RST by which its sender rejects an acknowledgement number (rule R2)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if sender.phase == SYN_SENT:  # the sender goes on
        peer.phase = LISTEN if peer.is_passive_opener() or peer.phase == LISTEN else CLOSED
        return
    peer.was_reset = True
    _note_reset(segment)
    if not connection.opened:
        _note_abort(segment)


def _judge_answer_to_syn(segment: Judgement) -> None:
    """Judge an RST that answers a SYN (rule R3)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    sender.gone = True
    if not segment.kind & ACK:
        segment.anomalies.add("rst-ignored")
        note_invalid_answer(segment)
        return
    if not peer.accepts(segment.ack, peer.syn_length):
        segment.anomalies.add("ack-mismatch")
        note_invalid_answer(segment)
        return
    follow_acknowledged(sender, peer, segment.ack)
    peer.was_reset = True
    connection.refused = True
    segment.anomalies.add("connection-refused")
    segment.answers = peer.syn_answered_by(None)


def _judge_number(segment: Judgement) -> None:
    """Compare the number of an RST with the next number that its receiver expects (rule R5; RFC 9293, 3.10.7.4)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    fin = connection.fin_of(sender)
    expected = fin.seq if fin and fin.missed else sender.in_order
    if peer.gone or peer.was_reset or connection.state_of(peer) in ABSENT:
        sender.gone = True  # there is no connection that it could reset
        return
    if expected is None or segment.seq in (expected, peer.early_ack):
        sender.gone = True
        if not connection.opened:
            _note_abort(segment)
        peer.was_reset = True
        return
    segment.anomalies.add("rst-ignored")
    if sender.next_sent is not None and is_beyond(segment.seq, sender.next_sent):
        note_wild_rst(segment)
        if distance(segment.seq, sender.next_sent) < LARGEST_WINDOW:
            peer.challenged = True
    elif sender.first_seq is not None and is_beyond(sender.first_seq, segment.seq):
        note_wild_rst(segment)
    else:
        sender.gone = True
        if is_beyond(segment.seq, expected):
            peer.challenged = True


def _note_abort(segment: Judgement) -> None:
    segment.connection.aborted = True
    segment.anomalies.add("handshake-aborted")


def judge_life(segment: Judgement) -> bool:
    """Judge what a segment other than an RST says of an end that was taken for gone (rule R6).

    Returns
    -------
    bool
        False if the segment was in flight, or is a copy: nothing further of it counts.
    """
    connection, sender = segment.connection, segment.sender
    if not (sender.gone or sender.was_reset):
        return True
    occupied = segment.length + bool(segment.kind & (SYN | FIN))
    new = is_new(sender, segment.seq, occupied)
    in_flight = max(MOMENT, connection.handshake_time or 0)
    late = connection.rst_time is not None and segment.time - connection.rst_time > in_flight
    repeats = not new and occupied
    known = sender.acknowledged
    acknowledges = not segment.peer.was_reset if known is None else is_beyond(segment.ack, known)
    if sender.gone and (new or acknowledges or (late and repeats)):
        sender.gone = False
    elif sender.was_reset and late and repeats:
        sender.was_reset = False
        connection.aborted = False
    else:
        if new:
            follow_sent(sender, segment.seq, occupied)
            settle_early_ack(segment.peer, sender)
        return False
    connection.update_states()
    if connection.reset_by is not None and not connection.over:
        connection.forget_reset()
        if not (connection.fin_of(connection.a) or connection.fin_of(connection.b)):
            connection.idle_before_end = None
    return True
