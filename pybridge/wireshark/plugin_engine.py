# SPDX-License-Identifier: GPL-2.0-or-later
"""The `plugin` engine: read the annotations of the Lua plugin from its fields.

The plugin judges; this engine does not. The row of a connection comes from three sources:

- fields of the plugin that say it directly (`ON_CONNECTIONS`, and the states);
- sums of the plugin's annotations of segments: handshake and response times, retransmissions, anomalies;
- the Python annotator, run on the same headers: the columns `FROM_HEADERS`, for which the plugin has no fields.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pybridge.errors import PluginError
from pybridge.tcp.annotator import Annotator
from pybridge.tcp.model import Annotation, ConnectionRow, NetworkError, Segment
from pybridge.tcp.vocabulary import ANOMALIES, RETRANSMISSIONS
from pybridge.wireshark.capture_source import CaptureSource
from pybridge.wireshark.columns import read_columns
from pybridge.wireshark.fields import FIELDS as HEADER_FIELDS
from pybridge.wireshark.fields import nanoseconds
from pybridge.wireshark.packets import read_packets
from pybridge.wireshark.process import PLUGIN_PROTOCOL

if TYPE_CHECKING:
    import pyarrow as pa
    from pyshark.packet.packet import Packet

ON_SEGMENTS = Annotation._fields
"""Fields of the plugin that annotate a segment."""

ON_CONNECTIONS = (
    "stream",
    "establishment",
    "termination",
    "closed_by",
    "reset_by",
    "conn_state",
    "history",
    "teardown_time",
    "client_mss",
    "server_mss",
    "client_window_scale",
    "server_window_scale",
    "client_fast_open",
    "server_fast_open",
    "sack_permitted",
    "timestamps",
    "ecn",
    "diagnosis",
    "suspect",
    "evidence",
    "retransmission_delay",
)
"""Fields of the plugin that describe the connection so far."""

FROM_HEADERS = (
    *("start", "duration", "client_segments", "server_segments", "client_bytes", "server_bytes"),
    *("client_isn", "server_isn", "completeness", "captured", "client_last_seen", "server_last_seen"),
    *("client_from", "idle_before_end", "client_unacknowledged", "server_unacknowledged", "still_waiting"),
)
"""Columns of `connections` that Python works out from the raw headers in both engines (rules C2, C3, C11, C15, C18 to C23)."""

AT_THE_END = ("server-silent", "peer-vanished", "close-not-finished")
"""Values of `diagnosis` that show only at the end of the capture, which the plugin does not know in one pass at a connection's
last segment: Python's count there (rule D8)."""

_PREFIX = f"{PLUGIN_PROTOCOL}."
_ERROR = "_ws.lua.error"
FIELDS = (*HEADER_FIELDS, *(_PREFIX + name for name in (*ON_SEGMENTS, *ON_CONNECTIONS)), _ERROR)


