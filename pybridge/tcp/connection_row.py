# SPDX-License-Identifier: GPL-2.0-or-later
"""The row that a connection's record comes to (rules C), Wireshark's completeness (C15) and Zeek's words (Z)."""

from __future__ import annotations

from pybridge.tcp.model import ConnectionRow
from pybridge.tcp.state import Connection, joined
from pybridge.tcp.vocabulary import ACK, FIN, RST, SYN


def row_of(connection: Connection) -> ConnectionRow:
    """Return the connection's row as known so far (rules C1 to C16)."""
    client, server = connection.client, connection.server
    offers = [end.offer for end in (client, server) if end.offer is not None]
    ecn = [end.offers_ecn for end in (client, server) if end.offered_isn is not None]
    client_state, server_state = connection.states()  # C7
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
        establishment=establishment_of(connection),
        termination=termination_of(connection),
        closed_by=closed_by_of(connection),
        client_state=client_state,
        server_state=server_state,
        handshake_time=connection.handshake_time,
        server_response_time=connection.server_response_time,
        client_response_time=connection.client_response_time,
        teardown_time=connection.teardown_time,
        client_isn=client.offered_isn,  # C11
        server_isn=server.offered_isn,
        client_mss=client.offer.mss if client.offer else None,  # C12
        server_mss=server.offer.mss if server.offer else None,
        client_window_scale=client.offer.window_scale if client.offer else None,
        server_window_scale=server.offer.window_scale if server.offer else None,
        client_fast_open=client.offer.fast_open if client.offer else None,
        server_fast_open=server.offer.fast_open if server.offer else None,
        sack_permitted=all(offer.sack_permitted for offer in offers) if offers else None,  # C13
        timestamps=all(offer.timestamps for offer in offers) if offers else None,
        ecn=all(ecn) if ecn else None,
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
    if connection.unreachable:
        return "unreachable"
    return "half-open" if connection.syn_ack_matched else "unanswered"


def termination_of(connection: Connection) -> str:
    """Return how the latest attempt ended (rule C5)."""
    if connection.close_complete:
        return "simultaneous" if connection.simultaneous_close else "three-way" if connection.merged else "four-way"
    if connection.reset_by:
        return "reset"
    fins = bool(connection.a.fin) + bool(connection.b.fin)
    return ("none", "half-closed", "unacknowledged")[fins]


def closed_by_of(connection: Connection) -> str | None:
    """Return who began to close, or who reset (rule C6)."""
    if connection.simultaneous_close:
        return "both"
    end = connection.first_fin_by or connection.reset_by
    return connection.name(end) if end else None


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


def conn_state_of(connection: Connection) -> str:
    """Return Zeek's `conn_state` of the latest attempt (rule Z2)."""
    client, server = connection.client, connection.server
    by_client, by_server = client.sent_syn, server.sent_syn
    if connection.close_complete:
        return "SF"
    if connection.reset_by is server:
        return ("RSTR" if by_server else "REJ") if by_client else "RSTRH" if by_server else "OTH"
    if connection.reset_by is client:
        return "RSTO" if by_server else "RSTOS0" if by_client else "OTH"
    if client.fin and server.fin:
        return "SF"
    if client.fin:
        return "S2" if by_server else "SH" if by_client else "OTH"
    if server.fin:
        return "S3" if by_client else "SHR" if by_server else "OTH"
    return ("S1" if by_server else "S0") if by_client else "OTH"
