# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTML report, and the facts behind its verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pybridge import ladder
from pybridge.text import MISSING, amount, duration_text, endpoint, printable

ESTABLISHMENT = {
    "complete": "Opened; all three steps of the handshake were captured.",
    "simultaneous": "Opened; both ends sent a SYN at the same time (rare, but allowed).",
    "partial": "Opened, but part of the handshake is missing: only one direction was captured, or packets were lost at "
    "the point of capture.",
    "refused": "The server answered the SYN with a reset: usually nothing listens on that port, or a firewall rejects "
    "instead of dropping.",
    "unreachable": "The SYN was answered with an ICMP error: there is no route, the host is down, or a firewall rejects.",
    "unanswered": "No valid answer to the SYN was captured: usually a firewall drops it, the host is down, or the way back "
    "is broken.",
    "aborted": "A reset ended the handshake before the connection was open: usually the client gave up, a port scan, "
    "or a device between that interferes.",
    "half-open": "The server answered but the third step never came: the client is gone, the answer does not reach "
    "it, or its address was forged (SYN flood).",
    "not-captured": "The opening is not in the capture: usually the connection was open before the capture began.",
}
"""What each value of `establishment` means, one sentence for humans."""

TERMINATION = {
    "four-way": "Both ends closed with a FIN and both FINs were acknowledged.",
    "three-way": "Both ends closed; the second FIN carried the acknowledgement of the first, which saves a segment.",
    "simultaneous": "Both ends sent a FIN before either had heard of the other's.",
    "reset": "A reset ended the connection: usually an application that closes with unread data, crashes or times "
    "out, or a device between.",
    "unacknowledged": "Both ends sent a FIN but not both were acknowledged in the capture.",
    "half-closed": "Only one end sent a FIN: the other was still open when the capture ended.",
    "none": "No end of the connection was captured: it was still open, idle, or the capture stopped first.",
}
"""What each value of `termination` means."""

ANOMALIES = {
    "syn-retransmission": "A SYN was sent again because no answer came in time: the SYN or its answer was lost or "
    "dropped by a firewall.",
    "syn-ack-retransmission": "The server repeated its SYN-ACK: the client's third step, or the SYN-ACK itself, was lost.",
    "fin-retransmission": "A FIN was sent again because its acknowledgement did not come: loss, or the other end is "
    "already gone.",
    "connection-refused": "A reset answered the SYN: usually nothing listens on that port, or a firewall rejects.",
    "unreachable": "An ICMP error answered the SYN: no route, host down, or a firewall rejects.",
    "handshake-aborted": "A reset came before the handshake was complete: a client that gave up, a port scan, or a "
    "device between.",
    "simultaneous-open": "Both ends sent a SYN at the same time; allowed, seen with hole punching (peer to peer).",
    "simultaneous-close": "Both ends sent a FIN before hearing of the other's; allowed, usually two applications that "
    "finish at once.",
    "syn-with-data": "A SYN or SYN-ACK carries data: usually TCP Fast Open.",
    "half-close-data": "An end still sends after the other has closed its direction; allowed, usually the rest of an answer.",
    "data-after-fin": "Data lies beyond the sender's own FIN: a faulty stack, or injected segments.",
    "rst-after-fin": "A reset came after a FIN: usually an application that closed without reading what still arrived.",
    "segment-after-close": "A segment came after the connection was over: late, duplicated, or from an end that does not know.",
    "port-reuse": "A client opened a new connection from the same port as an earlier one; allowed, trouble if the "
    "server still remembers the earlier one.",
    "ack-mismatch": "An answer to a SYN acknowledges a wrong number: an old connection still held, or a device between "
    "that rewrites numbers.",
    "invalid-flags": "A combination of flags that TCP never sends: usually a port scan or a faulty device.",
    "syn-on-established": "A SYN or SYN-ACK came on a live connection: an end restarted, or an old or forged segment.",
    "duplicate": "The capture holds the same segment twice, as behind a mirror port: it was not sent again.",
}
"""What each anomaly means and usually comes from."""

