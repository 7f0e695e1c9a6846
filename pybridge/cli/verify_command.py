# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `verify`: many captures, small ones several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pybridge.cli.options import CAPTURE_PATH
from pybridge.cli.process import ERROR, FINDINGS, say, show
from pybridge.errors import PybridgeError, warning_once
from pybridge.progress import counting

if TYPE_CHECKING:
    import pandas as pd

SMALL = 1 << 20
"""Bytes of a capture of which tshark's start takes most of the time; Ctrl-C waits for those that are being read."""


@click.command("verify")
@click.argument("sources", nargs=-1, required=True, metavar="FILE_OR_FOLDER...", type=CAPTURE_PATH)
def verify_command(sources: tuple[str, ...]) -> int:
    """Annotate with both engines, and print every column in which they differ.

    Exit status 0 if all agree, 1 if some differ, 2 if a file could not be read.
    """
    from pybridge import verification

    found = [path for source in sources for path in verification.captures(source)]
    agreed = differing = unread = 0
    with warning_once(len(found)), counting("verify", "captures", total=len(found)) as count:
        for source, verified in _verified(found):
            try:
                disagreements = verified()
            except PybridgeError as error:
                say(str(error))
                unread += 1
                continue
            finally:
                count(1)
            for row in disagreements.itertuples(index=False):
                where = f"connection {row.stream}" if row.table == "connections" else f"frame {row.frame}"
                show(f"{source}: {row.table}: {where}: {row.column}: python {row.python!r}, plugin {row.plugin!r}")
            agreed, differing = agreed + disagreements.empty, differing + (not disagreements.empty)
    click.echo(f"{agreed} agree, {differing} differ, {unread} could not be read.")
    return ERROR if unread else FINDINGS if differing else 0


def _verified(sources: Sequence[str]) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """Yield each capture, and a function that returns its disagreements; small ones are read meanwhile, one on each core."""
    from pybridge.verification import verify

    progress = False if len(sources) > 1 else None
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead = {place: pool.submit(verify, source, progress=False) for place, source in enumerate(sources) if _is_small(source)}
        try:
            for place, source in enumerate(sources):
                yield source, ahead[place].result if place in ahead else partial(verify, source, progress=progress)
        finally:
            pool.shutdown(cancel_futures=True)


def _is_small(source: str) -> bool:
    path = Path(source)
    return path.is_file() and path.stat().st_size <= SMALL
