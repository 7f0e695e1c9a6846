# SPDX-License-Identifier: GPL-2.0-or-later
"""Keep recently used connections as objects and serialise the rest (about 600 bytes each), so that memory grows slowly."""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

from pybridge.tcp.model import Offer
from pybridge.tcp.state import Connection, End, Fin

LIVE_OBJECTS = 4096  # connections; at most twice as many are objects at a time
_ENDS = ("client", "reset_by", "first_talker", "talker", "injected_end")  # these refer to one of the connection's two ends
_CONNECTION = tuple(name for name in Connection.__slots__ if name not in {"a", "b", "quiet", *_ENDS})
_END = tuple(name for name in End.__slots__ if name not in {"fin", "offer"})
_connection_values, _end_values, _fin_values = attrgetter(*_CONNECTION), attrgetter(*_END), attrgetter(*Fin.__slots__)


class ConnectionStore(Mapping[int, Connection]):
    """Connections by stream, in the order in which they were added; `get` and `[]` give an object that may be changed.

    Parameters
    ----------
    live_objects : int
        Serialise the least recently used connections beyond this number.
    """

    def __init__(self, live_objects: int = LIVE_OBJECTS) -> None:
        self._live_objects = live_objects
        self._recent: dict[int, Connection] = {}
        self._older: dict[int, Connection] = {}
        self._packed: dict[int, bytes] = {}  # a live connection's entry is out of date

    def add(self, connection: Connection) -> None:
        """Add the connection of a new stream."""
        self._packed[connection.stream] = b""
        self._activate(connection)

    def __getitem__(self, stream: int) -> Connection:
        found = self._recent.get(stream)
        if found is None:
            found = self._older.pop(stream, None) or _unpacked(self._packed[stream])
            self._activate(found)
        return found

    def get(self, stream: int, default: None = None) -> Connection | None:  # type: ignore[override]
        """Return the connection of a stream as `[]` does, or None if the stream is unknown."""
        found = self._recent.get(stream)
        if found is not None:
            return found
        return self[stream] if stream in self._packed else default

    def each(self) -> Iterator[Connection]:
        """Yield all connections by stream, to be read only: serialised ones stay serialised."""
        for stream in sorted(self._packed):
            yield self._recent.get(stream) or self._older.get(stream) or _unpacked(self._packed[stream])

    def remove(self, stream: int) -> Connection:
        """Forget a connection, and return it."""
        found = self[stream]
        del self._recent[stream], self._packed[stream]
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def _activate(self, connection: Connection) -> None:
        """Make a connection one of the recently used; serialise the older half when there are too many objects."""
        if len(self._recent) >= self._live_objects:
            for stream, idle in self._older.items():
                self._packed[stream] = _packed(idle)
            self._older, self._recent = self._recent, {}
        self._recent[connection.stream] = connection


def _packed(connection: Connection) -> bytes:
    ends = [None if end is None else end is connection.b for end in attrgetter(*_ENDS)(connection)]
    return marshal.dumps((_connection_values(connection), ends, _packed_end(connection.a), _packed_end(connection.b)))


def _packed_end(end: End) -> tuple[Any, ...]:
    return _end_values(end), end.offer and tuple(end.offer), end.fin and _fin_values(end.fin)


def _unpacked(data: bytes) -> Connection:
    values, ends, *both = marshal.loads(data)  # noqa: S302 - written by `_packed` alone, never from outside
    connection: Connection = _restored(Connection, _CONNECTION, values)
    connection.a, connection.b = (_unpacked_end(*parts) for parts in both)
    for name, is_b in zip(_ENDS, ends, strict=True):
        setattr(connection, name, None if is_b is None else connection.b if is_b else connection.a)
    connection.update_quiet()
    return connection


def _unpacked_end(values: tuple[Any, ...], offer: tuple[Any, ...] | None, fin: tuple[Any, ...] | None) -> End:
    end: End = _restored(End, _END, values)
    end.offer = Offer(*offer) if offer else None
    end.fin = _restored(Fin, Fin.__slots__, fin) if fin else None
    return end


def _restored(kind: type[Any], names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    restored = object.__new__(kind)
    for name, value in zip(names, values, strict=True):
        setattr(restored, name, value)
    return restored
