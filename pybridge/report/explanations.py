# SPDX-License-Identifier: GPL-2.0-or-later
"""What the values of the tables mean, one sentence each for people."""

ESTABLISHMENT = {
    "complete": "Opened; all three steps of the handshake were captured.",
    "simultaneous": "Opened; both ends sent a SYN at the same time (rare, but allowed).",
    "partial": "Opened, but part of the handshake is missing: only one direction was captured, or packets were lost at "
    "the point of capture.",
    "refused": "The server answered the SYN with a reset: usually nothing listens on that port, or a firewall rejects "
    "instead of dropping.",
    "unreachable": "The SYN was answered with an ICMP error: there is no route, the host is down, or a firewall rejects.",
    "unanswered": "No valid answer to the SYN was captured: usually a firewall drops it, the host is down, or the way back "
    "is broken.",
    "aborted": "A reset ended the handshake before the connection was open: usually the client gave up, a port scan, "
    "or a device between that interferes.",
    "half-open": "The server answered but the third step never came: the client is gone, the answer does not reach "
    "it, or its address was forged (SYN flood).",
    "not-captured": "The opening is not in the capture: usually the connection was open before the capture began.",
}
"""What each value of `establishment` means, one sentence for humans."""

TERMINATION = {
    "four-way": "Both ends closed with a FIN and both FINs were acknowledged.",
    "three-way": "Both ends closed; the second FIN carried the acknowledgement of the first, which saves a segment.",
    "simultaneous": "Both ends sent a FIN before either had heard of the other's.",
    "reset": "A reset ended the connection: usually an application that closes with unread data, crashes or times "
    "out, or a device between.",
    "unacknowledged": "Both ends sent a FIN but not both were acknowledged in the capture.",
    "half-closed": "Only one end sent a FIN: the other was still open when the capture ended.",
    "none": "No end of the connection was captured: it was still open, idle, or the capture stopped first.",
}
"""What each value of `termination` means."""

ANOMALIES = {
    "syn-retransmission": "A SYN was sent again because no answer came in time: the SYN or its answer was lost or "
    "dropped by a firewall.",
    "syn-ack-retransmission": "The server repeated its SYN-ACK: the client's third step, or the SYN-ACK itself, was lost.",
    "fin-retransmission": "A FIN was sent again because its acknowledgement did not come: loss, or the other end is "
    "already gone.",
    "connection-refused": "A reset answered the SYN: usually nothing listens on that port, or a firewall rejects.",
    "unreachable": "An ICMP error answered the SYN: no route, host down, or a firewall rejects.",
    "handshake-aborted": "A reset came before the handshake was complete: a client that gave up, a port scan, or a "
    "device between.",
    "simultaneous-open": "Both ends sent a SYN at the same time; allowed, seen with hole punching (peer to peer).",
    "simultaneous-close": "Both ends sent a FIN before hearing of the other's; allowed, usually two applications that "
    "finish at once.",
    "syn-with-data": "A SYN or SYN-ACK carries data: usually TCP Fast Open.",
    "half-close-data": "An end still sends after the other has closed its direction; allowed, usually the rest of an answer.",
    "data-after-fin": "Data lies beyond the sender's own FIN: a faulty stack, or injected segments.",
    "rst-after-fin": "A reset came after a FIN: usually an application that closed without reading what still arrived.",
    "segment-after-close": "A segment came after the connection was over: late, duplicated, or from an end that does not know.",
    "port-reuse": "A client opened a new connection from the same port as an earlier one; allowed, trouble if the "
    "server still remembers the earlier one.",
    "ack-mismatch": "An answer to a SYN acknowledges a wrong number: an old connection still held, or a device between "
    "that rewrites numbers.",
    "invalid-flags": "A combination of flags that TCP never sends: usually a port scan or a faulty device.",
    "syn-on-established": "A SYN or SYN-ACK came on a live connection: an end restarted, or an old or forged segment.",
    "duplicate": "The capture holds the same segment twice, as behind a mirror port: it was not sent again.",
}
"""What each anomaly means and usually comes from."""

BENIGN_ANOMALIES = frozenset(
    {"simultaneous-open", "simultaneous-close", "syn-with-data", "half-close-data", "port-reuse", "duplicate"}
)
"""Anomalies that are rare but allowed; every other one points at a problem."""

PROBLEM_MARK = "▲"
BENIGN_MARK = "△"

OPENED = ("complete", "simultaneous", "partial")
FAILED = ("refused", "unreachable", "unanswered", "aborted", "half-open")
