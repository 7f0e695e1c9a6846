# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts by server and by client in bounded memory: what opened, what failed, how long it took, which resets."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from pybridge.live.monitor import Event

STEP = math.log(1.05)
"""Durations are counted in classes that are 5 % wide."""

Key = TypeVar("Key")


@dataclass
class Peer:
    """Counts of the connections of one server with its port, or of one client.

    Attributes
    ----------
    opened : int
    failures : Counter
        By `establishment` (rule C4).
    resets : Counter
        By class: `mid-connection`, `while-closing`, `after-close`.
    resetters : Counter
        By the end that sent the RST, of those that were not harmless.
    unacknowledged : int
        Octets that were not acknowledged at these.
    silence : int
        Nanoseconds: the longest silence before a reset in mid-connection.
    waited : int
        Nanoseconds that openings lost by repeated SYNs and SYN-ACKs (rule C24).
    """

    opened: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    resets: Counter[str] = field(default_factory=Counter)
    resetters: Counter[str] = field(default_factory=Counter)
    unacknowledged: int = 0
    silence: int = 0
    waited: int = 0
    _times: Counter[int] = field(default_factory=Counter)

    @property
    def connections(self) -> int:
        """Number of connections that opened or failed."""
        return self.opened + self.failures.total()

    def count(self, event: Event) -> None:
        """Count an event."""
        if event.what == "opened":
            self.opened += 1
            self.waited += event.waited
            if event.duration is not None:
                self._times[round(math.log(max(event.duration, 1)) / STEP)] += 1
        elif event.what == "failed":
            self.failures[event.reason] += 1
        if event.reset_class:
            self.resets[event.reset_class] += 1
            if event.reset_class != "after-close" and event.reset_by:
                self.resetters[event.reset_by] += 1
                self.unacknowledged += event.unacknowledged
                self.silence = max(self.silence, event.silence)

    def handshake_time(self, share: float) -> int | None:
        """Return a quantile of the handshake times in nanoseconds, to 5 %; None without any."""
        wanted = math.ceil(share * self._times.total())
        for place in sorted(self._times):
            wanted -= self._times[place]
            if wanted <= 0:
                return round(math.exp(place * STEP))
        return None


class Peers(dict[Key, Peer], Generic[Key]):
    """Counts by key; all keys beyond a limit are counted together under `others`."""

    def __init__(self, limit: int, others: Key) -> None:
        super().__init__()
        self._limit = limit
        self._others = others

    def count(self, key: Key, event: Event) -> None:
        """Count an event of the peer with this key."""
        if key not in self and len(self) >= self._limit:
            key = self._others
        self.setdefault(key, Peer()).count(event)
