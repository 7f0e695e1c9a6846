# SPDX-License-Identifier: GPL-2.0-or-later
"""Note what the diagnosis reads: hop limits, repetitions, silences, resets, delays and network errors (rules D1 to D7, C24)."""

from __future__ import annotations

from pybridge.tcp.numbers import is_new
from pybridge.tcp.state import LONG, MODULO, MOMENT, NOTICEABLE, Connection, End, Judgement, distance, is_beyond
from pybridge.tcp.vocabulary import ACK, ESTABLISHED, FIN, RST, SYN, SYN_SENT

PROHIBITED = {(4, 3, 3), (4, 3, 9), (4, 3, 10), (4, 3, 13), (6, 1, 1), (6, 1, 4), (6, 1, 5), (6, 1, 6)}
"""Version of IP, type and code of the errors that a filter sends (D7)."""

FAREWELL = 53
"""Octets that the closing alert of TLS mostly has at most, which nobody needs to read (D5)."""

SECOND = 1_000_000_000
"""Nanoseconds after which an end that has closed need not wait for more (D5)."""

LAST_WORDS = 128
"""Octets up to which a last message can be one that nobody needs to read (D5)."""

NO_NEIGHBOUR = {(4, 3, 1), (6, 1, 3)}
"""The errors of the last router, whose neighbour does not answer (D7)."""

OUR_SIDE, THEIR_SIDE = "path-to-client", "path-to-server"


def note_hop_limit(segment: Judgement, *, is_first: bool) -> None:
    """Note the hop limit of an end by a judged segment with a role other than RST, or by its first that T judged (rule D1)."""
    sender = segment.sender
    if segment.kind & RST or not (segment.roles or is_first):
        return
    if sender.hop_limit is None:
        sender.hop_limit = segment.hop_limit
    elif sender.hop_limit != segment.hop_limit:
        sender.hop_limit_varies = True


def _hop_limit(segment: Judgement) -> int | None:
    """Return the hop limit of an RST; None with SYN or FIN, which only a damaged segment has (rule D1)."""
    return None if segment.kind & (SYN | FIN) else segment.hop_limit


def _is_own(segment: Judgement) -> bool:
    """Whether an RST has the hop limit of its sender's other segments (rule D1)."""
    hops_off = segment.sender.hops_off(_hop_limit(segment))
    return hops_off is not None and hops_off <= 1


def note_repetition(segment: Judgement) -> None:
    """Note who talks, and that a plain or FIN segment repeats or probes (rule D2)."""
    connection, sender = segment.connection, segment.sender
    if segment.length:
        connection.talker = sender
        if not connection.first_talk_missed:
            connection.first_talker = connection.first_talker or sender
    if sender.acknowledged is not None and is_beyond(segment.ack, sender.acknowledged):
        sender.repeats = 0  # its peer has answered, if not in the capture
    occupied = segment.length + bool(segment.kind & FIN)
    is_probe = not occupied and sender.next_sent is not None and segment.seq == (sender.next_sent - 1) % MODULO
    repeats = (is_probe and segment.peer.segments) or (occupied and not is_new(sender, segment.seq, occupied))
    if repeats and segment.silence > MOMENT:
        sender.repeats = sender.repeats + 1 if segment.seq == sender.repeat_seq else 1
        sender.repeat_seq, sender.repeat_frame = segment.seq, segment.frame


def note_acknowledged_fin(segment: Judgement) -> None:
    """Note that an end acknowledges a FIN by a segment with a number before its first (`misnumbered` of rules D)."""
    sender = segment.sender
    if sender.first_seq is not None and is_beyond(sender.first_seq, segment.seq):
        sender.misnumbered = True


def note_missing(segment: Judgement) -> None:
    """Note that the capture lacks what both ends have said before a segment (rules F6, D5)."""
    connection = segment.connection
    segment.skips = True
    connection.talker = None
    connection.first_talk_missed = connection.first_talker is None


