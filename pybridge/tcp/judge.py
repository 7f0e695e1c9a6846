# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge one segment: tell its kind, and hand it to the rules of opening, closing or aborting (rules E1, G7, N3, X4)."""

from __future__ import annotations

from pybridge.tcp.aborting import judge_life, judge_rst, take_back_reset
from pybridge.tcp.closing import judge_closing
from pybridge.tcp.connection_row import note_zeek_end
from pybridge.tcp.evidence import (
    note_challenge,
    note_life_after_rst,
    note_missing,
    note_old_answer,
    note_silence,
    note_syn_ack_after_refusal,
)
from pybridge.tcp.numbers import LARGEST_WINDOW, is_new
from pybridge.tcp.opening import (
    FIRST_WINDOW,
    answers_syn,
    begin_with_syn_ack,
    begins_attempt_with_syn_ack,
    judge_opening,
    judge_syn,
    judge_syn_ack,
)
from pybridge.tcp.state import MODULO, End, Judgement, distance, is_beyond
from pybridge.tcp.vocabulary import ACK, ESTABLISHED, FIN, RST, SYN, SYN_RECEIVED, SYN_SENT

NEAR = 1 << 20
"""How close a number lies to those of an older connection (X7)."""


def judge(segment: Judgement) -> None:
    """Change the record of the connection by one segment, and fill in what the rules say about the segment."""
    connection = segment.connection
    if connection.closed_by_error:  # N3
        connection.closed_by_error = False
        connection.client.phase = SYN_SENT
        connection.update_states()
    known = segment.sender.acknowledged
    if segment.kind & (SYN | RST) != SYN and _is_of_old_connection(segment):  # X7
        segment.anomalies.add("old-connection")
        note_old_answer(segment)
        segment.judged = False
        return
    if segment.kind & (FIN | RST):
        note_zeek_end(segment.sender, segment.peer, segment.kind)
    is_invalid = not segment.kind & RST and (segment.kind & (SYN | FIN | ACK) == SYN | FIN or not segment.kind & (SYN | ACK))
    if not is_invalid:
        note_silence(segment)
    if segment.kind & RST:
        if segment.kind & (SYN | FIN):
            segment.anomalies.add("invalid-flags")
        if segment.kind & ACK:
            _follow_missing(segment)
        judge_rst(segment)
    elif is_invalid:  # G7
        segment.anomalies.add("invalid-flags")
        segment.judged = False
        return
    elif segment.kind & SYN:
        if segment.kind & FIN:
            segment.anomalies.add("invalid-flags")
        _settle_client(segment)
        if not segment.kind & ACK:
            judge_syn(segment)
        else:
            _judge_syn_ack(segment)
    elif connection.fresh:  # H1
        segment.sender.phase = segment.peer.phase = ESTABLISHED
        connection.fresh = False
        judge_closing(segment)
    else:
        _judge_other(segment)
    if segment.sender.challenged and segment.judged:
        _judge_challenge(segment, known)
    connection.fresh = False
    connection.update_states()


def _is_of_old_connection(segment: Judgement) -> bool:
    """Whether a segment has the numbers of an older connection between the ends (rule X7)."""
    sender, peer = segment.sender, segment.peer
    if sender.former is None or peer.former is None:
        return False
    if not _is_near(segment.seq, sender.former):
        return False
    if segment.kind & ACK:
        if not _is_near(segment.ack, peer.former) or (peer.isn is not None and peer.accepts(segment.ack, FIRST_WINDOW)):
            return False
    elif not segment.kind & RST:
        return False
    stop = (segment.seq + segment.length + bool(segment.kind & FIN) + bool(segment.kind & SYN)) % MODULO
    if is_beyond(stop, sender.former):
        sender.former = stop
    return True


def _is_near(a: int, b: int) -> bool:
    return distance(a, b) < NEAR or distance(b, a) < NEAR


def _judge_syn_ack(segment: Judgement) -> None:
    connection, sender = segment.connection, segment.sender
    if connection.over and begins_attempt_with_syn_ack(segment):  # H2
        connection.forget_attempt()
        begin_with_syn_ack(segment)
        segment.anomalies.add("port-reuse")
    elif connection.over and sender.was_reset and sender.isn == segment.seq and not judge_life(segment):  # R6
        segment.judged = False
    elif connection.over and (connection.opened or segment.peer.phase != SYN_SENT or not answers_syn(segment)):
        _leave_out(segment)
    else:
        was_over = connection.over
        connection.revive(sender)
        if was_over:
            note_syn_ack_after_refusal(connection, sender)
        judge_syn_ack(segment)
        if was_over and not connection.refused:
            take_back_reset(segment)


