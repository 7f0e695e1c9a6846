# SPDX-License-Identifier: GPL-2.0-or-later
"""What a ladder is drawn from: plain values, taken from the tables for all ladders at once.

Pandas takes as long for a dozen rows as for thousands: hence one pass over the columns for many connections. Only the segments
that are drawn become Python objects, so that a long transfer costs no more than its few rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Record = TypeVar("Record", bound=NamedTuple)

SHORT_CONNECTION = 12
"""Segments of a connection up to which nothing is folded."""

ROWS_BEFORE_CAP, ROWS_AFTER_CAP = 40, 20
"""Items that are drawn at the beginning and at the end of a connection that has too many."""


class LadderRow(NamedTuple):
    """A segment: columns of `segments` with times in nanoseconds; `position` counts the segments of the connection from 0."""

    position: int
    frame: int
    time: int
    tcp_flags: str
    seq_raw: int
    ack_raw: int
    length: int
    sender: str
    role: str | None
    handshake_step: int | None
    teardown_step: str | None
    client_state: str
    server_state: str
    retransmission: bool
    responds_to: int | None
    response_time: int | None
    handshake_time: int | None
    anomaly: str | None

    @property
    def roles(self) -> list[str]:
        """The names that are joined in `role`."""
        return self.role.split("+") if self.role else []

    @property
    def anomalies(self) -> list[str]:
        """The names that are joined in `anomaly`."""
        return self.anomaly.split("+") if self.anomaly else []

    @property
    def states(self) -> dict[str, str]:
        """The state of each end."""
        return {"client": self.client_state, "server": self.server_state}

    def has(self, flag: str) -> bool:
        """Whether the flag is set."""
        return flag in self.tcp_flags.split(", ")


class Run(NamedTuple):
    """Segments that are drawn as one item: plain segments in a row, RSTs of one end, or (`hidden`) all between the two caps.

    Numbers of segments and bytes are those of the client and of the server; `pause` is the longest, in nanoseconds. The
    states are those after the first segment; plain segments do not change them.
    """

    hidden: bool
    resets: bool
    first_frame: int
    last_frame: int
    time: int
    last_time: int
    pause: int
    segments: tuple[int, int]
    payload: tuple[int, int]
    client_state: str
    server_state: str

    @property
    def states(self) -> dict[str, str]:
        """The state of each end."""
        return {"client": self.client_state, "server": self.server_state}


class LadderEnd(NamedTuple):
    """Positions (in the connection) and values of an end's ISNs and FINs, and the base of its relative numbers."""

    isn_at: list[int]
    isn: list[int]
    fin_at: list[int]
    fin: list[int]
    fin_times: list[int]
    fallback: int | None

    def base(self, position: int) -> int | None:
        """Return the ISN that applies at a position: the latest seen, else the next one, else the first number seen."""
        if not self.isn:
            return self.fallback
        return self.isn[max(bisect_left(self.isn_at, position + 1) - 1, 0)]

    def isn_before(self, position: int) -> int | None:
        """Return the latest ISN before a position."""
        index = bisect_left(self.isn_at, position)
        return self.isn[index - 1] if index else None

    def fin_before(self, position: int) -> int | None:
        """Return the number that the latest FIN before a position occupies."""
        index = bisect_left(self.fin_at, position)
        return self.fin[index - 1] if index else None


class LadderConnection(NamedTuple):
    """The columns of `connections` that are drawn, with times in nanoseconds."""

    client: str
    client_port: int
    server: str
    server_port: int
    establishment: str
    termination: str
    closed_by: str | None
    client_state: str
    server_state: str
    teardown_time: int | None
    anomalies: str | None
    diagnosis: str
    evidence: str | None


class Story(NamedTuple):
    """A connection and the items that are drawn of it, in the order of the capture."""

    stream: int
    connection: LadderConnection
    segments: int
    start: int
    items: list[LadderRow | Run]
    client: LadderEnd
    server: LadderEnd

    def ends(self, row: LadderRow) -> tuple[LadderEnd, LadderEnd]:
        """Return the sender of a segment and its peer."""
        return (self.client, self.server) if row.sender == "client" else (self.server, self.client)


