# SPDX-License-Identifier: GPL-2.0-or-later
"""The row that a connection's record comes to (rules C), Wireshark's completeness (C15) and Zeek's words (Z)."""

from __future__ import annotations

import re

from pybridge.tcp.diagnosis import diagnosis_of
from pybridge.tcp.model import ConnectionRow
from pybridge.tcp.state import LONG, Connection, End, distance, is_beyond, joined
from pybridge.tcp.vocabulary import ACK, AE, CWR, ECE, FIN, RST, SYN, SYN_SENT

ZEEK_RESET = ("reset", "closed-reset")
GAVE_UP = re.compile(r"\^?S[^HAFGIQ]*R")
"""Zeek's history of a client that sent a SYN, then an RST, and between them at most payload (rule Z2)."""


def row_of(connection: Connection, end: int) -> ConnectionRow:
    """Return the connection's row in a capture whose latest segment or network error has the time `end` (rules C)."""
    client, server = connection.client, connection.server
    offers = [end.offer for end in (client, server) if end.offer is not None]
    settled = len(offers) == 2
    client_state, server_state = connection.states()  # C7
    establishment, captured = establishment_of(connection), captured_of(connection)
    still_waiting = is_still_waiting(connection, end)
    diagnosis = diagnosis_of(connection, establishment=establishment, captured=captured, still_waiting=still_waiting, end=end)
    return ConnectionRow(
        stream=connection.stream,
        client=client.address,  # C1
        client_port=client.port,
        server=server.address,
        server_port=server.port,
        start=connection.first_time,  # C2
        duration=connection.last_time - connection.first_time,
        client_segments=client.segments,  # C3
        server_segments=server.segments,
        client_bytes=client.payload,
        server_bytes=server.payload,
        establishment=establishment,
        termination=termination_of(connection),
        closed_by=closed_by_of(connection),
        reset_by=reset_by_of(connection),
        captured=captured,
        client_from=connection.client_from,
        client_last_seen=client.last_time,
        server_last_seen=server.last_time,
        idle_before_end=connection.idle_before_end,
        client_unacknowledged=unacknowledged_of(client, server),
        server_unacknowledged=unacknowledged_of(server, client),
        still_waiting=still_waiting,
        diagnosis=diagnosis.diagnosis,
        suspect=diagnosis.suspect,
        evidence=diagnosis.evidence,
        client_state=client_state,
        server_state=server_state,
        handshake_time=connection.handshake_time,
        server_response_time=connection.server_response_time,
        client_response_time=connection.client_response_time,
        retransmission_delay=connection.retransmission_delay,  # C24
        teardown_time=connection.teardown_time,
        client_isn=client.offered_isn,  # C11
        server_isn=server.offered_isn,
        client_mss=client.offer.mss if client.offer else None,  # C12
        server_mss=server.offer.mss if server.offer else None,
        client_window_scale=client.offer.window_scale if client.offer else None,
        server_window_scale=server.offer.window_scale if server.offer else None,
        client_fast_open=client.offer.fast_open if client.offer else None,
        server_fast_open=server.offer.fast_open if server.offer else None,
        sack_permitted=all(offer.sack_permitted for offer in offers) if settled else None,  # C13
        timestamps=all(offer.timestamps for offer in offers) if settled else None,
        ecn=ecn_of(connection) if settled else None,
        syn_retransmissions=connection.retransmissions[0],  # C14
        syn_ack_retransmissions=connection.retransmissions[1],
        fin_retransmissions=connection.retransmissions[2],
        completeness=connection.completeness,
        conn_state=conn_state_of(connection),
        history=history_of(connection),
        anomalies=joined(connection.anomalies),  # C16
    )


def establishment_of(connection: Connection) -> str:
    """Return how the latest attempt opened, or why it did not (rule C4)."""
    if not (connection.syn_seen or connection.syn_ack_matched):
        return "not-captured"
    if connection.opened:
        if connection.simultaneous_open:
            return "simultaneous"
        all_steps = connection.syn_seen and connection.syn_ack_matched and connection.third_step_seen
        return "complete" if all_steps else "partial"
    if connection.aborted:
        return "aborted"
    if connection.refused:
        return "refused"
    if connection.syn_ack_matched:
        return "half-open"
    if connection.unreachable:
        return "unreachable"
    return "invalid-answer" if connection.invalid_answer else "unanswered"


def is_still_waiting(connection: Connection, end: int) -> bool:
    """Whether the capture ends before an answer to the latest SYN is overdue (rule C23)."""
    client = connection.client
    waits = connection.state_of(client) == SYN_SENT and end - client.syn_frame_time < LONG
    return waits and establishment_of(connection) == "unanswered"


def termination_of(connection: Connection) -> str:
    """Return how the latest attempt ended (rule C5)."""
    if connection.close_complete:
        if connection.is_simultaneous():
            return "simultaneous"
        passive = connection.a if connection.is_passive(connection.a) else connection.b
        fin, other = passive.fin, connection.other(passive).fin
        merged = fin and other and (fin.acked_before is None or is_beyond(other.next, fin.acked_before))
        return "three-way" if merged else "four-way"
    if connection.reset_by:
        return "reset"
    fins = bool(connection.fin_of(connection.a)) + bool(connection.fin_of(connection.b))
    return ("none", "half-closed", "unacknowledged")[fins]


