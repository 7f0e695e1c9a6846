# SPDX-License-Identifier: GPL-2.0-or-later
"""What the values of the tables mean: one sentence for each, for people. `chinese` has their translations."""

ESTABLISHMENT = {
    "complete": "Opened; all three steps of the handshake were captured.",
    "simultaneous": "Opened; both ends sent a SYN before the other's arrived (rare, but allowed).",
    "partial": "Opened, but part of the handshake is missing: only one direction was captured, or packets were lost at "
    "the point of capture.",
    "refused": "The server answered the SYN with a reset: usually nothing listens on that port, or a firewall rejects "
    "instead of dropping.",
    "unreachable": "The SYN was answered with an ICMP error: there is no route, the host is down, or a firewall rejects.",
    "unanswered": "No answer to the SYN was captured: usually a firewall drops it, the host is down, or the way back "
    "does not work.",
    "still-waiting": "The SYN was sent less than 10 s before the capture ends, and had not been answered yet.",
    "invalid-answer": "Every answer to the SYN was one that its sender must not accept: an end still holds an older connection, "
    "or a device on the path interferes.",
    "aborted": "A reset ended the handshake before the connection was open: usually the client gave up, a port scan, "
    "or a device on the path that interferes.",
    "half-open": "The server answered, but no third step that it accepts was captured: the client is gone, the answer does not "
    "reach it, or its address was forged (SYN flood).",
    "not-captured": "The opening is not in the capture: usually the connection was open before the capture began.",
}
"""What each value of `establishment` means, and `still-waiting` (rules C4, C23)."""

TERMINATION = {
    "four-way": "Both ends closed with a FIN and both FINs were acknowledged.",
    "three-way": "Both ends closed; the second FIN carried the acknowledgement of the first, which saves a segment.",
    "simultaneous": "Both ends sent a FIN before the other's arrived.",
    "reset": "A reset ended the connection: usually an application that closes with unread data, crashes or times "
    "out, or a device on the path.",
    "unacknowledged": "Both ends sent a FIN, but not both were acknowledged in the capture.",
    "half-closed": "The capture holds the FIN of one end only: the other was still open, or was not captured.",
    "none": "No close was captured: the connection was still open or idle, or the capture stopped first.",
}
"""What each value of `termination` means."""

ANOMALIES = {
    "syn-retransmission": "A SYN was sent again because no answer came in time: the SYN or its answer was lost or "
    "dropped by a firewall.",
    "syn-ack-retransmission": "The server repeated its SYN-ACK: the client's third step, or the SYN-ACK itself, was lost.",
    "fin-retransmission": "A FIN was sent again because its acknowledgement did not come: one of the two was lost, or the other "
    "end is already gone.",
    "connection-refused": "A reset answered the SYN: usually nothing listens on that port, or a firewall rejects.",
    "unreachable": "An ICMP error answered the SYN: there is no route, the host is down, or a firewall rejects.",
    "handshake-aborted": "A reset came before the handshake was complete: a client that gave up, a port scan, or a "
    "device on the path.",
    "simultaneous-open": "Both ends sent a SYN before the other's arrived; allowed, seen with hole punching (peer to peer).",
    "simultaneous-close": "Both ends sent a FIN before the other's arrived; allowed, usually two applications that "
    "finish at the same time.",
    "syn-with-data": "A SYN or SYN-ACK carries data: usually TCP Fast Open.",
    "half-close-data": "An end still sends data after the other has closed its direction; allowed, usually the rest of an "
    "answer.",
    "data-after-fin": "A segment carries new data beyond its own sender's FIN: a faulty TCP implementation, or injected data.",
    "rst-after-fin": "A reset came after a FIN: usually an application closed without reading data that still arrived.",
    "segment-after-close": "A segment with something new came after the connection was over: its sender does not know of the "
    "close.",
    "port-reuse": "A client opened a new connection from the same port as an earlier one; allowed, but the server may "
    "refuse it while it still remembers the earlier one.",
    "ack-mismatch": "An answer to a SYN acknowledges a wrong number: an end still holds an old connection, or a device on "
    "the path rewrites numbers.",
    "invalid-flags": "A segment has a combination of flags that TCP never sends: usually a port scan or a faulty device.",
    "syn-on-established": "A SYN or SYN-ACK came on a live connection: an end has restarted, or the segment is old or forged.",
    "duplicate": "The capture holds the same segment twice, as behind a mirror port: it was not sent again.",
    "rst-ignored": "The receiver must not accept this reset: its sequence number is not the next one, or it answers a SYN "
    "without acknowledging it. Its sender no longer knows the connection, or it is forged.",
    "challenge-ack": "An end answers a segment that it must not accept: it still holds the connection, or an older one.",
    "seq-mismatch": "A sequence number is so far off that no window can hold it: an old, forged or broken segment.",
    "ack-beyond-sent": "A FIN acknowledges data that the capture does not hold: packets are missing from the capture, or the "
    "segment is forged.",
    "old-connection": "A segment has the numbers of an older connection between the same ends, which is still alive.",
}
"""What each anomaly means, and its usual causes."""