OPENED = ("complete", "simultaneous", "partial")
FAILED = ("refused", "unreachable", "unanswered", "aborted", "half-open")

SLOWEST = 10
SHOWN = 5  # so many frames or connections of an anomaly are shown
FRAMES_IN_FILTER = 50
GROUPS_PER_FAILURE = 50
CONNECTION_ROWS = 10_000
LADDERS_OF_A_KIND = 20
PRINTED_PAGE = 1300  # a higher ladder takes more than a page; Chromium prints over its end unless a new page follows
OPEN_LADDERS = 3  # so many ladders or fewer are open from the start


@dataclass(frozen=True)
class SlowHandshake:
    """One of the slowest handshakes."""

    stream: int
    client: str
    server: str
    handshake_time: pd.Timedelta
    server_response_time: pd.Timedelta
    client_response_time: pd.Timedelta
    syn_retransmissions: int


@dataclass(frozen=True)
class FailedGroup:
    """Connections between two hosts, to one port, that failed in the same way."""

    establishment: str
    client: str
    server: str
    connections: int
    syn_retransmissions: int
    longest: pd.Timedelta
    first_start: pd.Timestamp
    first_stream: int


@dataclass(frozen=True)
class Anomaly:
    """An anomaly with how often it occurs and how to find it."""

    name: str
    explanation: str
    legal: bool
    count: int
    streams: tuple[int, ...]
    frames: tuple[int, ...]
    display_filter: str
    fallback_filter: str

    @property
    def where(self) -> str:
        """The first frames; the streams if it is on no segment."""
        if self.frames:
            return _first_of(self.frames)
        return f"{'stream' if len(self.streams) == 1 else 'streams'} {_first_of(self.streams)}"


