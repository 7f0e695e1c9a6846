# SPDX-License-Identifier: GPL-2.0-or-later
"""Every word of the tables, once: flags, states, roles, steps, outcomes and anomalies."""

from __future__ import annotations

FIN, SYN, RST, ACK, ECE, CWR, AE = 0x001, 0x002, 0x004, 0x010, 0x040, 0x080, 0x100

CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED = "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED"
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"
CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT = "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"
STATES = (
    CLOSED, LISTEN, SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT,
)  # fmt: skip
"""The states of RFC 9293, 3.3.2 (rule X1)."""

SYNCHRONISED = frozenset(STATES[4:])
"""States of an end that has opened (rule X3)."""

OVER = frozenset((CLOSED, LISTEN, TIME_WAIT))
"""When both ends are in one of these states, the connection is over (rules X)."""

ABSENT = frozenset((CLOSED, LISTEN))
"""States of an end that holds no connection."""

SENDERS = ("client", "server")
"""Values of `sender`, and the ends in the names of columns."""

ROLES = (
    "SYN", "SYN-ACK", "HANDSHAKE-ACK", "FIN", "ACK-OF-FIN", "RST", "ACK-OF-FIN+FIN", "HANDSHAKE-ACK+FIN",
    "HANDSHAKE-ACK+ACK-OF-FIN", "HANDSHAKE-ACK+ACK-OF-FIN+FIN",
)  # fmt: skip
"""Values of `role`; several roles of one segment are joined in this order (rule T9)."""

TEARDOWN_STEPS = ("1", "2", "3", "4", "2+3", "2+1", "4+1", "4+3")
"""Values of `teardown_step`."""

OPENED = ("complete", "simultaneous", "partial")
"""Values of `establishment` of a connection that opened (rule C4)."""

FAILED = ("refused", "unreachable", "unanswered", "invalid-answer", "aborted", "half-open")
"""Values of `establishment` of a connection that did not open, the clearest failure first (rule C4)."""

ESTABLISHMENTS = (
    "complete", "simultaneous", "half-open", "unanswered", "refused", "unreachable", "aborted", "partial", "not-captured",
    "invalid-answer",
)  # fmt: skip
"""Values of `establishment` (rule C4)."""

STILL_WAITING = "still-waiting"
"""What reports say instead of `unanswered` if the capture ends before an answer is overdue (rule C23)."""

TERMINATIONS = ("four-way", "three-way", "simultaneous", "half-closed", "unacknowledged", "reset", "none")
"""Values of `termination` (rule C5)."""

CLOSERS = (*SENDERS, "both")
"""Values of `closed_by` (rule C6)."""

CAPTURED = ("both", *SENDERS)
"""Values of `captured`: the ends whose segments the capture holds."""

CLIENT_FROM = ("SYN", "SYN-ACK", "port")
"""Values of `client_from`: by what the client is known; `port` is a guess (rules E1, E2)."""

ECN = ("none", "rfc3168", "accecn")
"""Values of `ecn` (rule C13)."""

CONN_STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
"""Values of `conn_state`, Zeek's words (rule Z2)."""

DIAGNOSES = (
    "injected-reset", "no-such-connection", "application-abort", "reset-with-unread-data", "idle-timeout", "peer-vanished",
    "port-closed", "filtered", "host-unreachable", "server-silent", "invalid-answer",
    "old-connection-held", "close-not-finished", "syn-lost", "syn-ack-lost", "third-step-lost", "third-step-ignored",
    "slow-server", "slow-client", "slow-path", "probe", "one-sided", "still-open", "reset-after-close", "orderly",
)  # fmt: skip
"""Values of `diagnosis` (rule D8), the most harmful first."""

HARMLESS = ("probe", "one-sided", "still-open", "reset-after-close", "orderly")
"""Values of `diagnosis` that are no reason to worry."""

SUSPECTS = (*SENDERS, "path-to-client", "path-to-server", "path", "capture")
"""Values of `suspect`: where to look for the cause (rules D)."""

ANOMALIES = (
    "syn-retransmission",
    "syn-ack-retransmission",
    "fin-retransmission",
    "connection-refused",
    "unreachable",
    "handshake-aborted",
    "simultaneous-open",
    "simultaneous-close",
    "syn-with-data",
    "half-close-data",
    "data-after-fin",
    "rst-after-fin",
    "segment-after-close",
    "port-reuse",
    "ack-mismatch",
    "invalid-flags",
    "syn-on-established",
    "duplicate",
    "rst-ignored",
    "challenge-ack",
    "seq-mismatch",
    "ack-beyond-sent",
    "old-connection",
)
"""Names of anomalies in the order of the specification's table (rules A)."""

RETRANSMISSIONS = ANOMALIES[:3]
"""Anomalies of a segment that its sender repeated (rule A3)."""

BENIGN_ANOMALIES = frozenset(
    {
        "simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data", "port-reuse", "duplicate",
        "ack-beyond-sent", "rst-after-fin", "challenge-ack",
    }
)  # fmt: skip
"""Anomalies that are rare but allowed; every other one points at a problem."""
