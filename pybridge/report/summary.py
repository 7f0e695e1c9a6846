# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts behind the verdict: how the connections of a capture opened and closed, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pybridge.report.explanations import ANOMALIES, ESTABLISHMENT, TERMINATION
from pybridge.report.explanations import RESETS as RESET_WORDS
from pybridge.report.findings import NUMBERS_IN_FILTER, Finding, Phrase, findings, of_resets, reset_details
from pybridge.report.language import Translate
from pybridge.tables import frames
from pybridge.tables.peers import RESETS, Side, by_peer, column_of, resets
from pybridge.tcp.vocabulary import BENIGN_ANOMALIES, DIAGNOSES, FAILED, OPENED, STILL_WAITING
from pybridge.text import amount, endpoint, one_of

WERE_OPEN = (*OPENED, "not-captured")
"""Values of `establishment` of connections that were open at some time."""

REPEATED_AFTER = pd.Timedelta("1s")
"""Time after which a SYN without an answer is sent again (RFC 6298, 2.1)."""

SLOWEST_SHOWN = 10
"""Slowest handshakes that are listed."""

EXAMPLES_SHOWN = 5
"""Frames and connections that are named for each anomaly."""


@dataclass(frozen=True)
class SlowHandshake:
    """One of the slowest handshakes; `server_name` is empty if it is not known."""

    stream: int
    client: str
    server: str
    server_name: str
    handshake_time: pd.Timedelta
    server_response_time: pd.Timedelta
    client_response_time: pd.Timedelta
    retransmission_delay: pd.Timedelta


@dataclass(frozen=True)
class Peer:
    """One server with its port, or one client: what its connections came to; `server_name` is empty if there is none."""

    name: str
    server_name: str
    connections: int
    opened: int
    failures: dict[str, int]
    handshake_median: pd.Timedelta
    handshake_p95: pd.Timedelta
    waited: pd.Timedelta
    resets: dict[str, int]
    reset_details: Phrase


@dataclass(frozen=True)
class FailedGroup:
    """Connections to one port of a server that failed in the same way; `client` is set if they all came from one."""

    establishment: str
    server: str
    server_name: str
    client: str | None
    clients: int
    connections: int
    syn_retransmissions: int
    longest: pd.Timedelta
    first_after: pd.Timedelta
    first_stream: int
    display_filter: str


@dataclass(frozen=True)
class Anomaly:
    """An anomaly: how often it occurs, and the display filters that find it."""

    name: str
    explanation: str
    benign: bool
    count: int
    streams: tuple[int, ...]
    frames: tuple[int, ...]
    display_filter: str
    fallback_filter: str

    def where(self, translate: Translate = str) -> str:
        """Return the first frames as text, or the first streams if the anomaly is on no segment."""
        if self.frames:
            return _first_of(self.frames)
        return f"{translate('stream' if len(self.streams) == 1 else 'streams')} {_first_of(self.streams)}"