class _Span(NamedTuple):
    """Positions in the sorted table, half-open, that are one item of a story."""

    start: int
    stop: int
    hidden: bool

    @property
    def single(self) -> bool:
        return self.stop - self.start == 1 and not self.hidden


def stories(segments: pd.DataFrame, connections: pd.DataFrame, streams: Sequence[int]) -> Iterator[Story]:
    """Yield the stories of connections, in the order of `streams`."""
    if not streams:  # the tables may have no columns then
        return
    table = segments.loc[segments["stream"].isin(streams), ["stream", *LadderRow._fields[1:]]]
    table = table.iloc[np.argsort(table["stream"].to_numpy(), kind="stable")]
    starts, stops = (np.searchsorted(table["stream"].to_numpy(), list(streams), side).tolist() for side in ("left", "right"))
    columns = _Columns(table, starts)
    plans = [list(columns.spans(start, stop)) for start, stop in zip(starts, stops, strict=True)]
    singles = [(span.start, start) for start, spans in zip(starts, plans, strict=True) for span in spans if span.single]
    drawn = table.iloc[[at for at, _ in singles]]
    rows = _records(drawn.assign(position=[at - start for at, start in singles]), LadderRow)
    described = _records(connections.loc[list(streams)], LadderConnection)
    for stream, connection, start, stop, spans in zip(streams, described, starts, stops, plans, strict=True):
        yield Story(
            stream=stream,
            connection=connection,
            segments=stop - start,
            start=int(columns.time[start]) if start < stop else 0,
            items=[next(rows) if span.single else columns.run(span) for span in spans],
            client=columns.end(start, stop, columns.client[start:stop]),
            server=columns.end(start, stop, ~columns.client[start:stop]),
        )


class _Columns:
    """The columns of the sorted table as arrays, from which items and ends are made."""

    def __init__(self, table: pd.DataFrame, starts: Sequence[int]) -> None:
        self.frame, self.seq, self.ack, self.length = (
            table[name].to_numpy() for name in ("frame", "seq_raw", "ack_raw", "length")
        )
        self.time = _nanoseconds(table["time"])
        self.states = [np.asarray(table[name], dtype=object) for name in ("client_state", "server_state")]
        self.client = _where(table["sender"], lambda sender: sender == "client")
        self.opening = _where(table["role"], lambda role: role in ("SYN", "SYN-ACK"))
        self.closing = _where(table["role"], lambda role: "FIN" in role.split("+"))
        self.reset = _where(table["tcp_flags"], lambda flags: "RST" in flags)
        self.acknowledges = _where(table["tcp_flags"], lambda flags: "ACK" in flags)
        self.begins = _begins(table, starts)

    def spans(self, start: int, stop: int) -> Iterator[_Span]:
        """Yield the items of a connection; if there are too many, those in the middle become one."""
        short = stop - start <= SHORT_CONNECTION
        at = np.arange(start, stop) if short else np.flatnonzero(self.begins[start:stop]) + start
        at = np.append(at, stop)
        capped = len(at) - 1 > ROWS_BEFORE_CAP + ROWS_AFTER_CAP
        if capped:
            at = np.concatenate((at[: ROWS_BEFORE_CAP + 1], at[-ROWS_AFTER_CAP - 1 :]))
        for number, (begin, end) in enumerate(pairwise(at.tolist())):
            yield _Span(begin, end, capped and number == ROWS_BEFORE_CAP)

    def run(self, span: _Span) -> Run:
        """Return several segments as one item."""
        here = slice(span.start, span.stop)
        time, length, client = self.time[here], self.length[here], self.client[here]
        client_segments, client_bytes = int(client.sum()), int(length[client].sum())
        return Run(
            hidden=span.hidden,
            resets=bool(self.reset[here].all()),
            first_frame=int(self.frame[span.start]),
            last_frame=int(self.frame[span.stop - 1]),
            time=int(time[0]),
            last_time=int(time[-1]),
            pause=int(np.diff(time).max(initial=0)),
            segments=(client_segments, len(client) - client_segments),
            payload=(client_bytes, int(length.sum()) - client_bytes),
            client_state=self.states[0][span.start],
            server_state=self.states[1][span.start],
        )

    def end(self, start: int, stop: int, own: Mask) -> LadderEnd:
        """Return one end of a connection: the base of its relative numbers, and where its SYNs and FINs are."""
        opening = np.flatnonzero(own & self.opening[start:stop])
        closing = np.flatnonzero(own & self.closing[start:stop])
        fins = closing + start
        return LadderEnd(
            isn_at=opening.tolist(),
            isn=self.seq[opening + start].tolist(),
            fin_at=closing.tolist(),
            fin=((self.seq[fins] + self.length[fins]) % 2**32).tolist(),
            fin_times=self.time[fins].tolist(),
            fallback=None if len(opening) else self._first_number(start, stop, own),
        )

    def _first_number(self, start: int, stop: int, own: Mask) -> int | None:
        """Return the first sequence number of an end, else the first acknowledgement that it got, else None."""
        sent = np.flatnonzero(own & ~self.reset[start:stop])
        if len(sent):
            return int(self.seq[start + sent[0]])
        received = np.flatnonzero(~own & self.acknowledges[start:stop])
        return int(self.ack[start + received[0]]) if len(received) else None


