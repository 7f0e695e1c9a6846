# SPDX-License-Identifier: GPL-2.0-or-later
"""Print how the rules D judge the connections of `judged.tsv`: `python -m tools.diagnosis [FOLDER]`.

FOLDER has the public captures; without it only those of `pcaps` are compared.
"""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path

import pandas as pd

import pybridge
from pybridge.errors import CutShortWarning

HERE = Path(__file__).parent
PCAPS = HERE.parent.parent / "pcaps"


def compared(folder: Path | None) -> pd.DataFrame:
    """Return the judged connections whose capture is there, with what the rules say: `said`, `said_suspect`."""
    judged = pd.read_csv(HERE / "judged.tsv", sep="\t", keep_default_na=False, quoting=csv.QUOTE_NONE)
    found = []
    for name, rows in judged.groupby("capture", sort=False):
        path = next((path for path in (PCAPS / str(name), (folder or PCAPS) / str(name)) if path.exists()), None)
        if path is None:
            continue
        connections = pybridge.read(path, progress=False).connections
        said = connections.reindex(rows["stream"])[["diagnosis", "suspect"]].astype(object)
        said = said.where(said.notna(), "-").set_axis(rows.index)
        found.append(rows.assign(said=said["diagnosis"], said_suspect=said["suspect"]))
    return pd.concat(found)


def agrees(row: pd.Series[str], column: str) -> bool:
    """Whether the rules say what was judged, or one of two judgements that are equally defensible."""
    return row["said"] in row[column].split("/")


def main() -> None:
    """Print the confusion table, and the connections that are judged otherwise."""
    warnings.simplefilter("ignore", CutShortWarning)
    table = compared(Path(sys.argv[1]) if sys.argv[1:] else None)
    right = table.apply(agrees, axis=1, column="settled")
    first = table.apply(agrees, axis=1, column="first")
    judged = table["settled"].where(~right, table["said"])
    counts = pd.crosstab(judged, table["said"])
    for name, row in counts.iterrows():
        others = ", ".join(f"{count} {said}" for said, count in row.items() if count and said != name)
        print(f"{name:42} {row.sum():4} judged {row.get(name, 0):4} said" + (f"; otherwise {others}" if others else ""))
    print()
    for miss in table[~right].itertuples():
        print(f"{miss.capture}, {miss.stream}: judged {miss.settled}, said {miss.said}. {miss.reason}")
    print()
    for judge, rows in table.assign(right=right, first_right=first).groupby("judge"):
        print(f"judge {judge}: {_share(rows['first_right'])} as first judged, {_share(rows['right'])} as settled")
    print(f"all: {_share(first)} as first judged, {_share(right)} as settled")
    accused = table[(table["said_suspect"] != "-") & (table["said_suspect"] != table["suspect"])]
    named = (table["said_suspect"] != "-").sum()
    print(f"{named - len(accused)} of {named} suspects as judged" + ("; otherwise:" if len(accused) else ""))
    for miss in accused.itertuples():
        print(f"{miss.capture}, {miss.stream}: judged {miss.suspect}, said {miss.said_suspect} ({miss.said}). {miss.reason}")


def _share(right: pd.Series[bool]) -> str:
    return f"{right.sum()} of {len(right)} ({right.mean():.1%})"


if __name__ == "__main__":
    main()
