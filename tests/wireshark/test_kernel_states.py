# SPDX-License-Identifier: GPL-2.0-or-later
"""The annotated states are those of the Linux kernel's own sockets: pcaps/real/README.md."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import pybridge
from pybridge.wireshark.installation import tshark_version
from tools.goldens.expected import OTHER_STREAMS
from tools.lab import scenarios
from tools.lab.lab import Moment, load

NAMES = list(scenarios.SCENARIOS)
MOMENTS = [(name, moment) for name in NAMES for moment in load(scenarios.REAL / f"{name}.states")]
VERDICTS = {  # establishment, termination, closed_by of each connection
    "client-closes": ["complete four-way client"],
    "client-closes-ipv6": ["complete four-way client"],
    "server-closes": ["complete four-way server"],
    "server-closes-ipv6": ["complete four-way server"],
    "half-close-data": ["complete four-way client"],
    "half-close-data-ipv6": ["complete four-way client"],
    "slow-motion": ["complete four-way client"],
    "slow-motion-ipv6": ["complete four-way client"],
    "three-way-close": ["complete three-way client"],
    "simultaneous-close": ["complete simultaneous both"],
    "simultaneous-close-closing": ["complete simultaneous both"],
    "simultaneous-open": ["simultaneous four-way client"],
    "simultaneous-open-ipv6": ["simultaneous four-way client"],
    "refused": ["refused reset server"],
    "refused-ipv6": ["refused reset server"],
    "unanswered": ["unanswered none -"],
    "icmp-unreachable": ["unreachable none -"],
    "icmp-address-unreachable-ipv6": ["unreachable none -"],
    "icmp-prohibited": ["unreachable none -"],
    "icmp-prohibited-ipv6": ["unreachable none -"],
    "icmp-during-connect": ["complete none -"],
    "icmp-on-open-connection": ["complete none -"],
    "connect-scan": ["complete reset client", "refused reset server", "unanswered none -", "unreachable none -"],
    "syn-scan": ["aborted reset client", "refused reset server"],
    "client-gives-up": ["aborted reset client"],
    "syn-lost": ["complete none -"],
    "syn-ack-lost": ["complete none -"],
    "syn-ack-lost-ipv6": ["complete none -"],
    "third-ack-lost": ["complete none -"],
    "third-ack-lost-ipv6": ["complete none -"],
    "third-ack-lost-then-data": ["complete none -"],
    "fin-lost": ["complete four-way client"],
    "fin-lost-ipv6": ["complete four-way client"],
    "ack-of-fin-lost": ["complete four-way client"],
    "merged-fin-lost": ["complete three-way client"],
    "last-ack-lost": ["complete four-way client"],
    "last-ack-lost-ipv6": ["complete four-way client"],
    "reset-by-client": ["complete reset client"],
    "reset-by-client-ipv6": ["complete reset client"],
    "reset-by-server": ["complete reset server"],
    "reset-with-unread-data": ["complete reset server"],
    "reset-in-half-close": ["complete reset client"],
    "data-to-closed-client": ["complete reset client"],
    "listener-closes": ["complete reset server"],
    "half-open-server-speaks": ["complete reset client"],
    "half-open-client-opens": ["complete none -", "complete none -"],
    "reset-in-time-wait": ["complete four-way server"],
    "reset-challenged": ["complete none -"],
    "fast-open": ["complete four-way server", "complete four-way client"],
    "fast-open-ipv6": ["complete four-way server", "complete four-way client"],
    "reuse-of-servers-time-wait": ["complete four-way server", "complete none -"],
    "reuse-of-clients-time-wait": ["complete four-way client", "complete none -"],
    "keep-alive": ["complete none -"],
    "full-accept-queue": ["complete none -", "complete none -"],
    "full-accept-queue-third-step": ["complete none -", "complete none -"],
    "reset-in-syn-sent": ["refused reset server"],
    "reset-in-syn-received": ["aborted reset client"],
    "reset-in-syn-received-inside": ["complete none -"],
    "reset-in-simultaneous-open": ["aborted reset client"],
    "reset-in-established": ["complete reset client"],
    "reset-in-established-ipv6": ["complete reset client"],
    "reset-in-established-of-client": ["complete reset server"],
    "reset-in-fin-wait-1": ["complete reset server"],
    "reset-in-fin-wait-2": ["complete reset server"],
    "reset-in-fin-wait-2-ipv6": ["complete reset server"],
    "reset-in-fin-wait-2-closed": ["complete half-closed server"],
    "reset-in-close-wait": ["complete reset client"],
    "reset-in-close-wait-ipv6": ["complete reset client"],
    "reset-in-closing": ["complete reset both"],
    "reset-in-last-ack": ["complete reset client"],
    "reset-in-time-wait-ignored": ["complete four-way server"],
    "reset-at-number-of-fin": [  # R5: Linux is reset in all but the second
        "complete half-closed client",
        "complete four-way server",
        "complete unacknowledged client",
        "complete unacknowledged both",
    ],
    "reset-beyond-gap": ["complete none -"],  # R5: Linux is reset
    "reset-before-gap": ["complete reset client"],
    "reset-with-old-number": ["complete reset client"],
    "stray-syn": ["complete none -", "unanswered none -"],
    "stray-syn-then-close": ["complete none -", "unanswered none -"],
    "late-syn": ["complete none -"],
    "late-syn-ack": ["complete none -"],
    "late-syn-ack-ipv6": ["complete none -"],
    "older-syn-on-time-wait": ["complete four-way server", "complete none -"],
    "wrong-acknowledgements": ["complete four-way client"],
    "fin-acknowledges-too-much": ["complete none -"],
    "fin-acknowledges-too-much-ipv6": ["complete none -"],
    "fin-acknowledges-too-little": ["complete none -"],
    "fin-acknowledges-too-little-ipv6": ["complete none -"],
    "fin-before-window": ["complete none -"],
    "fin-at-old-data": ["complete none -"],
    "fin-beyond-window": ["complete half-closed client"],  # F1: Linux does not accept the FIN
    "syn-fin": ["not-captured none -"],
    "syn-ack-with-fin": ["complete none -"],
    "fin-in-syn-sent": ["complete none -"],
    "ack-in-syn-sent": ["complete none -"],
    "syn-fin-in-syn-sent": ["half-open none -"],
    "deferred-accept": ["complete none -"],
    "syn-cookies": ["complete four-way client"],
    "syn-cookies-ipv6": ["complete four-way client"],
    "wrong-third-step": ["aborted reset server"],
    "wrong-third-step-near": ["aborted reset server"],
    "syn-cookie-data": ["complete none -"],
    "abort-on-overflow": ["complete reset server", "complete none -"],
    "syn-cookie-wrong": ["aborted reset server"],
    "fast-open-refused": ["complete three-way client", "complete four-way client"],
    "fast-open-overtaken": ["complete none -", "complete none -"],
    "fin-before-data-lost": ["complete four-way client"],
    "fin-before-data-lost-ipv6": ["complete four-way client"],
    "fin-overtakes-data": ["complete four-way client"],
    "servers-fin-overtakes-data": ["complete four-way client"],
    "fin-overtakes-acknowledgement": ["complete three-way client"],
    "fin-overtaken-by-acknowledgement": ["complete simultaneous both"],
    "third-step-overtaken-by-fin": ["complete four-way client"],
    "data-and-fin-again": ["complete four-way client"],
    "keep-alive-half-closed": ["complete four-way client"],
    "keep-alive-half-closed-ipv6": ["complete four-way client"],
    "half-open-client-speaks": ["complete reset server"],
    "half-open-client-closes": ["complete reset client"],
    "restart-in-fin-wait-2": ["complete half-closed client", "complete none -"],
    "restart-in-close-wait": ["complete half-closed server", "complete none -"],
    "restart-in-handshake": ["half-open none -", "complete none -"],
    "restart-with-same-number": ["complete none -"],
    "syn-dropped": ["unanswered none -", "refused reset server"],
    "syn-ack-dropped": ["half-open none -", "refused reset server"],
    "syn-ack-dropped-by-router": ["unanswered none -", "refused reset server"],
    "rejected-with-reset": ["refused reset server"],
    "rejected-with-reset-by-router": ["refused reset server"],
    "rejected-by-server": ["unreachable none -"],
    "rejected-by-router": ["unreachable none -"],
    "prohibited-by-router": ["unreachable none -"],
    "host-unreachable-by-router": ["unreachable none -"],
    "network-unreachable-by-router": ["unreachable none -"],
    "wrong-answer": ["invalid-answer none -"],
    "client-vanishes-in-handshake": ["half-open none -"],
    "third-step-lost-unseen": ["complete none -"],
    "deferred-accept-for-long": ["complete none -"],
    "slow-server": ["complete none -"],
    "slow-client": ["complete none -"],
    "slow-path": ["complete none -"],
    "abort-after-reading": ["complete reset server"],
    "abort-after-fin": ["complete reset client"],
    "abort-after-silence": ["complete reset server"],
    "close-wait-leak": ["complete half-closed client", "refused reset server"],
    "peer-gone-probed": ["complete reset client"],
    "peer-gone-with-data": ["complete none -"],
    "firewall-forgets-and-drops": ["complete none -"],
    "firewall-forgets-and-rejects": ["complete reset server"],
    "firewall-forgets-and-rejects-otherwise": ["complete reset server"],
    "restart-after-silence": ["complete reset server"],
    "restart-behind-firewall": ["complete none -", "unanswered none -"],
    "forged-reset": ["complete reset server"],
    "forged-reset-disproved": ["complete reset client"],
    "forged-refusal": ["refused reset server"],
    "answers-another-way": ["partial half-closed client"],
}
SINCE_4_4 = {  # G4: the SYN after a reset, a SYN-ACK after a FIN or with another number begins another stream
    "half-open-client-opens": ["complete none -", "unanswered none -", "complete none -"],
    "reset-in-syn-sent": ["invalid-answer none -", "refused reset server"],
    "older-syn-on-time-wait": ["complete four-way server", "unanswered none -", "complete none -"],
    "fin-in-syn-sent": ["partial half-closed server", "partial half-closed server", "partial none -"],
    "ack-in-syn-sent": ["partial none -", "partial none -"],
    "restart-in-fin-wait-2": ["complete half-closed client", "unanswered none -", "complete none -"],
    "restart-in-close-wait": ["complete half-closed server", "unanswered none -", "complete none -"],
    "restart-in-handshake": ["half-open none -", "unanswered none -", "complete none -"],
    "restart-with-same-number": ["complete reset client", "complete none -"],
    "wrong-answer": ["invalid-answer none -", "invalid-answer none -"],
    "restart-behind-firewall": ["complete none -", "unanswered none -", *["invalid-answer none -"] * 3],
    "forged-refusal": ["refused reset server", "aborted reset client"],
}
EXCEPTIONS = {  # rules that say why the annotation differs from the kernel
    ("icmp-during-connect", 2): ("CLOSED", "LISTEN"),  # N2
    ("full-accept-queue-third-step", 8): ("ESTABLISHED", "ESTABLISHED"),  # X1
    ("abort-on-overflow", 9): ("CLOSED", "CLOSED"),  # X1: the server has ignored the third step that it resets
    ("deferred-accept", 3): ("ESTABLISHED", "ESTABLISHED"),  # X1
    ("syn-cookies", 2): ("ESTABLISHED", "SYN-RECEIVED"),  # X1: the kernel has no socket, but an open that it has answered
    ("syn-cookies-ipv6", 2): ("ESTABLISHED", "SYN-RECEIVED"),  # X1
    ("syn-cookie-data", 2): ("ESTABLISHED", "SYN-RECEIVED"),  # X1
    ("syn-cookie-wrong", 2): ("ESTABLISHED", "SYN-RECEIVED"),  # X1
    ("reset-in-syn-sent", 4): ("SYN-SENT", "LISTEN"),  # X1: whether a port listens shows only when it answers
    ("reset-in-fin-wait-2-closed", 10): ("CLOSE-WAIT", "FIN-WAIT-2"),  # R5: Linux accepts any number in the window there
    ("stray-syn", 9): ("SYN-SENT", "ESTABLISHED"),  # X7: the lab sent the SYN itself, so that the client's socket is the old one
    ("stray-syn", 12): ("SYN-SENT", "ESTABLISHED"),  # X7
    ("stray-syn-then-close", 11): ("SYN-SENT", "ESTABLISHED"),  # X7: what the old connection sends is in the new stream
    ("stray-syn-then-close", 13): ("SYN-SENT", "ESTABLISHED"),  # X7
    ("restart-with-same-number", 9): ("ESTABLISHED", "ESTABLISHED"),  # H3: the SYN could also be an old copy
    ("ack-in-syn-sent", 2): ("ESTABLISHED", "ESTABLISHED"),  # H9.1: a SYN-ACK could be missing from the capture
    ("fin-in-syn-sent", 2): ("CLOSE-WAIT", "FIN-WAIT-1"),  # H9.1
    ("fast-open-overtaken", 5): ("ESTABLISHED", "ESTABLISHED"),  # H9.1
    ("reset-at-number-of-fin", 6): ("CLOSED", "CLOSE-WAIT"),  # R5: Linux accepts the number of a FIN that has arrived, too
    ("reset-at-number-of-fin", 21): ("CLOSED", "LAST-ACK"),  # R5
    ("reset-at-number-of-fin", 28): ("CLOSED", "CLOSING"),  # R5
    ("reset-beyond-gap", 5): ("CLOSED", "ESTABLISHED"),  # R5: Linux accepts the end of what arrived behind a gap, too
    ("fin-beyond-window", 9): ("FIN-WAIT-1", "ESTABLISHED"),  # F1: what is before the FIN could be missing from the capture
    ("fin-beyond-window", 12): ("FIN-WAIT-1", "ESTABLISHED"),  # F1
    ("syn-fin-in-syn-sent", 3): ("SYN-RECEIVED", "SYN-RECEIVED"),  # H8.4: the lab sent the server's SYN itself
    ("syn-cookie-wrong", 4): ("CLOSED", "SYN-RECEIVED"),  # X1
    ("fin-overtaken-by-acknowledgement", 5): ("FIN-WAIT-2", "CLOSE-WAIT"),  # F1: the number that is missing could be data
    ("rejected-with-reset", 2): ("CLOSED", "CLOSED"),  # R3: the firewall's reset could be the server's
    ("rejected-with-reset-by-router", 2): ("CLOSED", "CLOSED"),  # R3
    ("wrong-answer", 6): ("SYN-SENT", "LISTEN"),  # R2: the SYN-ACK that the client rejected is not the one that the server knows
    ("firewall-forgets-and-rejects", 9): ("CLOSED", "CLOSED"),  # R5: the firewall's reset could be the server's
    ("firewall-forgets-and-rejects-otherwise", 9): ("CLOSED", "CLOSED"),  # R5
    ("forged-reset", 8): ("CLOSED", "CLOSED"),  # R5: the third's reset could be the server's
    ("forged-reset-disproved", 8): ("CLOSED", "CLOSED"),  # R5, until R6
    ("answers-another-way", 5): ("FIN-WAIT-1", "CLOSE-WAIT"),  # X1: the server's acknowledgement was not captured
    ("answers-another-way", 6): ("FIN-WAIT-1", "CLOSE-WAIT"),  # X1: nor its FIN
}


@cache
def read(name: str) -> pybridge.Capture:
    return pybridge.read(path(name), progress=False)


def path(name: str) -> Path:
    return scenarios.REAL / f"{name}.pcapng"


def states(name: str, moment: Moment, scratch: Path) -> tuple[str, str]:
    """Return the annotated states of the latest connection between these ends.

    An end that has no part in it yet (`LISTEN`) can have the socket of an older connection: another stream.
    """
    capture = read(name)
    connections, segments = capture.connections, capture.segments
    if moment.frame not in set(segments["frame"]):  # a network error has no row: let the capture end with it (G6)
        shorter = scratch / "shorter.pcapng"
        subprocess.run(["editcap", "-r", path(name), shorter, f"1-{moment.frame}"], check=True, capture_output=True)
        table = pybridge.read(shorter, progress=False).connections
    else:
        table = segments[segments["frame"] <= moment.frame].groupby("stream").last()
    found = []
    for stream in reversed(table.index.tolist()):
        ends, row = connections.loc[stream], table.loc[stream]
        if (end(ends["client"], ends["client_port"]), end(ends["server"], ends["server_port"])) == (moment.client, moment.server):
            found.append((row["client_state"], row["server_state"]))
    client, server = found[0]
    if server == "LISTEN" and len(found) > 1 and found[1][1] != "CLOSED":
        server = found[1][1]
    return client, server


def end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def test_every_scenario_is_captured_and_nothing_else() -> None:
    for ending in ("pcapng", "states"):
        assert sorted(found.stem for found in scenarios.REAL.glob(f"*.{ending}")) == sorted(NAMES)


@pytest.mark.tshark
@pytest.mark.parametrize(("name", "moment"), MOMENTS, ids=[f"{name}-{moment.frame}-{moment.note}" for name, moment in MOMENTS])
def test_the_annotated_states_are_the_kernels(name: str, moment: Moment, tmp_path: Path) -> None:
    expected = EXCEPTIONS.get((name, moment.frame), (moment.client_state, moment.server_state))
    assert states(name, moment, tmp_path) == expected


@pytest.mark.tshark
@pytest.mark.parametrize("name", NAMES)
def test_the_connections_are_what_the_scenario_made_them(name: str) -> None:
    rows = read(name).connections[["establishment", "termination", "closed_by"]].itertuples(index=False)
    found = [" ".join("-" if pd.isna(value) else str(value) for value in row) for row in rows]
    verdicts = VERDICTS | SINCE_4_4 if tshark_version() >= OTHER_STREAMS else VERDICTS
    assert found == verdicts[name]


@pytest.mark.tshark
@pytest.mark.parametrize("name", NAMES)
def test_both_engines_agree(name: str) -> None:
    assert pybridge.verify(path(name), progress=False).empty