def _begins(table: pd.DataFrame, starts: Sequence[int]) -> Mask:
    """Return where items begin: at each segment that must not be folded, and after it.

    A segment must not be folded if it has a role, an anomaly, SYN, FIN or RST, or changes a state; but RSTs that follow one of
    the same end and change nothing are folded.
    """
    notable = (table["role"].notna() | table["anomaly"].notna() | table["retransmission"]).to_numpy(dtype=bool, copy=True)
    notable |= _where(table["tcp_flags"], lambda flags: any(name in flags for name in ("SYN", "FIN", "RST")))
    reset = _where(table["tcp_flags"], lambda flags: "RST" in flags)
    again = np.zeros(len(table), dtype=bool)
    again[1:] = reset[1:] & reset[:-1] & (table["sender"].to_numpy()[1:] == table["sender"].to_numpy()[:-1])
    for column in ("client_state", "server_state"):
        codes = pd.factorize(table[column])[0]
        notable[1:] |= codes[1:] != codes[:-1]
        again[1:] &= codes[1:] == codes[:-1]
    again[[start for start in starts if start < len(again)]] = False
    notable &= ~again
    begins = notable.copy()
    begins[1:] |= again[:-1] & ~again[1:]
    begins[1:] |= notable[:-1]
    begins[[start for start in starts if start < len(begins)]] = True
    at = np.append(np.flatnonzero(begins), len(begins))
    begins[at[:-1][np.diff(at) == 2] + 1] = True  # folding two would save nothing
    return begins


def _where(column: pd.Series[Any], test: Callable[[str], bool]) -> Mask:
    """Return which values are present and pass a test; it is called once for each distinct value."""
    codes, values = pd.factorize(column)
    return np.array([*map(test, values), False])[codes]  # the code of a missing value is -1


def _records(table: pd.DataFrame, kind: type[Record]) -> Iterator[Record]:
    columns = [_to_python(table[name]) for name in kind._fields]
    return map(kind._make, zip(*columns, strict=True))


def _to_python(column: pd.Series[Any]) -> list[Any]:
    """Return the values as Python objects: times as nanoseconds, missing values as None."""
    present = column.notna()
    values: pd.Series[Any] = column if column.dtype.kind not in "mM" else pd.Series(_nanoseconds(column), column.index)
    return values.astype(object).where(present, None).tolist()


def _nanoseconds(column: pd.Series[Any]) -> Integers:
    kind = "datetime64[ns]" if column.dtype.kind == "M" else "timedelta64[ns]"
    values: Integers = column.dt.as_unit("ns").to_numpy(dtype=kind).view(np.int64)
    return values
