# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow the numbers of both ends: what each has sent, what has arrived in order, what it has acknowledged (rules F)."""

from __future__ import annotations

from pybridge.tcp.state import MODULO, End, is_at_or_after, is_beyond

LARGEST_WINDOW = 1 << 30
"""Octets: the largest window that the window scale option allows (RFC 7323, 2.3)."""


def is_new(end: End, seq: int, length: int) -> bool:
    """Whether something of what an end sends was not sent before (rule F1): `length` octets of sequence space from `seq` on."""
    if end.next_sent is None or end.in_order is None:
        return bool(length)
    beyond_gap = end.heard and is_beyond(seq, end.in_order)
    return is_beyond((seq + length) % MODULO, seq if beyond_gap else end.next_sent)


def follow_sent(end: End, seq: int, length: int) -> bool:
    """Follow what an end sends, `length` octets of sequence space from `seq` on (rule F1).

    Returns
    -------
    bool
        Some of it was not sent before.
    """
    stop = (seq + length) % MODULO
    new = is_new(end, seq, length)
    was_heard, end.heard = end.heard, False
    if end.next_sent is None or end.in_order is None:
        end.first_seq = seq
        end.next_sent = end.in_order = stop
        return new
    if was_heard and is_beyond(seq, end.in_order):  # what came before was not captured
        end.next_sent = end.in_order = seq
    if new:
        if end.gap is None and is_beyond(seq, end.in_order):
            end.gap = seq
        end.next_sent = stop
    if not is_beyond(seq, end.in_order) and is_beyond(stop, end.in_order):
        _advance(end, stop)
    return new


def follow_acknowledged(sender: End, peer: End, ack: int, *, new: bool = False) -> None:
    """Follow what an end acknowledges (rule F2)."""
    if peer.next_sent is None:
        peer.heard = True
        peer.first_seq = peer.next_sent = peer.in_order = ack
    elif peer.heard and is_beyond(ack, peer.next_sent):
        peer.next_sent = peer.in_order = ack
    if is_beyond(ack, peer.next_sent):
        if sender.early_ack != ack or not new:
            sender.early_ack = ack
            return
        peer.next_sent = peer.in_order = ack  # it was sent, and not captured
        peer.gap = None
    sender.early_ack = None
    _accept_acknowledgement(sender, peer, ack)


def settle_early_ack(sender: End, peer: End) -> None:
    """Accept an acknowledgement that was captured before what it acknowledges (rules F2, F4)."""
    if sender.early_ack is not None and peer.next_sent is not None and not is_beyond(sender.early_ack, peer.next_sent):
        ack, sender.early_ack = sender.early_ack, None
        _accept_acknowledgement(sender, peer, ack)


def _accept_acknowledgement(sender: End, peer: End, ack: int) -> None:
    if sender.acknowledged is None or is_beyond(ack, sender.acknowledged):
        sender.acknowledged = ack
    if peer.in_order is not None and is_beyond(ack, peer.in_order):
        _advance(peer, ack)


def _advance(end: End, number: int) -> None:
    """Note that everything before a number has arrived; behind a gap that is closed, everything that was sent (rule F3)."""
    end.in_order = number
    if end.gap is not None and not is_beyond(end.gap, number):
        end.gap = None
        end.in_order = end.next_sent


def has_acknowledged(end: End, number: int) -> bool:
    """Whether an end has acknowledged everything before a number."""
    return end.acknowledged is not None and is_at_or_after(end.acknowledged, number)