@dataclass(frozen=True)
class Summary:
    """The facts behind the verdict.

    Attributes
    ----------
    connections, segments, frames, payload : int
        Numbers of connections, TCP segments, packets that held them, and bytes of payload.
    first, last : pandas.Timestamp or None
        Earliest and latest time of a segment; None without any.
    opened, failed, not_captured : int
        Connections by what became of their opening; they add up to `connections`.
    establishment : dict of str to int
        Connections by value; values that do not occur are left out.
    open_termination, open_closed_by : dict of str to int
        The same over the connections that were open (`opened` and `not_captured`), so that a refused connection does
        not count as closed by a reset.
    handshake_median, handshake_p95 : pandas.Timedelta or None
        Of the handshakes that were measured.
    slowest : list of SlowHandshake
    failures : list of FailedGroup
    anomalies : list of Anomaly
        Problems first, then what is rare but legal.
    """

    connections: int
    segments: int
    frames: int
    payload: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    opened: int
    failed: int
    not_captured: int
    establishment: dict[str, int]
    open_termination: dict[str, int]
    open_closed_by: dict[str, int]
    handshake_median: pd.Timedelta | None
    handshake_p95: pd.Timedelta | None
    slowest: list[SlowHandshake]
    failures: list[FailedGroup]
    anomalies: list[Anomaly]

    @property
    def size(self) -> str:
        """How much was captured: connections, segments, and packets where these hold several segments."""
        size = f"{amount(self.connections, 'TCP connection')}, {amount(self.segments, 'TCP segment')}"
        return size if self.frames == self.segments else f"{size} in {amount(self.frames, 'packet')}"

    @property
    def verdict(self) -> tuple[str, str, str]:
        """The first sentence in three parts: what comes before the failures, the failures if any, what comes after."""
        if self.connections == 0:
            return "There is no TCP connection in this capture.", "", ""
        if self.connections == 1 and self.failed:
            return "", "The only connection failed", "."
        if self.connections == 1 and self.opened:
            return "The only connection opened.", "", ""
        if self.connections == 1:
            return "The opening of the only connection is not in the capture.", "", ""
        before = f"Of {amount(self.connections)} connections, {amount(self.opened)} opened, "
        after = f", {amount(self.not_captured)} had no opening in the capture." if self.not_captured else "."
        return (before, f"{amount(self.failed)} failed", after) if self.failed else (f"{before}none failed", "", after)

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
        One row per connection, indexed by stream.

    Returns
    -------
    Summary
        Counts, failures, slowest handshakes, anomalies.
    """
    establishment = _counts(connections, "establishment", ESTABLISHMENT)
    was_open = _was_open(connections)
    handshakes = _column(connections, "handshake_time").dropna()
    return Summary(
        connections=len(connections),
        segments=len(segments),
        frames=int(_column(segments, "frame").nunique()),
        payload=int(_column(segments, "length").sum()),
        first=segments["time"].min() if len(segments) else None,
        last=segments["time"].max() if len(segments) else None,
        opened=sum(establishment.get(value, 0) for value in OPENED),
        failed=sum(establishment.get(value, 0) for value in FAILED),
        not_captured=establishment.get("not-captured", 0),
        establishment=establishment,
        open_termination=_counts(was_open, "termination", TERMINATION),
        open_closed_by=_counts(was_open, "closed_by", ("client", "server", "both")),
        handshake_median=_quantile(handshakes, 0.5),
        handshake_p95=_quantile(handshakes, 0.95),
        slowest=_slowest(connections),
        failures=_failures(connections),
        anomalies=_anomalies(segments, connections),
    )


def render(
    segments: pd.DataFrame,
    connections: pd.DataFrame,
    *,
    title: str,
    versions: Mapping[str, str],
    notes: Sequence[str] = (),
    max_ladders: int = 200,
) -> str:
    """Write the whole report as one HTML page that needs neither network nor scripts.

    Parameters
    ----------
    segments : pandas.DataFrame
        One row per TCP segment.
    connections : pandas.DataFrame
        One row per connection, indexed by stream.
    title : str
        What was captured, usually the name of the file.
    versions : mapping of str to str
        Programs that took part and their versions, for the foot of the page.
    notes : sequence of str, optional
        Remarks that the reader must know (a capture cut short, for example).
    max_ladders : int, default 200
        Draw at most so many connections; failed and anomalous ones are chosen first.

    Returns
    -------
    str
        The page.
    """
    drawn = _choose(connections, max_ladders)
    template = _environment().get_template("report.html.j2")
    return template.render(
        title=title,
        versions=versions,
        notes=notes,
        facts=summary(segments, connections),
        rows=_table_rows(connections.head(CONNECTION_ROWS)),
        ladders=_ladders(segments, connections, drawn),
        drawn=frozenset(drawn),
        listed=frozenset(connections.index[:CONNECTION_ROWS].tolist()),
        open_ladders=len(drawn) <= OPEN_LADDERS,
        shown=SHOWN,
        groups_per_failure=GROUPS_PER_FAILURE,
        frames_in_filter=FRAMES_IN_FILTER,
        establishment=ESTABLISHMENT,
        termination=TERMINATION,
        failed_values=FAILED,
        ladder_style=Markup(ladder.STYLE),  # noqa: S704 - a constant
    )


# Facts


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
    return connections if connections.empty else connections[~connections["establishment"].isin(FAILED)]


def _lasted(connections: pd.DataFrame) -> pd.Series[Any]:
    """How long connections lasted; missing for a single segment."""
    return connections["duration"].where(connections["segments_client"] + connections["segments_server"] > 1)


def _slowest(connections: pd.DataFrame) -> list[SlowHandshake]:
    if connections.empty:
        return []
    slow = connections[connections["handshake_time"].notna()].nlargest(SLOWEST, "handshake_time")
    return [
        SlowHandshake(
            stream=int(row.Index),
            client=endpoint(row.client, row.client_port),
            server=endpoint(row.server, row.server_port),
            handshake_time=row.handshake_time,
            server_response_time=row.server_response_time,
            client_response_time=row.client_response_time,
            syn_retransmissions=int(row.syn_retransmissions),
        )
        for row in _tuples(slow)
    ]


def _failures(connections: pd.DataFrame) -> list[FailedGroup]:
    """Failed connections, one group for each way of failing, client and server port; the most frequent first."""
    if connections.empty:
        return []
    failed = connections[connections["establishment"].isin(FAILED)]
    failed = failed.assign(stream=failed.index, lasted=_lasted(failed), establishment=failed["establishment"].astype(object))
    keys = ["establishment", "client", "server", "server_port"]
    groups = failed.groupby(keys, sort=False).agg(
        connections=("stream", "size"),
        syn_retransmissions=("syn_retransmissions", "sum"),
        longest=("lasted", "max"),
        first_start=("start", "min"),
        first_stream=("stream", "first"),
    )
    groups = groups.reset_index()
    rank = groups["establishment"].map(FAILED.index)
    groups = groups.iloc[np.lexsort((groups["first_stream"], -groups["connections"], rank))]
    return [
        FailedGroup(
            establishment=row.establishment,
            client=row.client,
            server=endpoint(row.server, row.server_port),
            connections=int(row.connections),
            syn_retransmissions=int(row.syn_retransmissions),
            longest=row.longest,
            first_start=row.first_start,
            first_stream=int(row.first_stream),
        )
        for row in _tuples(groups)
    ]


def _anomalies(segments: pd.DataFrame, connections: pd.DataFrame) -> list[Anomaly]:
    """Anomalies of the segments, and `unreachable`, which only the connections tell."""
    on_segments = _exploded(segments, "anomaly", ["frame", "stream"])
    on_connections = _exploded(connections.assign(stream=connections.index), "anomalies", ["stream"])
    names = set(on_segments["name"]) | set(on_connections["name"])
    order = [*ANOMALIES, *sorted(names - set(ANOMALIES))]
    return [
        _anomaly(name, on_segments[on_segments["name"] == name], on_connections[on_connections["name"] == name])
        for name in sorted(names, key=lambda name: (name in ladder.LEGAL_ANOMALIES, order.index(name)))
    ]


def _exploded(frame: pd.DataFrame, column: str, keep: list[str]) -> pd.DataFrame:
    """One row for each name in a column of names joined with "+"."""
    if frame.empty or column not in frame:
        return pd.DataFrame({"name": [], **{name: [] for name in keep}})
    some = frame.loc[frame[column].notna(), [column, *keep]]
    return some.assign(name=some[column].astype(str).str.split("+")).explode("name").drop(columns=column)


def _anomaly(name: str, on_segments: pd.DataFrame, on_connections: pd.DataFrame) -> Anomaly:
    frames = tuple(int(frame) for frame in on_segments["frame"].drop_duplicates().head(FRAMES_IN_FILTER))
    streams = pd.concat([on_segments["stream"], on_connections["stream"]]).drop_duplicates()
    first_streams = tuple(int(stream) for stream in streams.sort_values().head(FRAMES_IN_FILTER))
    fallback = _members("frame.number", frames) if frames else _members("tcp.stream", first_streams)
    return Anomaly(
        name=name,
        explanation=ANOMALIES.get(name, ""),
        legal=name in ladder.LEGAL_ANOMALIES,
        count=len(on_segments) or len(streams),
        streams=first_streams,
        frames=frames,
        display_filter=f"tcp_handshake.anomaly == {_quoted(name)}",
        fallback_filter=fallback,
    )


def _first_of(numbers: Sequence[int]) -> str:
    """``3, 5, 11``; with dots after the first few."""
    return ", ".join(map(str, numbers[:SHOWN])) + ("\u00a0…" if len(numbers) > SHOWN else "")


def _members(name: str, numbers: Sequence[int]) -> str:
    return f"{name} in {{{', '.join(map(str, numbers))}}}"


def _quoted(text: str) -> str:
    """Write a string of Wireshark's display filter language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# The page


