# SPDX-License-Identifier: GPL-2.0-or-later
"""Aborting: how an RST changes a connection (rules R)."""

from __future__ import annotations

from pybridge.tcp.state import End, Judgement
from pybridge.tcp.vocabulary import ACK, CLOSED, LISTEN, SYN_RECEIVED, SYN_SENT, TIME_WAIT


def judge_rst(segment: Judgement) -> None:
    """Judge an RST: the first of the rules R1 to R6 that fits decides.

    No number is compared with the receiver's window (note R7).
    """
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    segment.roles.append("RST")
    if sender.fin or peer.fin:
        segment.anomalies.add("rst-after-fin")
    if connection.fresh:  # R1
        sender.state = peer.state = CLOSED
        _note_reset(segment)
    elif connection.over:  # R2
        segment.anomalies.add("segment-after-close")
        for end in (sender, peer):
            if end.state == TIME_WAIT:
                end.state = CLOSED
    elif sender.state in (SYN_SENT, SYN_RECEIVED) and sender.rejected == segment.seq:  # R3
        _judge_rejection(segment)
    elif peer.state == SYN_SENT:  # R4
        _judge_answer_to_syn(segment)
    elif not connection.opened:  # R5
        sender.state = CLOSED
        _deliver_abort(peer)
        _note_abort(segment)
        _note_reset(segment)
    else:  # R6
        sender.state = peer.state = CLOSED
        _note_reset(segment)


def _judge_rejection(segment: Judgement) -> None:
    """Judge an RST by which its sender rejects an acknowledgement number (rule R3)."""
    connection, sender = segment.connection, segment.sender
    _deliver_abort(segment.peer)
    if sender.state == SYN_SENT:  # the sender goes on
        return
    if not connection.opened:
        _note_abort(segment)
    _note_reset(segment)


def _judge_answer_to_syn(segment: Judgement) -> None:
    """Judge an RST that answers a SYN (rule R4)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    sender.state = CLOSED
    if not segment.kind & ACK:
        return
    if not peer.accepts(segment.ack, peer.syn_length):
        segment.anomalies.add("ack-mismatch")
        return
    peer.state = CLOSED
    connection.refused = True
    segment.anomalies.add("connection-refused")
    segment.answers = (peer.syn_frame, peer.syn_frame_time)
    _note_reset(segment)


def _deliver_abort(peer: End) -> None:
    """Close the peer, or return a passive opener to LISTEN (rules R3, R5)."""
    back = peer.state == LISTEN or (peer.state == SYN_RECEIVED and _is_passive_opener(peer))
    peer.state = LISTEN if back else CLOSED


def _is_passive_opener(end: End) -> bool:
    """Whether a SYN-ACK but no SYN of this end was seen (rule X5)."""
    return end.syn_ack_seen and not end.syn_seen


def _note_abort(segment: Judgement) -> None:
    segment.connection.aborted = True
    segment.anomalies.add("handshake-aborted")


def _note_reset(segment: Judgement) -> None:
    if segment.connection.reset_by is None:
        segment.connection.reset_by = segment.sender