class PluginEngine:
    """Reads annotations from tshark with the plugin loaded.

    Parameters
    ----------
    plugin : Path
        The Lua file.
    two_passes : bool
        Dissect twice, as Wireshark does when a packet is selected.
    """

    def __init__(self, plugin: Path, *, two_passes: bool = False) -> None:
        self._plugin = plugin
        self._two_passes = two_passes
        self._annotator = Annotator()
        self._totals: dict[int, _StreamTotals] = {}

    def annotate(self, source: CaptureSource) -> Generator[list[tuple[Segment, Annotation]]]:
        """Yield blocks of segments with their annotations, in order, as tshark delivers them.

        Raises
        ------
        PluginError
            The plugin was not loaded, failed, or left a segment without annotation.
        """
        yield from self.blocks(source, read_columns(source, FIELDS, plugin=self._plugin, two_passes=self._two_passes))

    def blocks(self, source: CaptureSource, batches: Iterable[pa.RecordBatch]) -> Generator[list[tuple[Segment, Annotation]]]:
        """Yield a block for each batch with the columns `FIELDS`; raise as `annotate`."""
        for batch in batches:
            yield list(self._block(source, batch))

    def rows(self) -> list[ConnectionRow]:
        """Return the rows of the connections that were annotated so far, by stream."""
        return [self._totals[row.stream].row(row, two_passes=self._two_passes) for row in self._annotator.rows()]

    def _block(self, source: CaptureSource, batch: pa.RecordBatch) -> Iterator[tuple[Segment, Annotation]]:
        from pybridge.wireshark import segments

        for error, frame in zip(batch.column(_ERROR).to_pylist(), batch.column("frame.number").to_pylist(), strict=True):
            if error:
                raise PluginError(f"The plugin failed on frame {frame}: {error}")
        fields = {int(row["frame.number"] or 0): row for row in _rows(batch)}
        events: dict[int, list[Segment | NetworkError]] = {}
        for event in segments.events(batch):
            events.setdefault(event.frame, []).append(event)
        several = [frame for frame, found in events.items() if len(found) > 1]
        layers = self._layers(source, several) if several else {}
        for frame, found in events.items():
            values = layers[frame] if frame in layers else [fields[frame]]
            if len(values) != len(found):
                raise PluginError(f"The plugin annotated {len(values)} of {len(found)} segments of frame {frame}.")
            for event, value in zip(found, values, strict=True):
                if isinstance(event, NetworkError):
                    self._annotator.network_error(*event)
                    self._network_error(value)
                    continue
                self._annotator.segment(*event)
                annotation = _annotation(value)
                self._totals.setdefault(event.stream, _StreamTotals()).add(event, annotation, value)
                yield event, annotation

    def _network_error(self, value: Mapping[str, str | None]) -> None:
        stream = value.get("stream")
        if value.get("anomaly") and stream:
            self._totals.setdefault(int(stream), _StreamTotals()).note_latest(value)

    def _layers(self, source: CaptureSource, frames: list[int]) -> dict[int, list[dict[str, str | None]]]:
        """Return the plugin's fields for each segment of frames with several: columns join them, the protocol tree does not."""
        chosen = ", ".join(map(str, frames))
        packets = read_packets(source, f"frame.number in {{{chosen}}}", plugin=self._plugin, last=max(frames))
        return {int(packet.number): _trees(packet) for packet in packets}


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, str | None]]:
    names = [name.removeprefix(_PREFIX) for name in FIELDS]
    for values in zip(*(batch.column(name).to_pylist() for name in FIELDS), strict=True):
        yield dict(zip(names, values, strict=True))


def _trees(packet: Packet) -> list[dict[str, str | None]]:
    found = []
    for layer in packet.layers:
        if layer.layer_name == PLUGIN_PROTOCOL:
            values = {
                name.removeprefix(_PREFIX): ",".join(item.show or "" for item in container.all_fields)
                for name, container in layer._all_fields.items()
                if name.startswith(_PREFIX)
            }
            found.append({name: values.get(name) for name in (*ON_SEGMENTS, *ON_CONNECTIONS)})
    return found


def _annotation(value: Mapping[str, str | None]) -> Annotation:
    sender, client_state, server_state = value["sender"], value["client_state"], value["server_state"]
    if not (sender and client_state and server_state):
        raise PluginError(f"The plugin left a segment of frame {value.get('frame.number')} without annotation.")
    return Annotation(
        sender=sender,
        role=_joined(value["role"]),
        handshake_step=_integer(value["handshake_step"]),
        teardown_step=_joined(value["teardown_step"]),
        client_state=client_state,
        server_state=server_state,
        retransmission=bool(_boolean(value["retransmission"])),
        responds_to=_integer(value["responds_to"]),
        response_time=_duration(value["response_time"]),
        handshake_time=_duration(value["handshake_time"]),
        anomaly=_joined(value["anomaly"]),
    )


def _joined(text: str | None) -> str | None:
    return text.replace(",", "+") if text else None


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _boolean(text: str | None) -> bool | None:
    return text in ("1", "True", "true") if text else None


def _duration(text: str | None) -> int | None:
    return nanoseconds(text) if text else None