def _choose(connections: pd.DataFrame, limit: int) -> list[int]:
    """Streams to draw: failed and anomalous first, of these first some of every kind, then by order."""
    if connections.empty or limit <= 0:
        return []
    failed = connections["establishment"].isin(FAILED)
    anomalies = connections["anomalies"].astype(object).where(connections["anomalies"].notna(), "").astype(str)
    dull = ~failed & (anomalies == "")
    kind = connections["establishment"].astype(str) + " " + anomalies
    repeated = kind.groupby(kind).cumcount() >= LADDERS_OF_A_KIND
    order = np.lexsort((np.arange(len(connections)), repeated & ~dull, dull))[:limit]
    chosen = order[np.lexsort((order, dull.to_numpy()[order]))]
    return [int(stream) for stream in connections.index[chosen]]


def _ladders(segments: pd.DataFrame, connections: pd.DataFrame, streams: list[int]) -> list[dict[str, Any]]:
    groups = dict(list(segments[segments["stream"].isin(streams)].groupby("stream"))) if streams else {}
    nothing = segments.iloc[:0]
    rows = connections.loc[streams].iterrows()
    return [_ladder(groups.get(stream, nothing), row, stream) for stream, (_, row) in zip(streams, rows, strict=True)]


def _ladder(segments: pd.DataFrame, connection: pd.Series[Any], stream: int) -> dict[str, Any]:
    svg = ladder.ladder_svg(segments, connection, with_style=False)
    return {
        "stream": stream,
        "client": endpoint(str(connection["client"]), int(connection["client_port"])),
        "server": endpoint(str(connection["server"]), int(connection["server_port"])),
        "establishment": str(connection["establishment"]),
        "termination": str(connection["termination"]),
        "anomalies": _plain(connection["anomalies"]).replace("+", ", "),
        "details": _details(connection),
        "tall": _height(svg) > PRINTED_PAGE,
        "svg": Markup(svg),  # noqa: S704 - ladder_svg escapes all text
    }