DIAGNOSIS = {
    "server-silent": "No answer to any SYN was captured: a firewall drops it, the server is down or its accept queue is full, "
    "or no way leads back.",
    "port-closed": "A reset refused the SYN: nothing listens on that port, or a firewall answers in the server's name.",
    "filtered": "A filter rejected the SYN: an ICMP error says so, or the reset came from another device than the server.",
    "host-unreachable": "The network reports that it cannot deliver the SYN: there is no route, or the host is down.",
    "invalid-answer": "An answer in the handshake was one that no stack should send, and was not accepted: look for a device "
    "that answers in an end's name, or changes numbers.",
    "old-connection-held": "The server answered the SYN from an older connection that it still held: the client restarted, or "
    "used the port again too early.",
    "one-sided": "The capture holds the segments of one end only, so that no more can be said; if the other evidently spoke, "
    "look at the point of capture.",
    "injected-reset": "A reset was not its end's own: it was survived, came over another number of hops, or its number was "
    "guessed. Somebody else sends resets in its name.",
    "no-such-connection": "An end answered by a reset because it did not know the connection any more: it restarted, or a device "
    "on the path forgot the connection.",
    "application-abort": "An application ended the connection by a reset instead of a FIN, while it could have gone on.",
    "reset-with-unread-data": "An application closed before it had read everything that its peer sent; the rest is lost.",
    "idle-timeout": "After a long silence an end, or a device on the path, had given the connection up, and reset it.",
    "peer-vanished": "One end repeated its segments in vain: the other is gone, or the path is cut.",
    "close-not-finished": "One end closed, and the other had not when the capture ended, at least 10 s later: if it never does, "
    "its application leaks connections.",
    "syn-lost": "The SYN was lost, or the server dropped it, so that the opening waited for its repetition.",
    "syn-ack-lost": "The server's answer did not reach the client in time, or it dropped it, so that the opening waited for a "
    "repetition.",
    "third-step-lost": "The client's third step came late or was lost on its way, so that the server repeated its answer.",
    "third-step-ignored": "The server repeated its answer although the third step was on its way: its accept queue is full, it "
    "waits for data (deferred accept), or the step was lost behind the point of capture.",
    "slow-server": "The handshake was slow on the server's side of the point of capture.",
    "slow-client": "The handshake was slow on the client's side of the point of capture.",
    "slow-path": "The handshake was slow on both sides of the point of capture.",
    "probe": "The client aborted the connection without having sent anything: a scan or a health check.",
    "still-open": "Open when the capture ended, or still waiting for an answer.",
    "reset-after-close": "A reset came when both directions had been closed or given up: harmless.",
    "orderly": "Both ends closed as they should.",
}
"""What each value of `diagnosis` means (rule D8)."""

RESETS = {
    "mid-connection": "in mid-connection",
    "while-closing": "while closing",
    "after-close": "after the close (harmless)",
}
"""When a reset came, by its class (`tables.peers.RESETS`)."""

PROBLEM_MARK = "▲"
"""Before an anomaly that points at a problem, and before a failure."""

BENIGN_MARK = "△"
"""Before an anomaly that is rare but allowed."""