@dataclass(slots=True)
class _StreamTotals:
    """What the plugin says of one stream, segment by segment."""

    ends: list[tuple[str, int]] = field(default_factory=list)  # A and B (G5); what follows goes by their index
    offers: dict[int, tuple[int | None, int | None, str | None]] = field(default_factory=dict)
    client: int = 0
    latest: Mapping[str, str | None] = field(default_factory=dict)
    settled: tuple[bool | None, bool | None, str | None] = (None, None, None)
    handshake_time: int | None = None
    server_response_time: int | None = None
    client_response_time: int | None = None
    retransmission_delay: int | None = None
    teardown_time: int | None = None
    anomalies: list[str] = field(default_factory=list)

    def add(self, segment: Segment, annotation: Annotation, value: Mapping[str, str | None]) -> None:
        source, destination = (segment.source, segment.source_port), (segment.destination, segment.destination_port)
        if not self.ends:
            self.ends = [source, destination]
        (address, port), (_, other_port) = self.ends
        end = 0 if segment.source_port == port and (port != other_port or segment.source == address) else 1  # G5
        self.client = end if annotation.sender == "client" else 1 - end
        roles = (annotation.role or "").split("+")
        if "SYN" in roles or "SYN-ACK" in roles:
            side = annotation.sender
            mss, window_scale = _integer(value[f"{side}_mss"]), _integer(value[f"{side}_window_scale"])
            self.offers[end] = (mss, window_scale, value[f"{side}_fast_open"])
            self.settled = (_boolean(value["sack_permitted"]), _boolean(value["timestamps"]), value["ecn"])
            if "SYN-ACK" in roles and side == "server" and self.server_response_time is None:
                self.server_response_time = annotation.response_time
        if "HANDSHAKE-ACK" in roles:
            if annotation.sender == "client" and self.client_response_time is None:
                self.client_response_time = annotation.response_time
            if self.handshake_time is None and annotation.handshake_time is not None:
                self.handshake_time = annotation.handshake_time
                self.retransmission_delay = _duration(value["retransmission_delay"])
        if value["teardown_time"]:
            self.teardown_time = _duration(value["teardown_time"])
        self.note_latest(value)

    def note_latest(self, value: Mapping[str, str | None]) -> None:
        """Keep the plugin's latest fields about the connection, and add an anomaly."""
        self.latest = value
        self.anomalies += (value["anomaly"] or "").split(",")

    def row(self, annotated: ConnectionRow, *, two_passes: bool) -> ConnectionRow:
        """Return the Python annotator's row with everything that the plugin says in its place (rules C1 to C16)."""
        client, server = self.client, 1 - self.client
        unknown = (None, None, None)
        client_mss, client_window_scale, client_fast_open = self.offers.get(client, unknown)
        server_mss, server_window_scale, server_fast_open = self.offers.get(server, unknown)
        latest = self.latest
        if annotated.diagnosis in AT_THE_END and not two_passes:
            why = (annotated.diagnosis, annotated.suspect, annotated.evidence)
        else:
            why = (latest["diagnosis"] or "", latest["suspect"], latest["evidence"])
        return replace(
            annotated,
            diagnosis=why[0],
            suspect=why[1],
            evidence=why[2],
            client=self.ends[client][0],
            client_port=self.ends[client][1],
            server=self.ends[server][0],
            server_port=self.ends[server][1],
            establishment=latest["establishment"] or "",
            termination=latest["termination"] or "",
            closed_by=latest["closed_by"],
            reset_by=latest["reset_by"],
            client_state=latest["client_state"] or "",
            server_state=latest["server_state"] or "",
            handshake_time=self.handshake_time,
            server_response_time=self.server_response_time,
            client_response_time=self.client_response_time,
            retransmission_delay=self.retransmission_delay,
            teardown_time=self.teardown_time,
            client_mss=client_mss,
            server_mss=server_mss,
            client_window_scale=client_window_scale,
            server_window_scale=server_window_scale,
            client_fast_open=client_fast_open,
            server_fast_open=server_fast_open,
            sack_permitted=self.settled[0],
            timestamps=self.settled[1],
            ecn=self.settled[2],
            syn_retransmissions=self.anomalies.count(RETRANSMISSIONS[0]),
            syn_ack_retransmissions=self.anomalies.count(RETRANSMISSIONS[1]),
            fin_retransmissions=self.anomalies.count(RETRANSMISSIONS[2]),
            conn_state=latest["conn_state"] or "",
            history=latest["history"],
            anomalies="+".join(name for name in ANOMALIES if name in self.anomalies) or None,
        )