def _height(svg: str) -> int:
    found = re.search(r' height="(\d+)"', svg)
    return int(found[1]) if found else 0


def _details(connection: pd.Series[Any]) -> list[tuple[str, str]]:
    """List what a connection is described by beside its ladder."""
    closed_by = _plain(connection["closed_by"])
    details = [
        ("Closed first by", {"": "nobody", "both": "both at once"}.get(closed_by, closed_by)),
        ("Handshake", duration_text(connection["handshake_time"])),
        ("Server\u2019s answer", duration_text(connection["server_response_time"])),
        ("Client\u2019s answer", duration_text(connection["client_response_time"])),
        ("Teardown", duration_text(connection["teardown_time"])),
        ("MSS", _pair(connection, "mss")),
        ("Window scale", _pair(connection, "window_scale")),
        ("Fast Open", _pair(connection, "fast_open")),
        ("SACK", _yes_no(connection["sack_permitted"])),
        ("Timestamps", _yes_no(connection["timestamps"])),
        ("ECN", _yes_no(connection["ecn"])),
        ("States at the end", f"{connection['client_state']} / {connection['server_state']}"),
    ]
    return [(name, value) for name, value in details if value not in (MISSING, f"{MISSING} / {MISSING}")]


def _pair(connection: pd.Series[Any], name: str) -> str:
    """Client's value / server's value."""
    return " / ".join(_plain(connection[f"{end}_{name}"]) or MISSING for end in ("client", "server"))


def _yes_no(value: Any) -> str:
    return MISSING if pd.isna(value) else "yes" if value else "no"


def _table_rows(connections: pd.DataFrame) -> list[Any]:
    if connections.empty:
        return []
    offset = connections["start"] - connections["start"].min()
    return _tuples(connections.assign(offset=offset, lasted=_lasted(connections)))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pybridge"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters |= {
        "breakable": _breakable,
        "duration": duration_text,
        "amount": amount,
        "moment": _moment,
        "plain": _plain,
        "percent": _percent,
    }
    environment.globals |= {
        "endpoint": endpoint,
        "problem_mark": ladder.PROBLEM_MARK,
        "legal_mark": ladder.LEGAL_MARK,
    }
    return environment


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _breakable(text: str) -> str:
    """An address that may wrap after a colon if it is longer than any of IPv4."""
    return Markup(":<wbr>").join(printable(text).split(":")) if len(text) > len("255.255.255.255:65535") else text


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else MISSING


def _moment(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def _plain(value: Any) -> str:
    return "" if value is None or pd.isna(value) else str(value)


def _tuples(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(name="Row"))
