# SPDX-License-Identifier: GPL-2.0-or-later
"""The comments on the packets of a capture: what each segment with a role or an anomaly is, and how its connection went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from pybridge.tables import frames
from pybridge.text import duration_text

DIAGNOSIS = "diagnosis"
"""Column of `connections` that is quoted if it is there."""


def comments(segments: pd.DataFrame, connections: pd.DataFrame) -> dict[int, str]:
    """Return the comment of each frame that gets one.

    These are the frames with a segment that has a role or an anomaly, and the first frame of each connection.
    """
    firsts = ~segments["stream"].duplicated()
    chosen = segments[segments["role"].notna() | segments["anomaly"].notna() | firsts]
    verdicts = _verdicts(connections)
    first = firsts[chosen.index]
    found: dict[int, str] = {}
    rows: Iterator[Any] = chosen.itertuples(index=False)
    for row, begins in zip(rows, first, strict=True):
        text = _comment(row) + (f" {verdicts.get(row.stream, '')}" if begins else "")
        found[row.frame] = f"{found[row.frame]}\n{text}" if row.frame in found else text
    return found


def _comment(row: Any) -> str:
    parts = []
    if pd.notna(row.role):
        steps = [f"handshake {row.handshake_step}/3"] if pd.notna(row.handshake_step) else []
        steps += [f"teardown {row.teardown_step}/4"] if pd.notna(row.teardown_step) else []
        parts.append(", ".join([f"{row.role} of the {row.sender}", *steps]))
    if pd.notna(row.anomaly):
        parts.append(f"anomaly: {row.anomaly.replace('+', ', ')}")
    parts.append(f"client {row.client_state}, server {row.server_state}")
    if pd.notna(row.responds_to):
        after = f" after {duration_text(row.response_time)}" if pd.notna(row.response_time) else ""
        parts.append(f"answers frame {row.responds_to}{after}")
    return "; ".join(parts) + "."


def _verdicts(connections: pd.DataFrame) -> dict[int, str]:
    """Return a sentence for each connection."""
    outcome = frames.outcomes(connections)
    texts = {}
    rows: Iterator[Any] = connections.assign(outcome=outcome).itertuples(index=False)
    for stream, row in zip(connections.index, rows, strict=True):
        by = f" by {row.closed_by}" if pd.notna(row.closed_by) else ""
        text = f"Connection {stream}: opening {row.outcome}, closing {row.termination}{by}."
        diagnosis = getattr(row, DIAGNOSIS, None)
        texts[stream] = f"{text} Diagnosis: {diagnosis}." if pd.notna(diagnosis) and diagnosis else text
    return texts
