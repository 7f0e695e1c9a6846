# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place that makes pandas tables: columns, their types, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pybridge.model import STATES, Annotation, ConnectionRow, Segment

ROLES = (
    "SYN", "SYN-ACK", "HANDSHAKE-ACK", "FIN", "ACK-OF-FIN", "RST", "ACK-OF-FIN+FIN", "HANDSHAKE-ACK+FIN",
    "HANDSHAKE-ACK+ACK-OF-FIN", "HANDSHAKE-ACK+ACK-OF-FIN+FIN",
)  # fmt: skip
TEARDOWN_STEPS = ("1", "2", "3", "4", "2+3", "2+1", "4+1")
SENDERS = ("client", "server")
CLOSERS = (*SENDERS, "both")
ESTABLISHMENTS = (
    "complete", "simultaneous", "half-open", "unanswered", "refused", "unreachable", "aborted", "partial", "not-captured",
)  # fmt: skip
TERMINATIONS = ("four-way", "three-way", "simultaneous", "half-closed", "unacknowledged", "reset", "none")
_NO_TIME = pd.NaT.value  # what numpy keeps for a missing time
CONN_STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")

Maker = Callable[[Sequence[Any]], pd.Series]


def _series(dtype: Any, values: Sequence[Any]) -> pd.Series:
    series: pd.Series = pd.Series(values, dtype=dtype)
    return series


def _category(names: Sequence[str]) -> Maker:
    return partial(_series, pd.CategoricalDtype(list(names)))


def _time(values: Sequence[int]) -> pd.Series:
    return pd.Series(pd.to_datetime(pd.Series(values, dtype="int64"), unit="ns", utc=True))


def _duration(values: Sequence[int | None]) -> pd.Series:
    return pd.Series(np.array([_NO_TIME if value is None else value for value in values], dtype="int64").view("timedelta64[ns]"))


_INTEGER: Maker = partial(_series, "int64")
_NULLABLE: Maker = partial(_series, "Int64")
_TEXT: Maker = partial(_series, "str")
_BOOL: Maker = partial(_series, "bool")
_NULLABLE_BOOL: Maker = partial(_series, "boolean")

SEGMENTS: dict[str, Maker] = {
    "frame": _INTEGER,
    "time": _time,
    "stream": _INTEGER,
    "source": _TEXT,
    "source_port": _INTEGER,
    "destination": _TEXT,
    "destination_port": _INTEGER,
    "flags": _TEXT,
    "seq": _INTEGER,
    "ack": _INTEGER,
    "length": _INTEGER,
    "sender": _category(SENDERS),
    "role": _category(ROLES),
    "handshake_step": partial(_series, "Int8"),
    "teardown_step": _category(TEARDOWN_STEPS),
    "client_state": _category(STATES),
    "server_state": _category(STATES),
    "retransmission": _BOOL,
    "responds_to": _NULLABLE,
    "response_time": _duration,
    "handshake_time": _duration,
    "anomaly": _TEXT,
}
"""Columns of `segments`, in order, with what makes each."""

CONNECTIONS: dict[str, Maker] = {
    "stream": _INTEGER,
    "client": _TEXT,
    "client_port": _INTEGER,
    "server": _TEXT,
    "server_port": _INTEGER,
    "start": _time,
    "duration": _duration,
    "segments_client": _INTEGER,
    "segments_server": _INTEGER,
    "bytes_client": _INTEGER,
    "bytes_server": _INTEGER,
    "establishment": _category(ESTABLISHMENTS),
    "termination": _category(TERMINATIONS),
    "closed_by": _category(CLOSERS),
    "client_state": _category(STATES),
    "server_state": _category(STATES),
    "handshake_time": _duration,
    "server_response_time": _duration,
    "client_response_time": _duration,
    "teardown_time": _duration,
    "client_isn": _NULLABLE,
    "server_isn": _NULLABLE,
    "client_mss": _NULLABLE,
    "server_mss": _NULLABLE,
    "client_window_scale": _NULLABLE,
    "server_window_scale": _NULLABLE,
    "sack_permitted": _NULLABLE_BOOL,
    "timestamps": _NULLABLE_BOOL,
    "ecn": _NULLABLE_BOOL,
    "syn_retransmissions": _INTEGER,
    "syn_ack_retransmissions": _INTEGER,
    "fin_retransmissions": _INTEGER,
    "completeness": _INTEGER,
    "conn_state": _category(CONN_STATES),
    "history": _TEXT,
    "anomalies": _TEXT,
}
"""Columns of `connections` (`stream` becomes the index), in order, with what makes each."""

_FLAG_TEXTS: dict[int, str] = {}


def flags_text(flags: int) -> str:
    """The flags in Wireshark's words and order, e.g. `SYN, ACK`."""
    text = _FLAG_TEXTS.get(flags)
    if text is None:
        text = _FLAG_TEXTS[flags] = ", ".join(name for bit, name in enumerate(FLAG_NAMES) if flags >> bit & 1)
    return text


def segments(annotated: Iterable[tuple[Segment, Annotation]]) -> pd.DataFrame:
    """The table of segments, typed also when empty."""
    taken = list(annotated)
    columns: list[Sequence[Any]] = [list(column) for column in zip(*(s[:11] + a for s, a in taken), strict=True)]
    if not columns:
        columns = [[] for _ in SEGMENTS]
    else:
        columns[7] = [flags_text(flags) for flags in columns[7]]
    return _frame(SEGMENTS, columns)


def connections(rows: Iterable[ConnectionRow]) -> pd.DataFrame:
    """The table of connections, index `stream`, typed also when empty."""
    taken = list(rows)
    names = [item.name for item in fields(ConnectionRow)]
    return _frame(CONNECTIONS, [[getattr(row, name) for row in taken] for name in names]).set_index("stream")


def _frame(makers: dict[str, Maker], columns: Sequence[Sequence[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: make(values) for (name, make), values in zip(makers.items(), columns, strict=True)})