def note_silence(segment: Judgement) -> None:
    """Note a long silence that a segment ends, and who has been heard since (rules D2 to D4)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    is_rst = bool(segment.kind & RST)
    if segment.silence >= LONG and not connection.fresh:
        connection.silence_frame = segment.frame
        sender.silent, peer.silent = not sender.gone, not peer.gone
    if not is_rst:
        sender.silent = False
        peer.repeats = 0
        if segment.kind & SYN:
            sender.doubtful_rst = None  # D4


def note_life_after_rst(segment: Judgement) -> None:
    """Note that an end lives which is said to have sent an RST: somebody else has sent it (rule D4)."""
    sender = segment.sender
    if sender.doubtful_rst is None:
        return
    frame, time, seq, hop_limit = sender.doubtful_rst
    new = is_new(sender, segment.seq, segment.length + bool(segment.kind & FIN))
    acknowledges = sender.acknowledged is not None and is_beyond(segment.ack, sender.acknowledged)
    goes_on = is_beyond((segment.seq + segment.length) % MODULO, seq) and not is_beyond(seq, segment.seq)
    later = goes_on or segment.time - time > MOMENT
    if (new and goes_on) if segment.in_flight else (later and (new or acknowledges)):
        segment.connection.note_injected(frame, sender, hop_limit)
        sender.doubtful_rst = None


def note_rst(segment: Judgement) -> None:
    """Note an RST before its own rule applies (rule D4, and `closing_rst`)."""
    connection = segment.connection
    if connection.both_closed():
        connection.closing_rst = segment.frame
    else:
        segment.sender.doubtful_rst = (segment.frame, segment.time, segment.seq, _hop_limit(segment))


def note_wild_rst(segment: Judgement) -> None:
    """Note an RST with a number that its sender was not seen to send (rules R5, D4)."""
    sender, expected = segment.sender, segment.peer.early_ack
    if sender.next_sent is not None and is_beyond(segment.seq, sender.next_sent):
        impossible = expected is None or is_beyond(segment.seq, expected)
    else:
        impossible = sender.isn is not None
    if impossible and not segment.connection.both_closed():
        sender.guesses += segment.seq != sender.wild_seq
        sender.wild_rst, sender.wild_seq, sender.wild_hop_limit = segment.frame, segment.seq, _hop_limit(segment)


def note_challenge(segment: Judgement) -> None:
    """Note that an end challenges an RST which its peer cannot have sent (rule D4)."""
    connection, peer = segment.connection, segment.peer
    if peer.wild_rst is not None:
        connection.note_injected(peer.wild_rst, peer, peer.wild_hop_limit)


def note_reset(segment: Judgement, *, was_gone: bool) -> None:
    """Note the RST that ended an attempt, and its class (rules D4, D5)."""
    connection = segment.connection
    former, connection.former_reset = connection.former_reset, None
    if former and was_gone and former[0] == (segment.sender is connection.a):
        connection.restore_reset(former)
        return
    connection.reset_frame, connection.reset_hop_limit = segment.frame, _hop_limit(segment)
    connection.reset_kind, connection.reset_suspect = _class_of_reset(segment)
    if connection.injected_rst == segment.sender.wild_rst and not (connection.injected_suspect() or segment.sender.guesses >= 2):
        connection.injected_rst = None


def note_fin_in_flight(segment: Judgement) -> None:
    """Note that a FIN was under way when its receiver, which had closed, sent an RST: what it left unread was a farewell (D5)."""
    connection, closer = segment.connection, segment.peer
    if connection.reset_by is not closer or connection.reset_kind != "reset-with-unread-data" or closer.acknowledged is None:
        return
    if connection.fin_of(closer) and distance((segment.seq + segment.length) % MODULO, closer.acknowledged) <= FAREWELL:
        connection.reset_kind, connection.reset_suspect = "reset-after-close", None


def note_syn_ack_after_refusal(connection: Connection, sender: End) -> None:
    """Note that an end answers the SYN which it is said to have refused (rule D4)."""
    if connection.refused:
        connection.note_injected(connection.reset_frame, sender, connection.reset_hop_limit)


def note_old_answer(segment: Judgement) -> None:
    """Note that a SYN is answered from an older connection (X7; `old_answer` of rules D)."""
    if segment.peer.phase == SYN_SENT and segment.kind == ACK:
        segment.connection.old_answer = segment.frame


def _shows_a_gap(segment: Judgement) -> bool:
    """Whether the numbers of an RST show that the capture lacks something that came before it (rule D5)."""
    sent, received = segment.sender.next_sent, segment.peer.next_sent
    beyond = sent is not None and is_beyond(segment.seq, sent)
    return segment.skips or beyond or (bool(segment.kind & ACK) and received is not None and is_beyond(segment.ack, received))


def _is_last(peer: End, read: int | None, unread: int) -> bool:
    """Whether what an end left unread can be last words of its peer: little, after something that it has acknowledged (D5)."""
    is_first = peer.isn is not None and read == (peer.isn + 1) % MODULO
    return unread <= LAST_WORDS and not is_first


def _class_of_reset(segment: Judgement) -> tuple[str, str | None]:
    """Return the class of the RST that ended an attempt, and the suspect (rule D5)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    gap = _shows_a_gap(segment)
    name = connection.name(sender) if _is_own(segment) and not sender.guesses and not gap else None
    own, fin = connection.fin_of(sender), connection.fin_of(peer)
    if not (own and fin):
        if sender.is_foreign(_hop_limit(segment)) and (connection.opened or sender is not connection.client):
            return "injected-reset", "path"
        if sender.guesses >= 2:
            return "injected-reset", None
    if segment.rejects:
        return "invalid-answer", None
    has_ack = bool(segment.kind & ACK)
    if sender.repeats >= 2 or (has_ack and peer.repeats >= 2) or (sender.awaiting and sender.syn_ack_sent >= 2):
        return "peer-vanished", None
    reach = fin.seq if fin else peer.next_sent
    if own:
        read = sender.acknowledged
        unread = distance(reach, read) if reach is not None and read is not None and is_beyond(reach, read) else 0
        if unread > (FAREWELL if fin else 0):
            is_late = segment.time - own.first_time >= SECOND
            excused = _is_last(peer, read, unread) or is_late or connection.is_simultaneous()
            return "reset-with-unread-data", None if excused else name
        if fin:
            return "reset-after-close", None
        if own.acked and not peer.went_on_after(own) and segment.time - own.first_time >= LONG:
            return "close-not-finished", connection.name(peer) if connection.was_open(peer) else None
        if has_ack:
            return "reset-after-close", None
    unanswered = not gap and connection.first_talker is peer and connection.talker is peer
    still_read = fin and peer.acknowledged is not None and is_beyond(peer.acknowledged, fin.ack)
    if fin and has_ack and not (still_read or unanswered):
        return "reset-after-close", None
    if sender.silent and (not has_ack or connection.silence_frame == segment.frame):
        return "idle-timeout", None
    is_silent = connection.first_talker is None and not connection.first_talk_missed
    asked_once = sender is connection.client and connection.syn_seen and sender.syn_sent < 2 and not peer.syn_seen
    if asked_once and not (own or fin) and is_silent:
        return "probe", name
    if connection.fresh and has_ack and not segment.seq:
        return "port-closed", None
    if not has_ack or connection.fresh:
        return "no-such-connection", None
    if reach is not None and is_beyond(reach, segment.ack):
        return "reset-with-unread-data", None if _is_last(peer, segment.ack, distance(reach, segment.ack)) else name
    if unanswered:
        read_all = fin and is_beyond(segment.ack, fin.seq)
        return "reset-with-unread-data", name if connection.is_unheard(sender) and not read_all else None
    return "application-abort", name


