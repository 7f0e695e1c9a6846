# SPDX-License-Identifier: GPL-2.0-or-later
"""The changes of state that a segment can cause: those of RFC 9293 figure 5, and those of a rule of the specification."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pybridge.tcp.vocabulary import (
    ACK,
    CLOSE_WAIT,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FIN,
    FIN_WAIT_1,
    FIN_WAIT_2,
    LAST_ACK,
    LISTEN,
    RST,
    SYN,
    SYN_RECEIVED,
    SYN_SENT,
    TIME_WAIT,
)

FIGURE_5 = {
    ("sends", "SYN"): {CLOSED: SYN_SENT, LISTEN: SYN_SENT},
    ("sends", "SYN-ACK"): {LISTEN: SYN_RECEIVED, SYN_SENT: SYN_RECEIVED},  # "snd SYN,ACK" belongs to "rcv SYN": X1
    ("sends", "FIN"): {SYN_RECEIVED: FIN_WAIT_1, ESTABLISHED: FIN_WAIT_1, CLOSE_WAIT: LAST_ACK},
    ("receives", "SYN"): {SYN_SENT: SYN_RECEIVED},
    ("receives", "SYN-ACK"): {SYN_SENT: ESTABLISHED},
    ("receives", "ACK"): {SYN_RECEIVED: ESTABLISHED},
    ("receives", "ACK-OF-FIN"): {FIN_WAIT_1: FIN_WAIT_2, CLOSING: TIME_WAIT, LAST_ACK: CLOSED},
    ("receives", "FIN"): {ESTABLISHED: CLOSE_WAIT, FIN_WAIT_1: CLOSING, FIN_WAIT_2: TIME_WAIT},
    ("receives", "RST"): {SYN_RECEIVED: LISTEN},  # note 1; where an RST leads otherwise is not in the figure
}


class Exceptional(NamedTuple):
    """A move that is not in the figure: the rule that makes it, and the shortest conversation that ends with it."""

    rule: str
    part: str
    event: str
    before: str
    after: str
    example: str


BY_RULE = [
    Exceptional(*(cell.strip() for cell in line.split("|")))
    for line in """
    H1   | receives | SYN-ACK | CLOSED       | ESTABLISHED  | S SYN-ACK 300 101
    H1   | sends    | ACK     | CLOSED       | ESTABLISHED  | C ACK 101 301
    H1   | sends    | ACK     | LISTEN       | ESTABLISHED  | S ACK 301 101
    H1   | receives | ACK     | CLOSED       | ESTABLISHED  | S ACK 301 101
    H1   | receives | ACK     | LISTEN       | ESTABLISHED  | C ACK 101 301
    H2   | sends    | SYN     | TIME-WAIT    | SYN-SENT     | C FIN 101 301, S FIN 301 102, C ACK 102 302, C SYN 5100
    H2   | receives | SYN     | TIME-WAIT    | LISTEN       | C FIN 101 301, S FIN 301 102, C ACK 102 302, S SYN 5300
    H2   | receives | SYN     | CLOSED       | LISTEN       | C RST 101, C SYN 100
    H2   | sends    | SYN-ACK | TIME-WAIT    | SYN-RECEIVED | C FIN 101 301, S FIN 301 102, C ACK 102 302, C SYN-ACK 5100 900
    H2   | receives | SYN-ACK | TIME-WAIT    | ESTABLISHED  | C FIN 101 301, S FIN 301 102, C ACK 102 302, S SYN-ACK 5300 900
    H3   | sends    | SYN     | ESTABLISHED  | SYN-SENT     | C SYN 100, S SYN-ACK 300 101, C SYN 100
    H3   | receives | SYN     | CLOSED       | LISTEN       | C SYN 100, S RST 301, C SYN 100
    H5   | sends    | SYN     | LISTEN       | SYN-RECEIVED | C SYN 100, S SYN 300
    H5   | sends    | SYN     | CLOSED       | SYN-RECEIVED | C SYN 100, S RST 301, S SYN 300
    H6   | receives | SYN     | CLOSED       | LISTEN       | C SYN 100, S RST 301, C SYN 5100
    H7   | sends    | SYN     | SYN-RECEIVED | SYN-SENT     | C SYN 100, S SYN-ACK 300 101, S SYN 5300
    H7   | sends    | SYN     | ESTABLISHED  | SYN-SENT     | C SYN 100, S SYN-ACK 300 101, C SYN 5100
    H7   | sends    | SYN     | FIN-WAIT-1   | SYN-SENT     | C FIN 101 301, C SYN 5100
    H7   | sends    | SYN     | FIN-WAIT-2   | SYN-SENT     | C FIN 101 301, S ACK 301 102, C SYN 5100
    H7   | sends    | SYN     | CLOSE-WAIT   | SYN-SENT     | C FIN 101 301, S SYN 5300
    H7   | sends    | SYN     | CLOSING      | SYN-SENT     | C FIN 101 301, S FIN 301 101, C SYN 5100
    H7   | sends    | SYN     | LAST-ACK     | SYN-SENT     | C FIN 101 301, S FIN 301 102, S SYN 5300
    H7   | sends    | SYN     | TIME-WAIT    | SYN-SENT     | C FIN 101 301, S FIN 301 102, C SYN 5100
    H8.1 | sends    | SYN-ACK | ESTABLISHED  | SYN-RECEIVED | S SYN-ACK 300 101, C ACK 101 301, S SYN-ACK 300 101
    H8.3 | sends    | SYN-ACK | CLOSED       | SYN-RECEIVED | C SYN 100, S RST 301, S SYN-ACK 300 101
    H8.3 | sends    | SYN-ACK | ESTABLISHED  | SYN-RECEIVED | C ACK 101 301, S SYN 5300, C SYN-ACK 900 5301
    H9.1 | receives | ACK     | SYN-SENT     | ESTABLISHED  | C SYN 100, S ACK 301 101
    H9.1 | sends    | ACK     | LISTEN       | ESTABLISHED  | C SYN 100, S ACK 301 900000
    H9.4 | sends    | ACK     | SYN-SENT     | ESTABLISHED  | C SYN 100, C ACK 101 301
    H9.4 | receives | ACK     | LISTEN       | ESTABLISHED  | C SYN 100, C ACK 101 301
    H9.5 | sends    | ACK     | SYN-RECEIVED | ESTABLISHED  | C SYN 100, S SYN-ACK 300 101, S ACK 301 101 +5
    T5   | sends    | FIN     | CLOSE-WAIT   | CLOSING      | C FIN 101 301, S FIN 301 101
    T5   | sends    | FIN     | FIN-WAIT-2   | FIN-WAIT-1   | C FIN 101 301, S ACK 301 102, C FIN 101 301
    T5   | sends    | FIN     | TIME-WAIT    | FIN-WAIT-1   | C FIN 101 301, S FIN 301 102, C FIN 101 301
    T5   | sends    | FIN     | CLOSED       | LAST-ACK     | C FIN 101 301, S FIN 301 102, C ACK 102 302, S FIN 301 102
    N2   | receives | error   | SYN-SENT     | CLOSED       | C SYN 100, error
    N3   | sends    | N3      | CLOSED       | SYN-SENT     | C SYN 100, error, C SYN-ACK 999 301
    N3   | receives | N3      | CLOSED       | SYN-SENT     | C SYN 100, error, S RST 301
    R1   | sends    | RST     | LISTEN       | CLOSED       | S RST 301
    R1   | receives | RST     | LISTEN       | CLOSED       | C RST 101
    R5   | sends    | RST     | TIME-WAIT    | CLOSED       | C FIN 101 301, S FIN 301 102, C ACK 102 302, C RST 102
    R5   | receives | RST     | TIME-WAIT    | CLOSED       | C FIN 101 301, S FIN 301 102, C ACK 102 302, S RST 302
    R2   | receives | RST     | ESTABLISHED  | CLOSED       | C SYN 100, S ACK 301 900000, C RST 900000
    R3   | sends    | RST     | LISTEN       | CLOSED       | C SYN 100, S RST 301
    R3   | receives | RST     | SYN-SENT     | CLOSED       | C SYN 100, S RST,ACK 0 101
    R4   | sends    | RST     | SYN-SENT     | CLOSED       | C SYN 100, C RST 101
    R5   | sends    | RST     | SYN-RECEIVED | CLOSED       | C SYN 100, S SYN-ACK 300 101, S RST 301
    R5   | sends    | RST     | ESTABLISHED  | CLOSED       | C SYN 100, S SYN-ACK 300 101, C RST 101
    R5   | receives | RST     | SYN-RECEIVED | CLOSED       | C SYN 100, S SYN 300, C RST 101
    R5   | receives | RST     | ESTABLISHED  | CLOSED       | C SYN 100, S SYN-ACK 300 101, S RST 301
    R5   | sends    | RST     | ESTABLISHED  | CLOSED       | C ACK 101 301, C RST 101
    R5   | sends    | RST     | FIN-WAIT-1   | CLOSED       | C FIN 101 301, C RST 102
    R5   | sends    | RST     | FIN-WAIT-2   | CLOSED       | C FIN 101 301, S ACK 301 102, C RST 102
    R5   | sends    | RST     | CLOSE-WAIT   | CLOSED       | C FIN 101 301, S RST 301
    R5   | sends    | RST     | CLOSING      | CLOSED       | C FIN 101 301, S FIN 301 101, C RST 102
    R5   | sends    | RST     | LAST-ACK     | CLOSED       | C FIN 101 301, S FIN 301 102, S RST 302
    R5   | receives | RST     | ESTABLISHED  | CLOSED       | C ACK 101 301, C RST 101
    R5   | receives | RST     | FIN-WAIT-1   | CLOSED       | C FIN 101 301, S RST 301
    R5   | receives | RST     | FIN-WAIT-2   | CLOSED       | C FIN 101 301, S ACK 301 102, S RST 301
    R5   | receives | RST     | CLOSE-WAIT   | CLOSED       | C FIN 101 301, C RST 102
    R5   | receives | RST     | CLOSING      | CLOSED       | C FIN 101 301, S FIN 301 101, C RST 102
    R5   | receives | RST     | LAST-ACK     | CLOSED       | C FIN 101 301, S FIN 301 102, C RST 102
    """.strip().splitlines()
]  # fmt: skip


def kind(flags: int) -> str:
    """Return the kind of a segment (G7)."""
    if flags & RST:
        return "RST"
    if flags & (SYN | FIN) == SYN | FIN or not flags & (SYN | ACK):
        return "invalid"
    if flags & SYN:
        return "SYN-ACK" if flags & ACK else "SYN"
    return "FIN" if flags & FIN else "ACK"


def events(flags: int, roles: Iterable[str]) -> list[str]:
    """Return the events of figure 5 that one segment stands for, in the order in which they take effect."""
    found = {"SYN-ACK": ["SYN-ACK", "ACK"], "ACK": ["ACK"], "FIN": ["ACK"], "invalid": []}.get(kind(flags), [kind(flags)])
    return found + [role for role in ("ACK-OF-FIN", "FIN") if role in roles]


def reachable(part: str, events: Iterable[str], before: str, by_rule: Iterable[Exceptional] = BY_RULE) -> set[str]:
    """Return the states in which an end can be after these events: the one before, and those that one arrow per event reaches."""
    states = {before}
    for event in events:
        figure = FIGURE_5.get((part, event), {})
        states |= {figure[state] for state in states & figure.keys()}
        states |= {row.after for row in by_rule if (row.part, row.event) == (part, event) and row.before in states}
    return states
