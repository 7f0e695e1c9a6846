# SPDX-License-Identifier: GPL-2.0-or-later
"""Closing: what FINs, their acknowledgements and data around them say (rules T)."""

from __future__ import annotations

from pybridge.tcp.evidence import note_acknowledged_fin, note_repetition
from pybridge.tcp.numbers import follow_acknowledged, follow_sent, has_acknowledged, is_new, settle_early_ack
from pybridge.tcp.state import MODULO, Fin, Judgement, is_at_or_after, is_beyond
from pybridge.tcp.vocabulary import FIN


def judge_closing(segment: Judgement) -> None:
    """Follow the numbers of a plain or FIN segment, then judge its acknowledgement, its data and its FIN (rules F, T)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    sender.spoke = True
    note_repetition(segment)
    acked_before = sender.acknowledged
    had_fin = connection.fin_of(sender)
    has_fin = bool(segment.kind & FIN)
    stop = (segment.seq + segment.length) % MODULO  # the number of its FIN
    next_sent = None if peer.heard or peer.fin else peer.next_sent
    if has_fin and next_sent is not None and segment.ack == (next_sent + 1) % MODULO:  # T7
        peer.fin = Fin(next_sent, segment.seq, None, 0, segment.time, sender.next_sent)
        peer.next_sent = peer.in_order = segment.ack
        peer.gap = None
    new_data = bool(segment.length) and is_new(sender, segment.seq, segment.length)
    new = follow_sent(sender, segment.seq, segment.length + has_fin)
    follow_acknowledged(sender, peer, segment.ack, new=new)
    settle_early_ack(peer, sender)
    fin = connection.fin_of(peer)
    if fin is not None and has_acknowledged(sender, fin.next) and is_at_or_after(segment.ack, fin.next):  # T4
        if not fin.acked:
            segment.roles.append("ACK-OF-FIN")
            note_acknowledged_fin(segment)
            segment.ack_step = 4 if connection.is_passive(peer) else 2
            if segment.answers is None and fin.frame:
                segment.answers = (fin.frame, fin.frame_time if fin.sent == 1 else None)
        fin.acked, fin.was_acked, fin.missed = True, True, False
    if new_data:
        _judge_data(segment, had_fin)
    if has_fin:
        _judge_fin(segment, stop, acked_before)
    _note_complete(segment)


def _judge_data(segment: Judgement, fin: Fin | None) -> None:
    """Judge new data of an end whose peer has closed, or that has closed itself (rule T6)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if fin is None and sender.fin is not None and not segment.kind & FIN:
        sender.fin = None  # T6: a FIN that did not count, and that its sender disproves
    peer_fin = connection.fin_of(peer)
    if peer_fin is not None and peer_fin.acked and sender.fin is None and connection.has_received_fin(sender):
        segment.anomalies.add("half-close-data")
    if fin is not None and is_beyond((segment.seq + segment.length) % MODULO, fin.seq):
        segment.anomalies.add("data-after-fin")


def _judge_fin(segment: Judgement, seq: int, acked_before: int | None) -> None:
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    fin = connection.fin_of(sender)
    anticipated = fin is not None and fin.frame == 0 and fin.seq == seq
    if fin is None:
        if _is_too_old(segment, seq):
            peer.challenged = True
            return
        sender.fin = Fin(seq, segment.ack, acked_before, segment.frame, segment.time, peer.next_sent)
        if connection.fin_of(sender) is None:
            segment.anomalies.add("ack-beyond-sent")
            peer.challenged = True
            return
        if connection.idle_before_end is None:
            connection.idle_before_end = segment.silence
    elif anticipated:  # T5: its acknowledgement was captured before it
        fin.frame, fin.frame_time, fin.first_time = segment.frame, segment.time, segment.time
    else:
        _judge_another_fin(segment, fin, seq)
    own = sender.fin
    if own is not None and has_acknowledged(peer, own.next) and (fin is None or anticipated):
        own.acked = own.was_acked = True  # the acknowledgement was captured before the FIN
    segment.roles.append("FIN")
    segment.fin_step = 3 if connection.is_passive(sender) else 1
    peer_fin = connection.fin_of(peer)
    if fin is None and peer_fin is not None and connection.is_simultaneous():
        segment.anomalies.add("simultaneous-close")


def _is_too_old(segment: Judgement, seq: int) -> bool:
    """Whether a FIN, which occupies the number `seq`, is too old to be accepted; note which number shows it (rule T5)."""
    sender, peer = segment.sender, segment.peer
    if peer.acknowledged is not None and is_beyond(peer.acknowledged, (seq + 1) % MODULO):
        segment.anomalies.add("seq-mismatch")
    elif peer.isn is not None and sender.spoke and not is_beyond(segment.ack, peer.isn):
        segment.anomalies.add("ack-mismatch")
    else:
        return False
    return True


def _judge_another_fin(segment: Judgement, fin: Fin, seq: int) -> None:
    """Judge a FIN of an end that has sent one before (rule T5)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if fin.seq == seq:
        segment.repeats("fin-retransmission")
        fin.sent += 1
    fin.seq, fin.frame, fin.frame_time = seq, segment.frame, segment.time
    fin.missed = False
    peer_fin = peer.fin
    if peer_fin is not None and peer_fin.acked and not connection.is_passive(sender) and connection.is_passive(peer):
        return  # an old duplicate
    fin.acked = False
    if peer_fin is not None and not peer_fin.acked and is_beyond(peer_fin.next, segment.ack):
        peer_fin.missed = True


def _note_complete(segment: Judgement) -> None:
    """Note that both FINs are acknowledged (rule T8)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    own, other = connection.fin_of(sender), connection.fin_of(peer)
    if own is None or other is None or not (own.was_acked and other.was_acked):
        return
    if "ACK-OF-FIN" in segment.roles or not connection.close_complete:
        connection.close_complete = True
        connection.teardown_time = segment.time - min(own.first_time, other.first_time)