def note_invalid_answer(segment: Judgement) -> None:
    """Note an answer to a SYN that its sender must not accept (rules H8.2, H9.1, R3)."""
    segment.connection.invalid_answer = True
    segment.connection.invalid_frame = segment.frame


def note_repeated_syn(segment: Judgement) -> None:
    """Note what a repeated SYN shows to be lost (rule D6)."""
    sender, peer = segment.sender, segment.peer
    if sender.spoke or segment.time - sender.syn_frame_time <= NOTICEABLE:
        return
    taken_back = sender.phase == ESTABLISHED and not sender.syn_ack_seen and not peer.syn_ack_seen
    if segment.connection.invalid_answer or taken_back:
        _note_delay(segment, "invalid-answer")
    elif not peer.syn_ack_seen:
        _note_delay(segment, "syn-lost")
    elif segment.time - peer.syn_ack_frame_time > NOTICEABLE:
        _note_delay(segment, "syn-ack-lost", OUR_SIDE)


def note_answered_syn(segment: Judgement) -> None:
    """Note that a SYN-ACK answers a SYN that was taken for lost: it was the answer that was lost (rule D6)."""
    connection = segment.connection
    if connection.delay_kind == "syn-lost" and segment.answers and segment.answers[0] != segment.peer.syn_frame:
        connection.delay_kind = "syn-ack-lost"


def note_repeated_syn_ack(segment: Judgement) -> None:
    """Note what a repeated SYN-ACK shows to be lost or ignored (rule D6)."""
    connection, sender, peer = segment.connection, segment.sender, segment.peer
    if sender.spoke or segment.time - sender.syn_ack_frame_time <= NOTICEABLE:
        return
    if connection.third_step_time is None:
        if peer.syn_frame < sender.syn_ack_frame and connection.delay_kind != "syn-ack-lost":
            _note_delay(segment, "third-step-lost")
    elif segment.time - connection.third_step_time > max(NOTICEABLE, connection.server_response_time or 0):
        _note_delay(segment, "third-step-ignored")


def _note_delay(segment: Judgement, kind: str, suspect: str | None = None) -> None:
    connection = segment.connection
    connection.delay_kind, connection.delay_suspect, connection.delay_frame = kind, suspect, segment.frame


def note_network_error(connection: Connection, frame: int, message: tuple[int, int, int], reporter: str) -> None:
    """Note what a network error says about the way to the server (rule D7)."""
    connection.error_frame = frame
    if message in PROHIBITED:
        connection.error_kind = "filtered"
        connection.error_suspect = "server" if reporter == connection.server.address else THEIR_SIDE
    else:
        connection.error_kind = "host-unreachable"
        connection.error_suspect = None if message in NO_NEIGHBOUR else THEIR_SIDE


def retransmission_delay_of(client: End, server: End) -> int:
    """Return the part of a handshake's time that went by in waiting for a repeated SYN or SYN-ACK (rule C24)."""
    answered = server.answered_syn_time
    if answered is None:
        return client.syn_frame_time - client.syn_time
    latest = client.syn_frame_time if client.has_asked_again(server) else server.syn_ack_frame_time
    return answered - client.syn_time + latest - server.syn_ack_first_time
