# SPDX-License-Identifier: GPL-2.0-or-later
"""Follow the numbers of both ends: what each has sent, what has arrived in order, what it has acknowledged (rules F)."""

from __future__ import annotations

from pybridge.tcp.state import HALF, MODULO, End, distance

LARGEST_WINDOW = 1 << 30
"""Octets: the largest window that the window scale option allows (RFC 7323, 2.3)."""


def is_after(a: int, b: int) -> bool:
    """Whether number `a` is beyond number `b`."""
    return 0 < (a - b) % MODULO < HALF


def is_new(end: End, seq: int, length: int) -> bool:
    """Whether something of what an end sends was not sent before (rule F1): `length` octets of sequence space from `seq` on."""
    if end.next_sent is None or end.in_order is None:
        return bool(length)
    beyond_gap = end.heard and is_after(seq, end.in_order)
    return is_after((seq + length) % MODULO, seq if beyond_gap else end.next_sent)


def follow_sent(end: End, seq: int, length: int) -> bool:
    """Follow what an end sends, `length` octets of sequence space from `seq` on (rule F1).

    Returns
    -------
    bool
        Some of it was not sent before.
    """
    stop = (seq + length) % MODULO
    if end.next_sent is None or end.in_order is None:
        end.first_seq = seq
        end.next_sent = end.in_order = stop
        end.heard = False
        return bool(length)
    if end.heard:
        end.heard = False
        if is_after(seq, end.in_order):  # what came before was not captured
            end.next_sent = end.in_order = seq
    new = is_after(stop, end.next_sent)
    if new:
        if end.gap is None and is_after(seq, end.in_order):
            end.gap = seq
        end.next_sent = stop
    if not is_after(seq, end.in_order) and is_after(stop, end.in_order):
        _advance(end, stop)
    return new


def follow_acknowledged(sender: End, peer: End, ack: int, *, new: bool = False) -> bool:
    """Follow what an end acknowledges (rule F2).

    Returns
    -------
    bool
        The acknowledgement number is not beyond what the peer has sent.
    """
    if peer.next_sent is None:
        peer.heard = True
        peer.first_seq = peer.next_sent = peer.in_order = ack
    elif peer.heard and is_after(ack, peer.next_sent):
        peer.next_sent = peer.in_order = ack
    if is_after(ack, peer.next_sent):
        if sender.early_ack != ack or not new:
            sender.early_ack = ack
            return False
        peer.next_sent = peer.in_order = ack  # it was sent, and not captured
        peer.gap = None
    sender.early_ack = None
    _accept_acknowledgement(sender, peer, ack)
    return True


def settle_early_ack(sender: End, peer: End) -> None:
    """Accept an acknowledgement that was captured before what it acknowledges (rules F2, F4)."""
    if sender.early_ack is not None and peer.next_sent is not None and not is_after(sender.early_ack, peer.next_sent):
        ack, sender.early_ack = sender.early_ack, None
        _accept_acknowledgement(sender, peer, ack)


def _accept_acknowledgement(sender: End, peer: End, ack: int) -> None:
    if sender.acknowledged is None or is_after(ack, sender.acknowledged):
        sender.acknowledged = ack
    if peer.in_order is not None and is_after(ack, peer.in_order):
        _advance(peer, ack)


def _advance(end: End, number: int) -> None:
    """Note that everything before a number has arrived; behind a gap that is closed, everything that was sent (rule F3)."""
    end.in_order = number
    if end.gap is not None and not is_after(end.gap, number):
        end.gap = None
        end.in_order = end.next_sent


def has_acknowledged(end: End, number: int) -> bool:
    """Whether an end has acknowledged everything before a number."""
    return end.acknowledged is not None and distance(end.acknowledged, number) < HALF
