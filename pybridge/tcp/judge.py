# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge one segment: tell its kind, and hand it to the rules of opening, closing or aborting (rules E1, G7, N3, X4)."""

from __future__ import annotations

from pybridge.tcp.aborting import judge_rst
from pybridge.tcp.closing import judge_closing
from pybridge.tcp.opening import judge_opening, judge_syn, judge_syn_ack
from pybridge.tcp.state import MODULO, Judgement
from pybridge.tcp.vocabulary import ACK, ESTABLISHED, FIN, RST, SYN, SYN_SENT


def judge(segment: Judgement) -> None:
    """Change the record of the connection by one segment, and fill in what the rules say about the segment."""
    connection = segment.connection
    if connection.closed_by_error:  # N3
        connection.closed_by_error = False
        connection.client.state = SYN_SENT
    if segment.kind & RST:
        if segment.kind & (SYN | FIN):
            segment.anomalies.add("invalid-flags")
        judge_rst(segment)
    elif segment.kind & (SYN | FIN) == SYN | FIN or not segment.kind & (SYN | ACK):  # G7
        segment.anomalies.add("invalid-flags")
        segment.judged = False
        return
    elif segment.kind & SYN:
        _settle_client(segment)
        if not segment.kind & ACK:
            judge_syn(segment)
        elif connection.over:
            _leave_out(segment)
        else:
            judge_syn_ack(segment)
    elif connection.fresh:  # H1
        segment.sender.state = segment.peer.state = ESTABLISHED
        connection.fresh = False
        judge_closing(segment)
    elif not connection.over:
        if judge_opening(segment):
            judge_closing(segment)
    elif _repeats_fin(segment):
        judge_closing(segment)
    else:
        _leave_out(segment)
    connection.fresh = False
    connection.update_opened()


def _settle_client(segment: Judgement) -> None:
    """Settle who is the client by the first SYN or SYN-ACK (rule E1)."""
    connection = segment.connection
    if not connection.client_settled:
        connection.client = segment.peer if segment.kind & ACK else segment.sender
        connection.client_settled = True


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
