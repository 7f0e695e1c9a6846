# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables by server and by client: what opened, what failed, how long it took, which resets."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from pybridge.tables import frames
from pybridge.tcp.vocabulary import FAILED, OPENED, STILL_WAITING

Side = Literal["server", "client"]

RESETS = ("mid-connection", "while-closing", "after-close")
"""Classes of resets, the most harmful first."""

HARMFUL_RESETS = RESETS[:2]

OUTCOMES = (*FAILED, STILL_WAITING, "not-captured")
"""Outcomes of openings that are counted one by one."""

_KEYS: dict[Side, list[str]] = {"server": ["server", "server_port"], "client": ["client"]}


def resets(connections: pd.DataFrame) -> pd.Series:
    """Return the class of the reset of each connection that was open: `RESETS`, missing without a reset.

    `after-close` is harmless: both ends had sent a FIN, or given up what was left (rule D5). `while-closing` came after one
    FIN. `mid-connection` is the alarm.
    """
    found = pd.Series(pd.NA, index=connections.index, dtype="object")
    if connections.empty:
        return found
    was_reset = (connections["termination"] == "reset") & ~connections["establishment"].isin((*FAILED, STILL_WAITING))
    history = connections["history"].astype("string").fillna("")
    by_client, by_server = history.str.contains("F", regex=False), history.str.contains("f", regex=False)
    found[was_reset] = "while-closing"
    found[was_reset & ~(by_client | by_server)] = "mid-connection"
    found[(was_reset & by_client & by_server) | (connections["diagnosis"] == "reset-after-close")] = "after-close"
    return found


def unacknowledged(connections: pd.DataFrame) -> pd.Series[int]:
    """Return the octets of both ends of each connection that were not acknowledged."""
    return connections["client_unacknowledged"].fillna(0) + connections["server_unacknowledged"].fillna(0)


def column_of(value: str) -> str:
    """Return the name of the column that counts an outcome, or a class of resets."""
    return ("reset_" if value in RESETS else "") + value.replace("-", "_")


def by_peer(connections: pd.DataFrame, side: Side) -> pd.DataFrame:
    """Count connections by server and port, or by client; those with the most failures and resets first.

    Returns
    -------
    pandas.DataFrame
        Indexed by `server` and `server_port`, or by `client`: `connections`, `opened`, `failed`, a column for each of
        `OUTCOMES`, `handshake_median`, `handshake_p95` (timedelta), `waited` (timedelta: the sum of `retransmission_delay`),
        and a column for each of `RESETS`. Of the resets that were not harmless: `reset_by_client` and `reset_by_server`, how
        many each end sent; `reset_unacknowledged`, the most octets that one left unacknowledged; `reset_silence` (timedelta),
        the longest silence before a reset in mid-connection.
    """
    keys = [connections[name] for name in _KEYS[side]]
    outcome, reset = frames.outcomes(connections), resets(connections)
    harmful = reset.isin(HARMFUL_RESETS)
    counted = pd.DataFrame(
        {
            "connections": 1,
            "opened": outcome.isin(OPENED).astype(int),
            "failed": outcome.isin(FAILED).astype(int),
            **{column_of(name): (outcome == name).astype(int) for name in OUTCOMES},
            "waited": connections["retransmission_delay"].fillna(pd.Timedelta(0)),
            **{column_of(name): (reset == name).fillna(False).astype(int) for name in RESETS},
            **{f"reset_by_{end}": (harmful & (connections["reset_by"] == end)).astype(int) for end in ("client", "server")},
        },
        index=connections.index,
    )
    table = counted.groupby(keys, sort=False).sum()
    times = connections["handshake_time"].groupby(keys, sort=False)
    place = table.columns.get_loc("waited")
    for share, name in ((0.95, "handshake_p95"), (0.5, "handshake_median")):
        table.insert(int(place), name, times.quantile(share).reindex(table.index))  # type: ignore[arg-type]
    octets = unacknowledged(connections).where(harmful, 0)
    silence = connections["idle_before_end"].where(reset == "mid-connection")
    table["reset_unacknowledged"] = octets.groupby(keys, sort=False).max().astype(int)
    table["reset_silence"] = silence.groupby(keys, sort=False).max()
    order = ["failed", column_of("mid-connection"), "waited", "connections"]
    return table.sort_values(order, ascending=False, kind="stable")
