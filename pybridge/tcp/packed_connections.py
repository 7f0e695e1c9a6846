# SPDX-License-Identifier: GPL-2.0-or-later
"""The connections of a capture: those lately seen as objects, all others packed to a few hundred bytes each."""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import starmap
from operator import attrgetter
from typing import Any

from pybridge.tcp.model import Offer
from pybridge.tcp.state import Connection, End, Fin

AWAKE = 4096  # connections; at most twice as many are objects
_ENDS = ("client", "first_fin", "reset_by")  # which of a connection's ends
_CONNECTION = tuple(name for name in Connection.__slots__ if name not in {"a", "b", "plain", *_ENDS})
_END = tuple(name for name in End.__slots__ if name not in {"fin", "offer"})
_connection_values, _end_values, _fin_values = attrgetter(*_CONNECTION), attrgetter(*_END), attrgetter(*Fin.__slots__)


class Store(Mapping[int, Connection]):
    """Connections by stream, in the order in which they were added; `get` and `[]` give an object that may be changed."""

    def __init__(self) -> None:
        self._young: dict[int, Connection] = {}
        self._old: dict[int, Connection] = {}
        self._packed: dict[int, bytes] = {}  # of those that are awake, as they once were

    def add(self, connection: Connection) -> None:
        """Take in the connection of a new stream."""
        self._packed[connection.stream] = b""
        self._awake(connection)

    def __getitem__(self, stream: int) -> Connection:
        found = self._young.get(stream)
        if found is None:
            found = self._old.pop(stream, None) or _unpacked(self._packed[stream])
            self._awake(found)
        return found

    def get(self, stream: int, default: None = None) -> Connection | None:  # type: ignore[override]
        """As `[]`, but None for a stream that is not known."""
        found = self._young.get(stream)
        if found is not None:
            return found
        return self[stream] if stream in self._packed else default

    def each(self) -> Iterator[Connection]:
        """All as they are, by stream, not to be changed: those that are packed stay so."""
        for stream in sorted(self._packed):
            yield self._young.get(stream) or self._old.get(stream) or _unpacked(self._packed[stream])

    def remove(self, stream: int) -> Connection:
        """Forget a connection; returns it as it was."""
        found = self[stream]
        del self._young[stream], self._packed[stream]
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def _awake(self, connection: Connection) -> None:
        if len(self._young) >= AWAKE:
            for stream, idle in self._old.items():
                self._packed[stream] = _packed(idle)
            self._old, self._young = self._young, {}
        self._young[connection.stream] = connection


def _packed(connection: Connection) -> bytes:
    ends = [None if end is None else end is connection.b for end in attrgetter(*_ENDS)(connection)]
    return marshal.dumps((_connection_values(connection), ends, _end(connection.a), _end(connection.b)))


def _end(end: End) -> tuple[Any, ...]:
    return _end_values(end), end.offer and tuple(end.offer), end.fin and _fin_values(end.fin)


def _unpacked(data: bytes) -> Connection:
    values, ends, *both = marshal.loads(data)  # noqa: S302 - by nobody but `_packed`
    connection: Connection = _restored(Connection, _CONNECTION, values)
    connection.a, connection.b = (_restored_end(*parts) for parts in both)
    for name, is_b in zip(_ENDS, ends, strict=True):
        setattr(connection, name, None if is_b is None else connection.b if is_b else connection.a)
    connection.update_plain()
    return connection


def _restored_end(values: tuple[Any, ...], offer: tuple[Any, ...] | None, fin: tuple[Any, ...] | None) -> End:
    end: End = _restored(End, _END, values)
    end.offer = Offer(*offer) if offer else None
    end.fin = _restored(Fin, Fin.__slots__, fin) if fin else None
    return end


def _restored(kind: type[Any], names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    made = object.__new__(kind)
    deque(starmap(partial(setattr, made), zip(names, values, strict=True)), maxlen=0)
    return made
