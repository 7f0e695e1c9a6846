# SPDX-License-Identifier: GPL-2.0-or-later
"""Both state machines behind one interface; no tshark is needed."""

from __future__ import annotations

from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from lupa import lua54

from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Annotation, ConnectionRow, NetworkError, Segment

PLUGIN = Path(__file__).resolve().parent.parent.parent / "plugin" / "tcp_handshake.lua"
SAID = tuple(Annotation._fields)
ON_ROWS = (
    "establishment",
    "termination",
    "closed_by",
    "reset_by",
    "conn_state",
    "history",
    "anomalies",
    "client_state",
    "server_state",
    "client",
    "client_port",
    "server",
    "diagnosis",
    "suspect",
    "evidence",
)
TOLD = (*ON_ROWS, "handshake_time", "teardown_time")

Said = dict[str, Any]
Rows = dict[int, dict[str, Any]]


class PythonMachine:
    """The state machine of the package: `Annotator`."""

    def __init__(self, **options: int) -> None:
        self.annotator = Annotator(**options)

    def take(self, event: Segment | NetworkError) -> Said | None:
        if isinstance(event, Segment):
            return self.annotator.segment(*event)._asdict()
        annotation = self.annotator.network_error(*event)
        return annotation._asdict() | {"sender": None} if annotation else None

    def rows(self) -> dict[int, ConnectionRow]:
        return {row.stream: row for row in self.annotator.rows()}

    def told(self) -> Rows:
        return {stream: {name: getattr(row, name) for name in TOLD} for stream, row in self.rows().items()}


@cache
def compiled_plugin(lua: Any) -> tuple[Any, Any]:
    """Return a Lua runtime and the compiled plugin in it, once: compiling takes longer than a short conversation."""
    runtime = lua.LuaRuntime(unpack_returned_tuples=True)
    return runtime, runtime.compile(PLUGIN.read_text(encoding="utf-8"))


class LuaMachine:
    """The state machine of the plugin in a Lua of `lupa`; every segment is annotated at once."""

    takes = "segment"

    def __init__(self, lua: Any = lua54) -> None:
        self._runtime, plugin = compiled_plugin(lua)
        self._latest = -inf
        self._tracker = plugin().new(None, None, lambda: self._latest)
        self._streams: list[int] = []

    def take(self, event: Segment | NetworkError) -> Said | None:
        tracker = self._tracker
        if isinstance(event, Segment):
            frame, time, stream, *rest, offer, identity, hop_limit = event
            if stream not in self._streams:
                self._streams.append(stream)
            table = self._runtime.table_from(offer._asdict()) if offer else None
            said = tracker[self.takes](tracker, stream, frame, time, *rest, table, identity, hop_limit, self.seconds(time))
        else:
            frame, time, stream_or_none, *ends, (version, kind, code), reporter = event
            unreachable = kind if (version, kind) in ((4, 3), (6, 1)) else None
            said = tracker.network_error(tracker, frame, time, *ends, stream_or_none, unreachable, code, reporter)
        if said is None:
            return None
        values = {name: said[name] for name in SAID} | {"retransmission": bool(said["retransmission"])}
        return values if isinstance(event, Segment) else values | {"sender": None}

    def seconds(self, time: int) -> float:
        """Return the time as the plugin gets it beside the exact one, and remember the latest."""
        seconds = time / 1e9
        self._latest = max(self._latest, seconds)
        return seconds

    def told(self) -> Rows:
        found = {stream: self._tracker.connection(self._tracker, stream) for stream in self._streams}
        return {stream: {name: row[name] for name in TOLD} for stream, row in found.items()}