@dataclass(frozen=True)
class Summary:
    """The facts behind the verdict.

    Attributes
    ----------
    connections, segments, frames, payload : int
        Numbers of connections, of TCP segments, of packets that held them, and of bytes of payload.
    first, last : pandas.Timestamp or None
        Earliest and latest time of a segment; None if there are no segments.
    opened, failed, still_waiting, not_captured : int
        Connections by the outcome of their opening; the four add up to `connections`.
    establishment : dict of str to int
        Number of connections by `establishment`, or `still-waiting`; values that do not occur are left out.
    open_termination, open_closed_by : dict of str to int
        The same over the connections that were open (`opened` and `not_captured`), so that a refused connection does
        not count as closed by a reset.
    diagnoses : dict of str to int
        Number of connections by `diagnosis`, the most harmful first.
    resets : dict of str to int
        Number of connections by the class of their reset (`peers.RESETS`).
    reset_details : dict of str to Phrase
        By whom they were reset, what was unacknowledged, and after what silence, by the same class.
    handshake_median, handshake_p95 : pandas.Timedelta or None
        Median and 95th percentile of the handshakes that were captured from SYN to third step.
    waited : pandas.Timedelta
        The time that openings lost by repeated SYNs and SYN-ACKs.
    findings : list of Finding
        What a colleague would say beside the counts, the most harmful first.
    servers, clients : list of Peer
        The most harmful first.
    slowest : list of SlowHandshake
    failures : list of FailedGroup
    anomalies : list of Anomaly
        Problems first, then anomalies that are rare but allowed.
    """

    connections: int
    segments: int
    frames: int
    payload: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    opened: int
    failed: int
    still_waiting: int
    not_captured: int
    establishment: dict[str, int]
    open_termination: dict[str, int]
    open_closed_by: dict[str, int]
    diagnoses: dict[str, int]
    resets: dict[str, int]
    reset_details: dict[str, Phrase]
    overdue: bool
    handshake_median: pd.Timedelta | None
    handshake_p95: pd.Timedelta | None
    waited: pd.Timedelta
    findings: list[Finding]
    servers: list[Peer]
    clients: list[Peer]
    slowest: list[SlowHandshake]
    failures: list[FailedGroup]
    anomalies: list[Anomaly]

    def size_text(self, translate: Translate = str) -> str:
        """Return how much was captured: connections, segments, and packets where these hold several segments."""
        counts = [(self.connections, "TCP connection"), (self.segments, "TCP segment")]
        size = translate(", ").join(amount(number, noun, translate) for number, noun in counts)
        if self.frames == self.segments:
            return size
        return translate("{size} in {packets}").format(size=size, packets=amount(self.frames, "packet", translate))

    def resets_in_words(self, translate: Translate = str) -> list[str]:
        """Return how many connections ended by a reset of each class, by whom, with what unacknowledged, after what silence."""
        return [
            f"{amount(number)} {translate(RESET_WORDS[name])}{self.reset_details[name].text(translate)}"
            for name, number in self.resets.items()
        ]

    def verdict(self, translate: Translate = str) -> list[tuple[str, str]]:
        """Return the first sentence in parts, each with the outcome that it counts (a field of `Summary`), or without any."""
        parts = self._counted(translate)
        if self.all_is_well:
            (text, outcome), *others = parts
            parts = [(translate("All is well: {verdict}").format(verdict=text[:1].lower() + text[1:]), outcome), *others]
        return parts

    def _counted(self, translate: Translate) -> list[tuple[str, str]]:
        if self.connections == 0:
            return [(translate("There is no TCP connection in this capture."), "")]
        if self.connections == 1 and self.failed:
            return [(translate("The only connection failed"), "failed"), (translate("."), "")]
        if self.connections == 1 and self.opened:
            return [(translate("The only connection opened."), "")]
        if self.connections == 1 and self.still_waiting:
            return [(translate("The only connection was still waiting for an answer when the capture ended."), "")]
        if self.connections == 1:
            return [(translate("The opening of the only connection is not in the capture."), "")]
        counts = {
            "opened": translate("{opened} opened"),
            "failed": translate("{failed} failed") if self.failed else translate("none failed"),
            "still_waiting": translate("{still_waiting} still waited for an answer when the capture ended"),
            "not_captured": translate("{not_captured} had no opening in the capture"),
        }
        parts = [(translate("Of {connections} connections, ").format(connections=amount(self.connections)), "")]
        for outcome, text in counts.items():
            number: int = getattr(self, outcome)
            if number or outcome in ("opened", "failed"):
                parts += [(text.format_map({outcome: amount(number)}), outcome if number else ""), (translate(", "), "")]
        return [*parts[:-1], (translate("."), "")]

    @property
    def all_is_well(self) -> bool:
        """Whether there is nothing to worry about, and no SYN that could have been answered by the end of the capture."""
        return bool(self.were_open) and not self.overdue and all(finding.harm == "fine" for finding in self.findings)

    @property
    def were_open(self) -> int:
        """Connections that were open at some time."""
        return self.opened + self.not_captured

    @property
    def span(self) -> pd.Timedelta | None:
        """Time from the earliest to the latest segment."""
        return None if self.first is None or self.last is None else self.last - self.first