def _judge_other(segment: Judgement) -> None:
    """Judge a plain or FIN segment on a connection that is not fresh (rules H9, T, X4)."""
    connection, peer = segment.connection, segment.peer
    if not judge_life(segment):
        segment.judged = False
        return
    is_wild = not connection.over and _is_wild(segment)
    if not is_wild:
        _follow_missing(segment)
        note_life_after_rst(segment)
    if connection.over:
        if _repeats_fin(segment) or not _says_something(segment):
            judge_closing(segment)
        else:
            _leave_out(segment)
    elif is_wild:
        segment.anomalies.add("seq-mismatch")
        peer.challenged = True
    elif judge_opening(segment):
        judge_closing(segment)


def _follow_missing(segment: Judgement) -> None:
    """Follow a segment whose numbers both lie ahead of what was captured: the capture lacks segments of both ends (rule F6)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if connection.fresh or connection.over or not (_is_open(sender) and _is_open(peer)):
        return
    if not (_is_ahead(segment.seq, sender.next_sent) and _is_ahead(segment.ack, peer.next_sent)):
        return
    if segment.kind & FIN and peer.next_sent is not None and distance(segment.ack, peer.next_sent) == 1:  # T7
        return
    sender.next_sent = sender.in_order = segment.seq
    peer.next_sent = peer.in_order = segment.ack
    for end in (sender, peer):
        end.gap = end.early_ack = None
        end.phase, end.awaiting = ESTABLISHED, False
    note_missing(segment)
    connection.update_states()


def _is_open(end: End) -> bool:
    """Whether an end may have sent data that the capture lacks: it has neither closed nor got an RST (rule F6)."""
    is_live = not (end.gone or end.was_reset or end.heard or end.fin)
    return is_live and end.phase in (SYN_RECEIVED, ESTABLISHED)


def _is_ahead(number: int, sent: int | None) -> bool:
    """Whether a number lies ahead of what was sent, but not farther than a window reaches (rule F6)."""
    return sent is not None and 0 < distance(number, sent) < LARGEST_WINDOW


def _is_wild(segment: Judgement) -> bool:
    """Whether a sequence number is so far from what its sender sent that no window could hold it (rule F5)."""
    sender = segment.sender
    if sender.next_sent is None or not sender.spoke or sender.heard:
        return False
    return LARGEST_WINDOW < distance(segment.seq, sender.next_sent) < MODULO - LARGEST_WINDOW


def _says_something(segment: Judgement) -> bool:
    """Whether a segment sends or acknowledges something for the first time (rule X4)."""
    sender = segment.sender
    new = is_new(sender, segment.seq, segment.length + bool(segment.kind & FIN))
    return new or sender.acknowledged is None or is_beyond(segment.ack, sender.acknowledged)


def _judge_challenge(segment: Judgement, known: int | None) -> None:
    """Recognise the answer of an end that got a segment which it must not accept, by what it had acknowledged (rule R7)."""
    segment.sender.challenged = False
    acknowledges = known is not None and is_beyond(segment.ack, known)
    if segment.kind == ACK and not segment.length and not segment.roles and not acknowledges:
        segment.anomalies.add("challenge-ack")
        note_challenge(segment)


def _settle_client(segment: Judgement) -> None:
    """Settle who is the client by the first SYN or SYN-ACK (rule E1)."""
    connection = segment.connection
    if connection.client_from == "port":
        connection.client = segment.peer if segment.kind & ACK else segment.sender
        connection.client_from = "SYN-ACK" if segment.kind & ACK else "SYN"


def _repeats_fin(segment: Judgement) -> bool:
    """Whether the segment repeats its sender's FIN after a close without reset (rule X4)."""
    fin = segment.sender.fin
    if not segment.kind & FIN or not fin or segment.connection.reset_by:
        return False
    return fin.seq == (segment.seq + segment.length) % MODULO


def _leave_out(segment: Judgement) -> None:
    """Mark a segment that changes nothing because the connection is over (rule X4)."""
    segment.anomalies.add("segment-after-close")
    segment.judged = False
