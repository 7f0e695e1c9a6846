# SPDX-License-Identifier: GPL-2.0-or-later
"""The diagnosis of a kernel capture is the cause that the lab made (rules D): pcaps/real/README.md.

The expectations say what was done, and were written before any diagnosis was seen.
Where packets cannot tell causes apart, they say what every one of them has in common, and suspect nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pandas as pd
import pytest

import pybridge
from pybridge.wireshark.installation import tshark_version
from tools.goldens.expected import OTHER_STREAMS
from tools.lab.scenarios import REAL


@dataclass(frozen=True)
class Case:
    """A connection that the lab made."""

    capture: str
    stream: int
    diagnosis: str
    suspect: str | None
    done: str


CASES = [
    # an opening that failed
    Case("refused", 0, "port-closed", None, "Nobody listened."),
    Case("refused-ipv6", 0, "port-closed", None, "Nobody listened."),
    Case("rejected-with-reset", 0, "port-closed", None, "The server's own firewall sent a reset."),
    Case("rejected-with-reset-by-router", 0, "port-closed", None, "A router sent a reset in the server's name."),
    Case("rejected-by-server", 0, "filtered", "server", "The server's own firewall sent port unreachable."),
    Case("rejected-by-router", 0, "filtered", "path-to-server", "A router sent port unreachable."),
    Case("prohibited-by-router", 0, "filtered", "path-to-server", "A router sent administratively prohibited."),
    Case("icmp-prohibited", 0, "filtered", "server", "The server's own firewall sent administratively prohibited."),
    Case("icmp-prohibited-ipv6", 0, "filtered", "server", "The server's own firewall sent administratively prohibited."),
    Case("icmp-unreachable", 0, "host-unreachable", None, "Host unreachable came from the server's own address."),
    Case("icmp-address-unreachable-ipv6", 0, "host-unreachable", None, "Address unreachable came from the server's own address."),
    Case("host-unreachable-by-router", 0, "host-unreachable", None, "The server was unplugged from its router."),
    Case("network-unreachable-by-router", 0, "host-unreachable", "path-to-server", "A router had no route."),
    Case("syn-dropped", 0, "server-silent", None, "The server's firewall dropped every SYN."),
    Case("syn-ack-dropped-by-router", 0, "server-silent", None, "A router dropped every SYN-ACK before it was captured."),
    Case("syn-ack-dropped", 0, "syn-ack-lost", None, "The client's firewall dropped every SYN-ACK."),
    Case("unanswered", 0, "still-open", None, "The capture ended soon after the latest of the dropped SYNs."),
    Case("wrong-answer", 0, "invalid-answer", None, "A device on the path changed the SYN-ACK's acknowledgement number."),
    Case("client-vanishes-in-handshake", 0, "peer-vanished", None, "The sender of a SYN never answered the SYN-ACK."),
    Case("forged-refusal", 0, "filtered", "path-to-server", "A third reset the SYN before the server answered."),
    Case("stray-syn", 1, "old-connection-held", None, "A SYN met the connection that was open between these ends."),
    Case("half-open-client-opens", 1, "old-connection-held", None, "Only the client had forgotten its connection."),
    Case("restart-in-fin-wait-2", 1, "old-connection-held", None, "Only the client had forgotten its connection."),
    Case("restart-in-close-wait", 1, "old-connection-held", None, "Only the client had forgotten its connection."),
    Case("older-syn-on-time-wait", 1, "old-connection-held", None, "The SYN had an older number than the server's TIME-WAIT."),
    Case("restart-behind-firewall", 1, "old-connection-held", None, "The server never heard that the client had forgotten."),
    # an opening that waited
    Case("syn-lost", 0, "syn-lost", None, "The first SYN was lost."),
    Case("icmp-during-connect", 0, "syn-lost", None, "A soft error rejected the first SYN."),
    Case("full-accept-queue", 1, "syn-lost", None, "The server dropped two SYNs: its queue was full."),
    Case("syn-ack-lost", 0, "syn-ack-lost", "path-to-client", "The first SYN-ACK was lost behind the point of capture."),
    Case("syn-ack-lost-ipv6", 0, "syn-ack-lost", "path-to-client", "The first SYN-ACK was lost behind the point of capture."),
    Case("third-ack-lost", 0, "third-step-lost", None, "The third step was lost behind the point of capture."),
    Case("third-ack-lost-ipv6", 0, "third-step-lost", None, "The third step was lost behind the point of capture."),
    Case("third-step-lost-unseen", 0, "third-step-lost", None, "The third step was lost before the point of capture."),
    Case("deferred-accept-for-long", 0, "third-step-ignored", None, "The server ignored the third step: it waited for data."),
    Case("full-accept-queue-third-step", 0, "third-step-ignored", None, "One third step was lost, the next ignored."),
    Case("slow-server", 0, "slow-server", None, "The SYN waited for 0.88 s behind the point of capture."),
    Case("slow-client", 0, "slow-client", None, "The third step waited for 0.88 s before the point of capture."),
    Case("slow-path", 0, "slow-path", None, "SYN and third step waited for 0.5 s each."),
    Case("deferred-accept", 0, "still-open", None, "Data came before the server sent its SYN-ACK again."),
    # resets
    Case("reset-by-client", 0, "application-abort", "client", "The client closed with SO_LINGER 0 after the answer."),
    Case("reset-by-client-ipv6", 0, "application-abort", "client", "The client closed with SO_LINGER 0 after the answer."),
    Case("reset-by-server", 0, "application-abort", "server", "The server closed with SO_LINGER 0 after its answer."),
    Case("abort-after-reading", 0, "application-abort", "server", "The server read the question and closed with SO_LINGER 0."),
    Case("listener-closes", 0, "application-abort", "server", "The server stopped listening before it accepted the connection."),
    Case("reset-with-unread-data", 0, "reset-with-unread-data", "server", "The server closed without reading the question."),
    Case("data-to-closed-client", 0, "reset-with-unread-data", "client", "The client closed before the answer came."),
    Case("abort-after-fin", 0, "reset-after-close", None, "The server closed with SO_LINGER 0 after the client's FIN."),
    Case(
        "reset-in-half-close",
        0,
        "reset-after-close",
        None,
        "After the client's FIN the server answered, and closed with SO_LINGER 0.",
    ),
    Case("reset-in-time-wait", 0, "reset-after-close", None, "A reset came when both ends had closed."),
    Case("abort-after-silence", 0, "idle-timeout", None, "The server closed an idle connection with SO_LINGER 0."),
    Case("firewall-forgets-and-rejects", 0, "idle-timeout", None, "A router forgot an idle connection, and sent a reset."),
    Case(
        "firewall-forgets-and-rejects-otherwise",
        0,
        "injected-reset",
        "path",
        "A router forgot an idle connection, and sent a reset with its own hop limit.",
    ),
    Case(
        "restart-after-silence",
        0,
        "no-such-connection",
        None,
        "The server forgot the connection, and was asked a long time later.",
    ),
    Case("half-open-client-speaks", 0, "no-such-connection", None, "The server had forgotten the connection when data came."),
    Case("half-open-client-closes", 0, "no-such-connection", None, "The server had forgotten the connection when the FIN came."),
    Case("half-open-server-speaks", 0, "no-such-connection", None, "The client had forgotten the connection when data came."),
    Case("reset-with-old-number", 0, "no-such-connection", None, "The client had forgotten the connection when data came."),
    Case("abort-on-overflow", 0, "no-such-connection", None, "The server had no room, and reset the third step."),
    Case("syn-cookie-wrong", 0, "no-such-connection", None, "A third step brought back a wrong cookie."),
    Case("connect-scan", 0, "probe", "client", "The client opened and aborted, without data."),
    Case("syn-scan", 0, "probe", "client", "The client reset the SYN-ACK."),
    Case("client-gives-up", 0, "probe", "client", "The client had closed when the SYN-ACK came, and reset it."),
    Case("forged-reset", 0, "injected-reset", "path", "A third sent a reset with another hop limit."),
    Case("forged-reset-disproved", 0, "injected-reset", "path", "A third sent a reset; its alleged sender went on sending."),
    Case("reset-challenged", 0, "injected-reset", "path", "A third sent a reset with a wrong number, which was challenged."),
    Case("reset-in-established", 0, "injected-reset", "path", "A third sent resets with guessed numbers until one was right."),
    Case(
        "reset-in-established-of-client",
        0,
        "injected-reset",
        "path",
        "A third sent resets with guessed numbers until one was right.",
    ),
    # ends that fall silent or do not close
    Case("peer-gone-probed", 0, "peer-vanished", None, "The server was unplugged; the client probed and aborted."),
    Case("peer-gone-with-data", 0, "peer-vanished", None, "The server was unplugged, and the client repeated its data."),
    Case("firewall-forgets-and-drops", 0, "peer-vanished", None, "A router forgot an idle connection, and dropped its data."),
    Case("close-wait-leak", 0, "close-not-finished", "server", "The server never closed after the client's FIN."),
    Case("answers-another-way", 0, "one-sided", "capture", "The server's segments took another way than the captured one."),
    # nothing wrong
    Case("keep-alive", 0, "still-open", None, "The connection was idle, and its probes were answered."),
    Case("client-closes", 0, "orderly", None, "Question, answer, and both closed."),
    Case("simultaneous-close", 0, "orderly", None, "Both closed at once."),
    Case("syn-cookies", 0, "orderly", None, "The server remembered nothing of the SYN, which nobody noticed."),
    Case("reuse-of-servers-time-wait", 0, "orderly", None, "Both closed."),
    Case("reuse-of-servers-time-wait", 1, "still-open", None, "A new connection ended the server's TIME-WAIT."),
    Case("reuse-of-clients-time-wait", 1, "still-open", None, "A new connection ended the client's TIME-WAIT."),
]

EXCEPTIONS = {  # what the diagnosis says instead, and why
    # D6: one repetition after a captured third step is called ignored, although the step can be lost behind the point of capture
    ("third-ack-lost", 0): ("third-step-ignored", None),
    ("third-ack-lost-ipv6", 0): ("third-step-ignored", None),
    # D5: whether the application had read what its kernel acknowledged, no segment tells
    ("abort-after-reading", 0): ("reset-with-unread-data", "server"),
    # D5: the client had shut down its sending side only, and acknowledged the answer: it still read
    ("reset-in-half-close", 0): ("application-abort", "server"),
    # D5: an end that restarted in a long silence resets like one that gave the connection up
    ("restart-after-silence", 0): ("idle-timeout", None),
    # D1, D4: the third sent with the hop limit of the end in whose name it sent, so that nothing shows where it is
    ("forged-reset-disproved", 0): ("injected-reset", None),
    ("reset-challenged", 0): ("injected-reset", None),
    ("reset-in-established", 0): ("injected-reset", None),
    ("reset-in-established-of-client", 0): ("injected-reset", None),
    # D8: another hop limit shows that a third is on the path, and not on which side of the point of capture
    ("forged-refusal", 0): ("filtered", "path"),
    # D5: a server without cookies, which knows the connection, rejects a third step alike
    ("syn-cookie-wrong", 0): ("invalid-answer", None),
}

SINCE_4_4 = {  # G4: a SYN-ACK after the refusal begins another stream, so that nothing in this one contradicts the refusal
    ("forged-refusal", 0): ("port-closed", None),
}


@cache
def connections(capture: str) -> pd.DataFrame:
    return pybridge.read(REAL / f"{capture}.pcapng", progress=False).connections


@pytest.mark.tshark
@pytest.mark.parametrize("case", CASES, ids=[f"{case.capture}-{case.stream}" for case in CASES])
def test_the_diagnosis_is_the_cause_that_the_lab_made(case: Case) -> None:
    row = connections(case.capture).loc[case.stream]
    found = row["diagnosis"], None if pd.isna(row["suspect"]) else row["suspect"]
    exceptions = EXCEPTIONS | SINCE_4_4 if tshark_version() >= OTHER_STREAMS else EXCEPTIONS
    assert found == exceptions.get((case.capture, case.stream), (case.diagnosis, case.suspect)), case.done


def test_every_exception_is_one() -> None:
    expected = {(case.capture, case.stream): (case.diagnosis, case.suspect) for case in CASES}
    assert len(expected) == len(CASES)
    assert not [key for key, found in EXCEPTIONS.items() if expected[key] == found]
