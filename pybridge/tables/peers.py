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

_KEYS: dict[Side, list[str]] = {"server": ["server", "server_port"], "client": ["client"]}


def resets(connections: pd.DataFrame) -> pd.Series:
    """Return the class of the reset of each connection that was open: `RESETS`, missing without a reset.

    `after-close` is harmless: both directions had been finished or given up (rule D5). `while-closing` came after one FIN.
    `mid-connection` is the alarm.
    """
    found = pd.Series(pd.NA, index=connections.index, dtype="object")
    if connections.empty:
        return found
    was_reset = (connections["termination"] == "reset") & ~connections["establishment"].isin((*FAILED, STILL_WAITING))
    has_fin = connections["history"].astype("string").str.contains("F", case=False, na=False)
    found[was_reset & ~has_fin] = "mid-connection"
    found[was_reset & has_fin] = "while-closing"
    found[connections["diagnosis"] == "reset-after-close"] = "after-close"
    return found


def by_peer(connections: pd.DataFrame, side: Side) -> pd.DataFrame:
    """Count connections by server and port, or by client; those with the most failures and resets first.

    Returns
    -------
    pandas.DataFrame
        Indexed by `server` and `server_port`, or by `client`: `connections`, `opened`, `failed`, each value of `FAILED`,
        `handshake_median`, `handshake_p95` (timedelta), `waited` (timedelta: the sum of `retransmission_delay`), and each of
        `RESETS`.
    """
    keys = _KEYS[side]
    outcome = frames.outcomes(connections)
    columns = {
        "opened": outcome.isin(OPENED),
        "failed": outcome.isin(FAILED),
        **{name: outcome == name for name in FAILED},
        **{name: resets(connections) == name for name in RESETS},
    }
    counted = connections[keys].assign(
        connections=1, **{name: values.fillna(False).astype(int) for name, values in columns.items()}
    )
    counted["waited"] = connections["retransmission_delay"].fillna(pd.Timedelta(0))
    table = counted.groupby(keys, sort=False, observed=True).sum()
    times = connections.groupby(keys, sort=False, observed=True)["handshake_time"]
    table["handshake_median"], table["handshake_p95"] = times.quantile(0.5), times.quantile(0.95)
    table = table[["connections", "opened", "failed", *FAILED, "handshake_median", "handshake_p95", "waited", *RESETS]]
    return table.sort_values(["failed", "mid-connection", "waited", "connections"], ascending=False, kind="stable")
