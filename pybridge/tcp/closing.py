# SPDX-License-Identifier: GPL-2.0-or-later
"""Closing: how FINs and their acknowledgements change a connection (rules T)."""

from __future__ import annotations

from pybridge.tcp.state import HALF, MODULO, End, Fin, Judgement, distance
from pybridge.tcp.vocabulary import (
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    SYN_RECEIVED,
    TIME_WAIT,
)

AFTER_FIN_ACKNOWLEDGED = {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED}
"""From state to state of an end whose FIN is acknowledged (T1)."""

AFTER_FIN_RECEIVED = {ESTABLISHED: CLOSE_WAIT, SYN_RECEIVED: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT}
"""From state to state of an end that a FIN reaches (T3)."""

AFTER_FIN_REPEATED = {FIN_WAIT_2: FIN_WAIT_1, CLOSED: LAST_ACK}
"""From state to state of an end that sends its FIN again (T5)."""


def judge_closing(segment: Judgement) -> None:
    """Judge a plain or FIN segment: acknowledgement of a FIN, data, FIN (rules T1 to T5, T7)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if sender.progress < 3:
        sender.progress = 3
        if sender.isn is None:  # needed by H4 and H8.4 alone
            sender.first_seq = segment.seq
        if peer.isn is None:
            sender.first_ack = segment.ack
    acknowledges_first = False
    fin = peer.fin
    if fin and not fin.acked and distance(segment.ack, fin.seq + 1) < HALF:  # T1
        segment.roles.append("ACK-OF-FIN")
        segment.ack_step = fin.step + 1
        if segment.answers is None:
            segment.answers = (fin.frame, fin.frame_time)
        acknowledges_first = not fin.was_acked
        fin.acked = fin.was_acked = True
        peer.state = AFTER_FIN_ACKNOWLEDGED.get(peer.state, peer.state)
        if sender.fin and sender.fin.acked:  # T7
            connection.close_complete = True
            first = connection.first_fin_by
            connection.teardown_time = segment.time - (first.fin.first_time if first and first.fin else segment.time)
    end = (segment.seq + segment.length) % MODULO
    if segment.length:  # T2
        if sender.state == CLOSE_WAIT and fin and fin.acked:
            segment.anomalies.add("half-close-data")
        if sender.fin and 0 < distance(end, sender.fin.seq) < HALF:
            segment.anomalies.add("data-after-fin")
    if segment.kind & FIN:  # T3, T4: a FIN occupies the number after its payload
        segment.roles.append("FIN")
        if sender.fin is None:
            sender.fin = _first_fin(segment, end, acknowledges_first=acknowledges_first)
            _deliver_fin(peer)
        else:
            _judge_another_fin(segment, sender.fin, end)
        segment.fin_step = sender.fin.step


def _first_fin(segment: Judgement, seq: int, *, acknowledges_first: bool) -> Fin:
    """Return the sender's first FIN, and change the sender's state (rule T3)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    step = 1
    if peer.fin is None:
        connection.first_fin_by = sender
        if sender.state in (ESTABLISHED, SYN_RECEIVED):
            sender.state = FIN_WAIT_1
    elif peer.fin.acked:
        step = 3
        connection.merged = acknowledges_first
        if sender.state == CLOSE_WAIT:
            sender.state = LAST_ACK
    else:
        connection.simultaneous_close = True
        segment.anomalies.add("simultaneous-close")
        if sender.state == CLOSE_WAIT:
            sender.state = CLOSING
    return Fin(seq, step, segment.frame, segment.time)


def _judge_another_fin(segment: Judgement, fin: Fin, seq: int) -> None:
    """Judge a FIN of an end that has sent one before (rule T5)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if fin.seq == seq:
        segment.repeats("fin-retransmission")
    fin.seq, fin.frame, fin.frame_time = seq, segment.frame, segment.time
    if fin.step == 1 and not connection.simultaneous_close and peer.fin and peer.fin.acked:  # an old duplicate
        return
    fin.acked = False
    if sender.state == TIME_WAIT:
        sender.state = CLOSING if connection.simultaneous_close else FIN_WAIT_1
    else:
        sender.state = AFTER_FIN_REPEATED.get(sender.state, sender.state)
    _deliver_fin(peer)


def _deliver_fin(peer: End) -> None:
    """Change the state of the end that a FIN reaches (rule T3)."""
    peer.state = AFTER_FIN_RECEIVED.get(peer.state, peer.state)
