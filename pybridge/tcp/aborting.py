# SPDX-License-Identifier: GPL-2.0-or-later
"""Aborting: which RST its receiver accepts, and life that goes on after one (rules R)."""

from __future__ import annotations

from pybridge.tcp.evidence import (
    note_fin_in_flight,
    note_invalid_answer,
    note_life_after_rst,
    note_reset,
    note_rst,
    note_wild_rst,
)
from pybridge.tcp.numbers import LARGEST_WINDOW, follow_acknowledged, follow_sent, is_new, settle_early_ack
from pybridge.tcp.state import MOMENT, OUTLIVED, Judgement, distance, is_beyond
from pybridge.tcp.vocabulary import ABSENT, ACK, CLOSED, ESTABLISHED, FIN, LISTEN, SYN, SYN_RECEIVED, SYN_SENT


def judge_rst(segment: Judgement) -> None:
    """Judge an RST: the first of the rules R1 to R5 that fits decides."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    segment.roles.append("RST")
    if connection.fin_of(sender) or connection.fin_of(peer):
        segment.anomalies.add("rst-after-fin")
    connection.rst_time = segment.time
    sender.rst_next_sent = sender.next_sent
    if segment.kind & ACK:
        sender.rst_ack = segment.ack  # C22
    note_rst(segment)
    was_over, was_gone = connection.over, sender.gone
    if connection.fresh:  # R1
        sender.phase = peer.phase = ESTABLISHED
        sender.gone = True
        peer.was_reset = True
    elif sender.phase in (SYN_SENT, SYN_RECEIVED) and sender.rejected == segment.seq:  # R2
        _judge_rejection(segment)
    elif _rejects_third_step(segment):  # R2
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
        _note_reset(segment, was_gone=was_gone)


def _rejects_third_step(segment: Judgement) -> bool:
    """Whether an RST rejects a third step that acknowledged more than its sender had sent (rule R2)."""
    sender, peer = segment.sender, segment.peer
    if segment.kind & ACK or not sender.syn_ack_seen or sender.spoke or segment.seq != peer.early_ack:
        return False
    return peer.acknowledged is None or (sender.isn is not None and not is_beyond(peer.acknowledged, sender.isn))


def _note_reset(segment: Judgement, *, was_gone: bool = False) -> None:
    """Note that the RST has ended the attempt, unless another one has before."""
    connection = segment.connection
    if connection.reset_by is None:
        connection.reset_by = segment.sender
        note_reset(segment, was_gone=was_gone)
        if connection.idle_before_end is None:
            connection.idle_before_end = segment.silence


def _judge_rejection(segment: Judgement) -> None:
    """Judge an RST by which its sender rejects an acknowledgement number (rule R2)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if sender.phase == SYN_SENT:  # the sender goes on
        peer.phase = LISTEN if peer.is_passive_opener() or peer.phase == LISTEN else CLOSED
        return
    peer.was_reset = segment.rejects = True
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
        sender.gone = True  # there is no connection that it could reset, unless the peer turns out to live (R6)
        if peer.gone and segment.seq in (expected, peer.early_ack):
            peer.was_reset = True
        return
    if expected is None or segment.seq in (expected, peer.early_ack):
        sender.gone = True
        if not (connection.opened or connection.refused):
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
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if not (sender.gone or sender.was_reset):
        return True
    occupied = segment.length + bool(segment.kind & (SYN | FIN))
    new = is_new(sender, segment.seq, occupied)
    since_rst = segment.time - connection.rst_time if connection.rst_time is not None else 0
    late = since_rst > max(MOMENT, connection.handshake_time or 0)
    repeats_late = late and bool(occupied) and not new
    sends_late = new and (since_rst > OUTLIVED or (late and not peer.gone))
    overtaken = peer.was_reset and bool(segment.kind & FIN) and not segment.length and since_rst <= MOMENT
    known = sender.acknowledged
    acknowledges = not peer.was_reset if known is None else is_beyond(segment.ack, known)
    if not sender.was_reset and ((new and not overtaken) or acknowledges or repeats_late):
        connection.revive(sender)
    elif sender.was_reset and (_acknowledges_life(segment) or repeats_late or sends_late):
        connection.revive(sender)
        sender.was_reset = False
        connection.aborted = connection.refused = False
    else:
        segment.in_flight = True
        if segment.kind & FIN:
            note_fin_in_flight(segment)
        if new:
            note_life_after_rst(segment)
            follow_sent(sender, segment.seq, occupied)
            settle_early_ack(peer, sender)
        return False
    take_back_reset(segment)
    return True


def _acknowledges_life(segment: Judgement) -> bool:
    """Whether a segment acknowledges what its peer has sent after an RST (rule R6)."""
    peer = segment.peer
    before = peer.first_seq if peer.rst_next_sent is None else peer.rst_next_sent
    if not segment.kind & ACK or before is None or peer.next_sent is None:
        return False
    return is_beyond(segment.ack, before) and not is_beyond(segment.ack, peer.next_sent)


def take_back_reset(segment: Judgement) -> None:
    """Derive the states again, and note that the attempt was not reset if an end lives on (rules R6, X4)."""
    connection = segment.connection
    connection.update_states()
    if connection.reset_by is None or connection.over:
        return
    if connection.reset_kind == "injected-reset":  # D4
        connection.note_injected(connection.reset_frame, connection.reset_by, connection.reset_hop_limit)
    connection.take_back_reset(connection.reset_by)
    if not (connection.fin_of(connection.a) or connection.fin_of(connection.b)):
        connection.idle_before_end = None
