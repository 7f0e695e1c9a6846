# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that are missing from the capture, where the tables prove it: the states jump over them, or end before them.

A step counts as missing only if that is certain. An answer that was captured late, or that may lie in a part that is not
drawn, is not missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from pybridge.report.ladder.story import LadderRow, Run, Story
from pybridge.tcp.vocabulary import CLOSING, FIN_WAIT_1, LAST_ACK, SYN_RECEIVED, SYN_SENT, SYNCHRONISED

UNACKNOWLEDGED = frozenset((FIN_WAIT_1, CLOSING, LAST_ACK))
"""States of an end whose FIN has not been acknowledged."""


class Missing(NamedTuple):
    """A step that was not captured, or (`came` is false) that did not come before the capture ended."""

    sender: str
    label: str
    phase: Literal["open", "close"]
    came: bool


def with_missing(story: Story) -> list[LadderRow | Run | Missing]:
    """Return the items of a story, with the missing steps where they belong."""
    items, connection = story.items, story.connection
    rows = [item for item in items if isinstance(item, LadderRow)]
    both_ends_are_one = (connection.client, connection.client_port) == (connection.server, connection.server_port)
    if not rows or both_ends_are_one:  # then the sender of a segment is unknown
        return [*items]
    if any(isinstance(item, Run) and item.hidden for item in items):
        return [*items, *_never_came(story, rows)]
    roles = {(row.sender, role) for row in rows for role in row.roles}
    completed: list[LadderRow | Run | Missing] = []
    if rows[0] is items[0] and "SYN-ACK" in rows[0].roles and (_peer(rows[0].sender), "SYN") not in roles:
        completed.append(Missing(_peer(rows[0].sender), "SYN not captured", "open", came=True))
    completed.append(items[0])
    for before, item in pairwise(items):
        if isinstance(item, LadderRow):
            completed += _jumped(before, item, roles)
        completed.append(item)
    return [*completed, *_never_came(story, rows)]


def _jumped(before: LadderRow | Run, row: LadderRow, roles: set[tuple[str, str]]) -> Iterator[Missing]:
    """Yield the steps without which the states before a segment could not have become those after it."""
    if row.has("SYN") or row.has("RST"):
        return
    for end, earlier, later in (
        ("client", before.client_state, row.client_state),
        ("server", before.server_state, row.server_state),
    ):
        if later not in SYNCHRONISED:
            continue
        peer = _peer(end)
        if earlier == SYN_SENT and not {(peer, "SYN-ACK"), (peer, "SYN")} & roles:  # a split handshake has none
            yield Missing(peer, "SYN-ACK not captured", "open", came=True)
        third_step = (peer, "HANDSHAKE-ACK") in roles or (end, "SYN") in roles  # a simultaneous open has none
        if earlier == SYN_RECEIVED and row.sender == end and not third_step:
            yield Missing(peer, "third step not captured", "open", came=True)


def _never_came(story: Story, rows: list[LadderRow]) -> Iterator[Missing]:
    """Yield the steps that the states at the end of the capture still wait for."""
    states = {"client": story.connection.client_state, "server": story.connection.server_state}
    last = next((row for row in reversed(rows) if row.role), None)
    if last is not None and not _sent_after(story, last):
        if last.role == "SYN" and states[last.sender] == SYN_SENT:
            yield Missing(_peer(last.sender), "no answer to the SYN", "open", came=False)
        if last.role == "SYN-ACK" and story.connection.establishment == "half-open":
            yield Missing(_peer(last.sender), "no third step", "open", came=False)
    for end, state in states.items():
        if state in UNACKNOWLEDGED and story.connection.termination in ("half-closed", "unacknowledged"):
            yield Missing(_peer(end), "no acknowledgement of the FIN", "close", came=False)


def _sent_after(story: Story, last: LadderRow) -> bool:
    """Whether the peer sent anything after a segment."""
    after = story.items[story.items.index(last) + 1 :]
    return any(isinstance(item, Run) or item.sender != last.sender for item in after)


def _peer(end: str) -> str:
    return "server" if end == "client" else "client"
