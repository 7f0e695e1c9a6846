# SPDX-License-Identifier: GPL-2.0-or-later
"""Count connections by server."""

from __future__ import annotations

import pandas as pd

from pybridge.tables import frames
from pybridge.tcp.vocabulary import FAILED, OPENED, STILL_WAITING

NEVER_OPEN = (*FAILED, STILL_WAITING)


def by_server(connections: pd.DataFrame) -> pd.DataFrame:
    """Return a row per server and port, those with the most connections first; see `Capture.by_server`."""
    outcome = frames.outcomes(connections)
    names = {kind: kind.replace("-", "_") for kind in (*FAILED, STILL_WAITING, "not-captured")}
    counted = pd.DataFrame(
        {
            "server": connections["server"],
            "server_port": connections["server_port"],
            "connections": 1,
            "opened": outcome.isin(OPENED).astype(int),
            "failed": outcome.isin(FAILED).astype(int),
            **{name: (outcome == kind).astype(int) for kind, name in names.items()},
            "resets": ((connections["termination"].astype(object) == "reset") & ~outcome.isin(NEVER_OPEN)).astype(int),
        }
    )
    groups = counted.groupby(["server", "server_port"], sort=False)
    table = groups.sum()
    times = connections["handshake_time"].groupby([connections["server"], connections["server_port"]], sort=False)
    place = table.columns.get_loc("resets")
    for share, name in ((0.95, "handshake_p95"), (0.5, "handshake_median")):
        table.insert(int(place), name, times.quantile(share).reindex(table.index))  # type: ignore[arg-type]
    return table.sort_values("connections", ascending=False, kind="stable")