def closed_by_of(connection: Connection) -> str | None:
    """Return who began to close, or who reset (rule C6)."""
    if connection.is_simultaneous():
        return "both"
    active = [end for end in (connection.a, connection.b) if connection.fin_of(end) and not connection.is_passive(end)]
    end = active[0] if active else connection.reset_by
    return connection.name(end) if end else None


def reset_by_of(connection: Connection) -> str | None:
    """Return whose RST ended the latest attempt (rule C6)."""
    end = connection.reset_by
    return None if end is None or connection.close_complete else connection.name(end)


def captured_of(connection: Connection) -> str:
    """Return whose segments the capture holds (rule C18)."""
    client, server = connection.client.segments, connection.server.segments
    return "both" if client and server else "client" if client else "server"


def unacknowledged_of(end: End, peer: End) -> int | None:
    """Return how many octets of sequence space an end has sent that its peer has not acknowledged (rule C22)."""
    if end.next_sent is None or end.heard or not end.segments:
        return None
    base = (end.first_seq if peer.acknowledged is None else peer.acknowledged) or 0
    if peer.rst_ack is not None and is_beyond(peer.rst_ack, base) and not is_beyond(peer.rst_ack, end.next_sent):
        base = peer.rst_ack
    return distance(end.next_sent, base)


def ecn_of(connection: Connection) -> str:
    """Return what a SYN and a SYN-ACK have settled about ECN (rule C13)."""
    syn, answer = connection.client.offers_ecn, connection.server.offers_ecn
    if syn & (AE | CWR | ECE) == AE | CWR | ECE and answer & (AE | CWR | ECE) in (CWR, CWR | ECE, AE, AE | CWR):
        return "accecn"
    return "rfc3168" if syn & (CWR | ECE) == CWR | ECE and answer & (AE | CWR | ECE) == ECE else "none"


def completeness_of(kind: int, length: int) -> int:
    """Return what one segment adds to Wireshark's `tcp.completeness` (rule C15)."""
    value = 0
    if kind & (SYN | ACK) == SYN:
        value |= 1
    if kind & (SYN | ACK) == SYN | ACK:
        value |= 2
    if kind & (SYN | ACK) == ACK and not length:
        value |= 4
    if kind & (SYN | ACK) in (SYN, ACK) and length:
        value |= 8
    if kind & (FIN | ACK) == FIN | ACK:
        value |= 16
    if kind & RST:
        value |= 32
    return value


def history_letters_of(kind: int, length: int) -> str:
    """Return the letters that one segment of the client gives Zeek's history (rule Z1)."""
    if kind & SYN and kind & (RST | FIN):
        return "Q"
    if kind & RST:
        return "I" if kind & FIN else "R"
    opening = "" if not kind & SYN else "H" if kind & ACK else "S"
    return opening + ("D" if length else "") + ("F" if kind & FIN else "") or ("A" if kind == ACK else "")


def history_of(connection: Connection) -> str | None:
    """Return Zeek's `history` of the whole stream (rule Z1)."""
    letters = connection.history_letters
    return (letters if connection.client is connection.a else "^" + letters.swapcase()) or None


def note_zeek_end(sender: End, peer: End, kind: int) -> None:
    """Note what a segment with FIN or RST means to Zeek for its sender (rule Z2)."""
    if not kind & RST:
        if sender.zeek_end not in ZEEK_RESET:
            sender.zeek_end = "closed"
            if peer.zeek_end == "closed-reset":
                peer.zeek_end = "closed"
    elif not sender.zeek_end:
        sender.zeek_end = "reset"
    elif sender.zeek_end == "closed" and peer.zeek_end != "closed":
        sender.zeek_end = "closed-reset"


def conn_state_of(connection: Connection) -> str:
    """Return Zeek's `conn_state` of the latest attempt (rule Z2)."""
    client, server = connection.client, connection.server
    by_server = server.sent_syn
    by_client = client.sent_syn or (server.syn_ack_seen and client.spoke)
    if server.zeek_end in ZEEK_RESET:
        refused = by_client and not by_server and not client.zeek_end
        if refused or (client.zeek_end == "reset" and "D" not in connection.history_letters.upper()):
            return "REJ"
        return "RSTR" if by_client or client.zeek_end else "RSTRH"
    if client.zeek_end in ZEEK_RESET:
        if by_server or server.zeek_end:
            return "RSTO"
        return "RSTOS0" if GAVE_UP.match(history_of(connection) or "") else "OTH"
    if client.zeek_end:
        return "SF" if server.zeek_end else "S2" if by_server else "SH"
    if server.zeek_end:
        return "S3" if by_client else "SHR"
    return ("S1" if by_server else "S0") if by_client else "OTH"