def summary(segments: pd.DataFrame, connections: pd.DataFrame) -> Summary:
    """Compute the facts behind the verdict.

    Parameters
    ----------
    segments : pandas.DataFrame
        One row per TCP segment.
    connections : pandas.DataFrame
        One row per connection, indexed by stream. For several captures, use the result of `numbered`.

    Returns
    -------
    Summary
        Counts, failures, slowest handshakes, anomalies.
    """
    connections = by_outcome(connections)
    establishment = _counts(connections, "establishment", ESTABLISHMENT)
    was_open = _was_open(connections)
    handshakes = _column(connections, "handshake_time").dropna()
    reset_classes = resets(connections)
    return Summary(
        connections=len(connections),
        segments=len(segments),
        frames=_frames(segments),
        payload=int(_column(segments, "length").sum()),
        first=segments["time"].min() if len(segments) else None,
        last=segments["time"].max() if len(segments) else None,
        opened=sum(establishment.get(value, 0) for value in OPENED),
        failed=sum(establishment.get(value, 0) for value in FAILED),
        still_waiting=establishment.get(STILL_WAITING, 0),
        not_captured=establishment.get("not-captured", 0),
        establishment=establishment,
        open_termination=_counts(was_open, "termination", TERMINATION),
        open_closed_by=_counts(was_open, "closed_by", ("client", "server", "both")),
        handshake_median=_quantile(handshakes, 0.5),
        handshake_p95=_quantile(handshakes, 0.95),
        diagnoses=_counts(connections, "diagnosis", DIAGNOSES),
        resets=_counts(pd.DataFrame({"class": reset_classes}), "class", RESETS),
        reset_details={name: of_resets(connections[reset_classes == name]) for name in RESETS if (reset_classes == name).any()},
        overdue=_is_overdue(segments, connections),
        waited=pd.Timedelta(_column(connections, "retransmission_delay").sum()),
        findings=findings(segments, connections),
        servers=_peers(connections, "server"),
        clients=_peers(connections, "client"),
        slowest=_slowest(connections),
        failures=_failures(connections),
        anomalies=_anomalies(segments, connections),
    )


def _is_overdue(segments: pd.DataFrame, connections: pd.DataFrame) -> bool:
    """Whether a SYN that still waits was repeated, or is older than the time after which it would be."""
    waiting = connections[_column(connections, "establishment") == STILL_WAITING]
    if waiting.empty:
        return False
    end = segments["time"].max()
    if are_several(connections):
        end = waiting["capture"].map(segments.groupby("capture")["time"].max())
    return bool(((waiting["syn_retransmissions"] > 0) | (end - waiting["start"] >= REPEATED_AFTER)).any())


