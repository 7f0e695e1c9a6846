# SPDX-License-Identifier: GPL-2.0-or-later
"""The records that pass between the parts: segments and network errors in, annotations and connection rows out.

Times are integers, nanoseconds since the epoch or of duration; sequence and acknowledgement numbers are raw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Offer(NamedTuple):
    """What a SYN or SYN-ACK offers by its options (rules C12, C13).

    Attributes
    ----------
    mss : int or None
        Maximum segment size in bytes (`tcp.options.mss_val`).
    window_scale : int or None
        Shift count (`tcp.options.wscale.shift`).
    sack_permitted, timestamps : bool
        Option kinds 4 and 8 are there (`tcp.option_kind`).
    fast_open : str or None
        The Fast Open cookie in hexadecimal (`tcp.options.tfo.cookie`), or `request` (`tcp.options.tfo.request`).
    tsval, tsecr : int or None
        Timestamp and echoed timestamp (`tcp.options.timestamp.tsval`, `tcp.options.timestamp.tsecr`).
    """

    mss: int | None = None
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: bool = False
    fast_open: str | None = None
    tsval: int | None = None
    tsecr: int | None = None


class Segment(NamedTuple):
    """One TCP header with its frame; the arguments of `Annotator.segment`."""

    frame: int
    time: int
    stream: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    flags: int
    seq: int
    ack: int
    length: int
    offer: Offer | None = None
    identity: int | None = None
    hop_limit: int | None = None


class NetworkError(NamedTuple):
    """An ICMP error that quotes a TCP header; the arguments of `Annotator.network_error`.

    Attributes
    ----------
    frame, time, stream : int
        As of `Segment`; `stream` is None if too little of the header was quoted.
    source, source_port, destination, destination_port
        The quoted ends.
    message : tuple of int
        Version of IP, type and code of the error (rule N1).
    reporter : str
        Address that has sent the error (rule D7).
    """

    frame: int
    time: int
    stream: int | None
    source: str
    source_port: int
    destination: str
    destination_port: int
    message: tuple[int, int, int] = (4, 3, 0)
    reporter: str = ""


class Annotation(NamedTuple):
    """The annotation of one segment or network error: the annotated columns of `segments`, times in nanoseconds."""

    sender: str
    role: str | None
    handshake_step: int | None
    teardown_step: str | None
    client_state: str
    server_state: str
    retransmission: bool
    responds_to: int | None
    response_time: int | None
    handshake_time: int | None
    anomaly: str | None


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One row of `connections` (rules C), field by field, times in nanoseconds."""

    stream: int
    client: str
    client_port: int
    server: str
    server_port: int
    start: int
    duration: int
    client_segments: int
    server_segments: int
    client_bytes: int
    server_bytes: int
    establishment: str
    termination: str
    closed_by: str | None
    reset_by: str | None
    captured: str
    client_from: str
    client_last_seen: int | None
    server_last_seen: int | None
    idle_before_end: int | None
    client_unacknowledged: int | None
    server_unacknowledged: int | None
    still_waiting: bool
    diagnosis: str
    suspect: str | None
    evidence: str | None
    client_state: str
    server_state: str
    handshake_time: int | None
    server_response_time: int | None
    client_response_time: int | None
    retransmission_delay: int | None
    teardown_time: int | None
    client_isn: int | None
    server_isn: int | None
    client_mss: int | None
    server_mss: int | None
    client_window_scale: int | None
    server_window_scale: int | None
    client_fast_open: str | None
    server_fast_open: str | None
    sack_permitted: bool | None
    timestamps: bool | None
    ecn: str | None
    syn_retransmissions: int
    syn_ack_retransmissions: int
    fin_retransmissions: int
    completeness: int
    conn_state: str
    history: str | None
    anomalies: str | None