def numbered(segments: pd.DataFrame, connections: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of `read_all` with connections numbered across all captures; `tcp_stream` keeps Wireshark's number."""
    number = connections.index.to_series(index=pd.MultiIndex.from_frame(connections[["capture", "stream"]]))
    streams = number.loc[pd.MultiIndex.from_frame(segments[["capture", "stream"]])].to_numpy()
    return segments.assign(stream=streams), connections.rename(columns={"stream": "tcp_stream"}).rename_axis("stream")


def by_outcome(connections: pd.DataFrame) -> pd.DataFrame:
    """Return the connections with `still-waiting` as `establishment` where it applies (rule C23)."""
    return connections if connections.empty else connections.assign(establishment=frames.outcomes(connections))


def are_several(connections: pd.DataFrame) -> bool:
    """Whether the connections are from several captures, so that frames and `tcp.stream` mean nothing without the capture."""
    return "tcp_stream" in connections


def _frames(segments: pd.DataFrame) -> int:
    columns = [name for name in ("capture", "frame") if name in segments]
    return len(segments[columns].drop_duplicates()) if columns else 0


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    return frame[name] if name in frame else pd.Series(dtype="float64")


def _counts(frame: pd.DataFrame, name: str, order: Mapping[str, str] | Sequence[str]) -> dict[str, int]:
    """Count rows by value, in the given order, without zeros and missing values."""
    found = {str(value): int(count) for value, count in _column(frame, name).value_counts().items() if count}
    known = {value: found[value] for value in order if value in found}
    return known | {value: count for value, count in found.items() if value not in known}


def _quantile(durations: pd.Series[Any], share: float) -> pd.Timedelta | None:
    value: Any = durations.quantile(share) if len(durations) else None
    return None if value is None else pd.Timedelta(value)


def _was_open(connections: pd.DataFrame) -> pd.DataFrame:
    return connections if connections.empty else connections[connections["establishment"].isin(WERE_OPEN)]


def since_first(connections: pd.DataFrame) -> pd.Series[Any]:
    """Return the time from the start of the first connection of the same capture to the start of each."""
    start = connections["start"]
    return start - (start.groupby(connections["capture"]).transform("min") if are_several(connections) else start.min())


def lasted(connections: pd.DataFrame) -> pd.Series[Any]:
    """Return the durations of connections; missing for connections of a single segment."""
    return connections["duration"].where(connections["client_segments"] + connections["server_segments"] > 1)


def _names(connections: pd.DataFrame) -> pd.Series[Any]:
    """Return the names of the servers; missing if there are none."""
    return connections.get("server_name", pd.Series(None, connections.index, dtype="object"))


def _joined(names: pd.Series[Any]) -> str:
    """Return the first of some names, with dots if there are others, and an empty text if there are none."""
    first, *others = (*names.dropna().unique(), "")
    return f"{first}, …" if len(others) > 1 else str(first)


def with_answer_times(connections: pd.DataFrame) -> pd.DataFrame:
    """Fill in the time of an answer that is ambiguous (rule H10): what the other parts leave of the handshake."""
    answered = connections["handshake_time"] - connections["retransmission_delay"]
    columns = ("server_response_time", "client_response_time")
    rests = {one: answered - connections[other] for one, other in (columns, columns[::-1])}
    return connections.assign(
        **{name: connections[name].fillna(rest.where(rest >= pd.Timedelta(0))) for name, rest in rests.items()}
    )


def _slowest(connections: pd.DataFrame) -> list[SlowHandshake]:
    if connections.empty:
        return []
    slow = connections[connections["handshake_time"].notna()].nlargest(SLOWEST_SHOWN, "handshake_time")
    slow = with_answer_times(slow)
    return [
        SlowHandshake(
            stream=int(row.Index),
            client=endpoint(row.client, row.client_port),
            server=endpoint(row.server, row.server_port),
            server_name=_joined(_names(connections).loc[[row.Index]]),
            handshake_time=row.handshake_time,
            server_response_time=row.server_response_time,
            client_response_time=row.client_response_time,
            retransmission_delay=row.retransmission_delay,
        )
        for row in _tuples(slow)
    ]


def _peers(connections: pd.DataFrame, side: Side) -> list[Peer]:
    if connections.empty:
        return []
    table = by_peer(connections, side)
    names = _names(connections).groupby([connections["server"], connections["server_port"]], sort=False).agg(_joined)
    return [
        Peer(
            name=endpoint(*row.Index) if side == "server" else str(row.Index),
            server_name=names[row.Index] if side == "server" else "",
            connections=row.connections,
            opened=row.opened,
            failures={name: count for name in FAILED if (count := int(counts[column_of(name)]))},
            handshake_median=row.handshake_median,
            handshake_p95=row.handshake_p95,
            waited=row.waited,
            resets={name: count for name in RESETS if (count := int(counts[column_of(name)]))},
            reset_details=reset_details(
                {"client": row.reset_by_client, "server": row.reset_by_server},
                row.reset_unacknowledged,
                None if row.reset_while_closing else row.reset_silence,
            ),
        )
        for row, (_, counts) in zip(_tuples(table), table.iterrows(), strict=True)
    ]


def _failures(connections: pd.DataFrame) -> list[FailedGroup]:
    """Group failed connections by `establishment`, server and port; the most frequent first."""
    if connections.empty:
        return []
    rows = connections.assign(
        since=since_first(connections), lasted=lasted(connections), stream=connections.index, server_name=_names(connections)
    )
    failed = rows[rows["establishment"].isin(FAILED)]
    failed = failed.assign(establishment=failed["establishment"].astype(object))
    keys = ["establishment", "server", "server_port"]
    groups = failed.groupby(keys, sort=False).agg(
        server_name=("server_name", _joined),
        client=("client", "first"),
        clients=("client", "nunique"),
        connections=("stream", "size"),
        syn_retransmissions=("syn_retransmissions", "sum"),
        longest=("lasted", "max"),
        first_after=("since", "min"),
        first_stream=("stream", "first"),
        streams=("stream", lambda streams: tuple(streams.head(NUMBERS_IN_FILTER + 1))),
    )
    groups = groups.reset_index()
    rank = groups["establishment"].map(FAILED.index)
    groups = groups.iloc[np.lexsort((groups["first_stream"], -groups["connections"], rank))]
    return [
        FailedGroup(
            establishment=row.establishment,
            server=endpoint(row.server, row.server_port),
            server_name=row.server_name,
            client=row.client if row.clients == 1 else None,
            clients=int(row.clients),
            connections=int(row.connections),
            syn_retransmissions=int(row.syn_retransmissions),
            longest=row.longest,
            first_after=row.first_after,
            first_stream=int(row.first_stream),
            display_filter=_of_streams(() if are_several(connections) else row.streams, row.server, row.server_port),
        )
        for row in _tuples(groups)
    ]


def represented(failures: Sequence[FailedGroup], number: int) -> list[FailedGroup]:
    """Return some of the failures, so that every kind is shown before any is shown again; in their order."""
    places: dict[str, int] = {}
    turns = []
    for index, group in enumerate(failures):
        places[group.establishment] = turn = places.get(group.establishment, -1) + 1
        turns.append((turn, index))
    return [failures[index] for _, index in sorted(sorted(turns)[:number], key=lambda turn: turn[1])]


def _of_streams(streams: Sequence[int], server: str, port: int) -> str:
    """Return a display filter for connections; for all connections to the port if there are none or too many to name."""
    if 0 < len(streams) <= NUMBERS_IN_FILTER:
        return one_of("tcp.stream", streams)
    return f"{'ipv6' if ':' in server else 'ip'}.addr == {server} && tcp.port == {port}"


def _anomalies(segments: pd.DataFrame, connections: pd.DataFrame) -> list[Anomaly]:
    """Return the anomalies of segments, and `unreachable`, which only connections have."""
    on_segments = _exploded(segments, "anomaly", ["frame", "stream"])
    if are_several(connections):
        on_segments["frame"] = pd.NA  # a frame's number means nothing without its capture
    on_connections = _exploded(connections.assign(stream=connections.index), "anomalies", ["stream"])
    names = set(on_segments["name"]) | set(on_connections["name"])
    order = [*ANOMALIES, *sorted(names - set(ANOMALIES))]
    return [
        _anomaly(name, on_segments[on_segments["name"] == name], on_connections[on_connections["name"] == name])
        for name in sorted(names, key=lambda name: (name in BENIGN_ANOMALIES, order.index(name)))
    ]


def _exploded(frame: pd.DataFrame, column: str, keep: list[str]) -> pd.DataFrame:
    """Return one row for each name in a column of names that are joined with "+"."""
    if frame.empty or column not in frame:
        return pd.DataFrame({"name": [], **{name: [] for name in keep}})
    some = frame.loc[frame[column].notna(), [column, *keep]]
    return some.assign(name=some[column].astype(str).str.split("+")).explode("name").drop(columns=column)


def _anomaly(name: str, on_segments: pd.DataFrame, on_connections: pd.DataFrame) -> Anomaly:
    frames = tuple(int(frame) for frame in on_segments["frame"].dropna().drop_duplicates().head(NUMBERS_IN_FILTER))
    streams = pd.concat([on_segments["stream"], on_connections["stream"]]).drop_duplicates()
    first_streams = tuple(int(stream) for stream in streams.sort_values().head(NUMBERS_IN_FILTER))
    fallback = one_of("frame.number", frames) if frames else one_of("tcp.stream", first_streams)
    return Anomaly(
        name=name,
        explanation=ANOMALIES.get(name, ""),
        benign=name in BENIGN_ANOMALIES,
        count=len(on_segments) or len(streams),
        streams=first_streams,
        frames=frames,
        display_filter=f"tcp_handshake.anomaly == {_quoted(name)}",
        fallback_filter=fallback,
    )


def _first_of(numbers: Sequence[int]) -> str:
    """Return, for example, ``3, 5, 11``; with dots after the first few."""
    return ", ".join(map(str, numbers[:EXAMPLES_SHOWN])) + ("\u00a0…" if len(numbers) > EXAMPLES_SHOWN else "")


def _quoted(text: str) -> str:
    """Write a string of Wireshark's display filter language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _tuples(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(name="Row"))
